import HindsightStore
import Synchronization
import SystemPackage

/// Decides which fault comes in where, from a seed alone, and counts what it did.
///
/// `SimulatedStorage` and `SimulatedStore` ask it at every call. Kinds come in at random, one call
/// in so many (`enable`), or at a certain call (`fire`). The same seed, settings and calls give the
/// same faults on every machine.
///
///     let injector = FaultInjector(seed: 1)
///     injector.enable(.writeNoSpace, oneIn: 100, lasting: 1...20)
///     injector.fire(.syncErrorReverted, after: 2)
///     let storage = SimulatedStorage(injector)
///     injector.onDelay { clock.advance(by: $0) }
///
/// When the power goes, every call fails from then on; the caller's part is to notice
/// `isPowerOut`, to drop the cache, and to call `SimulatedStorage.crash(_:)`.
public final class FaultInjector: Sendable {
  /// Called outside of any lock of the injector.
  public typealias Delay = @Sendable (Duration) -> Void
  /// Told of each fault as it comes in: the kind, and where.
  public typealias Observer = @Sendable (_ kind: FaultKind, _ place: String) -> Void
  /// Told of each call as it begins.
  public typealias Interruption = @Sendable (Call) -> Void

  /// A call of the storage or of the store.
  public enum Call: Sendable, Equatable {
    case storage(SimulatedStorage.Operation)
    case store(StoreCall)

    /// Whether a real one waits for the disk: nothing that a task may do on the pool's threads.
    var mayBlock: Bool {
      switch self {
      case .storage(.sync), .storage(.syncDirectory), .storage(.rename), .storage(.create),
        .storage(.allocate), .storage(.truncate), .storage(.remove), .storage(.list),
        .storage(.lock), .storage(.open), .storage(.read):
        true
      // Into the page cache, as `.written` promises.
      case .storage(.write), .storage(.size), .storage(.close): false
      case .store(.readInPlace): false
      case .store: true
      }
    }

    /// Whether it makes what was written before survive a loss of power.
    var isSync: Bool {
      switch self {
      case .storage(.sync), .storage(.syncDirectory), .store(.checkpoint): true
      default: false
      }
    }
  }

  fileprivate struct State {
    var dice: FaultDice
    var isOn = true
    var isPowerOut = false
    /// Losses of power since the current recovery began for the first time; `nil`: none is on.
    var recoveryCrashes: Int?
    var delay: Delay?
    var observer: Observer?
    var interruption: Interruption?
  }

  private let state: Mutex<State>

  /// Begins with no kind enabled.
  public init(seed: UInt64) { state = Mutex(State(dice: FaultDice(seed: seed))) }

  // MARK: What is to come

  /// Has a kind come in at random, at one call in `oneIn` of those where it can.
  /// - Parameter lasting: how many such calls in a row it then affects; `nil`: as is usual for the
  ///   kind, one call for most.
  public func enable(_ kind: FaultKind, oneIn: UInt64, lasting: ClosedRange<Int>? = nil) {
    precondition(oneIn > 0, "one call in none")
    state.withLock { $0.dice.enable(kind, oneIn: oneIn, lasting: lasting) }
  }

  /// No longer has a kind come in.
  public func disable(_ kind: FaultKind) { state.withLock { $0.dice.disable(kind) } }

  /// Has a kind come in at a certain call of those where it can: the first from now on that comes
  /// after so many others. For crash outcomes, "call" means a loss of power.
  public func fire(_ kind: FaultKind, after skipped: Int = 0, times: Int = 1) {
    state.withLock { $0.dice.plan(kind, skip: skipped, times: times) }
  }

  /// Whether anything comes in at all. Switching it off leaves counts and settings as they are, and
  /// ends what lasts for a while.
  public var isOn: Bool { state.withLock { $0.isOn } }
  public func setOn(_ isOn: Bool) {
    state.withLock { state in
      state.isOn = isOn
      if !isOn { state.dice.endAll() }
    }
  }

  /// What a slow call does: usually, advance a manual clock.
  public func onDelay(_ delay: @escaping Delay) { state.withLock { $0.delay = delay } }

  /// Is told of every fault.
  public func onFault(_ observer: @escaping Observer) { state.withLock { $0.observer = observer } }
  /// Is called at the beginning of each call of the storage and of the store: while a thread waits for
  /// the disk, others go on.
  public func onCall(_ interruption: @escaping Interruption) {
    state.withLock { $0.interruption = interruption }
  }

  // MARK: Recoveries and power

  /// To be called before a cache is opened, and with `false` when it is open: only in between do
  /// `crashDuringRecovery` and `crashTwiceDuringRecovery` come in.
  public func setRecovering(_ isRecovering: Bool) {
    state.withLock { state in
      state.recoveryCrashes = isRecovering ? state.recoveryCrashes ?? 0 : nil
    }
  }

  /// Whether the power has gone: every call fails until `SimulatedStorage.crash(_:)`.
  public var isPowerOut: Bool { state.withLock { $0.isPowerOut } }

  /// The power goes.
  public func cutPower() { state.withLock { $0.isPowerOut = true } }

  /// The power is back.
  public func restorePower() { state.withLock { $0.isPowerOut = false } }

  // MARK: What has come in

  /// How often each kind has come in, in the kinds' order; kinds that have not are left out.
  public var counts: [(kind: FaultKind, count: Int)] {
    state.withLock { state in
      FaultKind.allCases.compactMap { kind in
        let count = state.dice.count(kind)
        return count > 0 ? (kind, count) : nil
      }
    }
  }

  /// How often a kind has come in.
  public func count(_ kind: FaultKind) -> Int { state.withLock { $0.dice.count(kind) } }

  /// How often a kind has come in at each place, in the order in which the places came up.
  public func places(_ kind: FaultKind) -> [(place: String, count: Int)] {
    state.withLock { $0.dice.places(kind) }
  }

  /// Counts a fault that somebody else has injected.
  public func note(_ kind: FaultKind, at place: String) {
    let observer = state.withLock { state in
      state.dice.note(kind, place)
      return state.observer
    }
    observer?(kind, place)
  }

  /// A random number, from the same sequence as all decisions.
  public func random() -> UInt64 { state.withLock { $0.dice.random() } }

  // MARK: Deciding

  /// Whether a kind comes in now, for those that no call stands for: damage, clock, store.
  /// - Returns: whether it does; the caller then carries it out, and counts it with `note`.
  public func isDue(_ kind: FaultKind) -> Bool {
    state.withLock { $0.isOn && $0.dice.roll(kind) }
  }

  /// What a call of the storage does instead of what it should; `nil`: nothing else.
  func storageFault(
    _ operation: SimulatedStorage.Operation, _ file: String
  ) -> StorageFault? {
    interrupt(.storage(operation))
    let (kind, fault, observer, delay) = state.withLock {
      state -> (FaultKind?, StorageFault?, Observer?, Delay?) in
      if state.isPowerOut { return (nil, .error(.ioError), nil, nil) }
      guard state.isOn, let kind = state.storageKind(operation) else { return (nil, nil, nil, nil) }
      let fault = StorageFault(kind, operation, &state.dice)
      state.dice.note(kind, operation.rawValue)
      if case .powerLoss = fault { state.isPowerOut = true }
      return (kind, fault, state.observer, state.delay)
    }
    if let kind { observer?(kind, "\(operation.rawValue) \(file)") }
    guard case .delay(let duration) = fault else { return fault }
    delay?(duration)
    return nil
  }

  /// What a call of the store fails with; `nil`: nothing.
  func storeFault(_ call: StoreCall) -> StoreFault? {
    interrupt(.store(call))
    let (kind, fault, observer, delay) = state.withLock {
      state -> (FaultKind?, StoreFault?, Observer?, Delay?) in
      if state.isPowerOut { return (nil, .error(.ioError), nil, nil) }
      guard state.isOn, let kind = state.dice.roll(storeCall: call) else {
        return (nil, nil, nil, nil)
      }
      state.dice.note(kind, call.rawValue)
      return (kind, StoreFault(kind, &state.dice), state.observer, state.delay)
    }
    if let kind { observer?(kind, call.rawValue) }
    guard case .delay(let duration) = fault else { return fault }
    delay?(duration)
    return nil
  }

  private func interrupt(_ call: Call) { state.withLock { $0.interruption }?(call) }

  /// Chooses one of these kinds: one that is planned, else at random one that is enabled.
  func choose(_ kinds: [FaultKind]) -> FaultKind? {
    state.withLock { state in state.isOn ? state.dice.choose(kinds) : nil }
  }

  /// Numbers for carrying out a fault.
  func dice() -> SplitMix64 { state.withLock { SplitMix64(seed: $0.dice.random()) } }
}

extension FaultInjector.State {
  /// The kind that comes in at this call. Crashes during recovery know what time it is.
  fileprivate mutating func storageKind(_ operation: SimulatedStorage.Operation) -> FaultKind? {
    guard let kind = dice.roll(operation: operation, isRecovery: recoveryCrashes) else {
      return nil
    }
    if kind == .crashDuringRecovery || kind == .crashTwiceDuringRecovery {
      recoveryCrashes = (recoveryCrashes ?? 0) + 1
    }
    return kind
  }
}

/// What a call of the storage does instead of what it should.
enum StorageFault: Equatable {
  /// Nothing is done.
  case error(Errno)
  /// It is done, and an error is thrown all the same.
  case doneThenError(Errno)
  /// Of a write, so many 256ths are done.
  case shortWrite(Errno, share: Int)
  /// A write that only the page cache sees.
  case lostWrite
  /// A write that reaches the disk so many sectors away.
  case misdirectedWrite(sectors: Int)
  /// A failed sync: what was not synced is gone from the disk's future; do reads still see it?
  case syncError(isReverted: Bool)
  /// A sync that does nothing.
  case syncLies
  case directoryRemoved
  /// The power goes before the call, or right after it.
  case powerLoss(isBefore: Bool)
  case delay(Duration)

  init(
    _ kind: FaultKind, _ operation: SimulatedStorage.Operation, _ dice: inout FaultDice
  ) {
    if let failing = kind.failingCall {
      self = .error(failing.code)
      return
    }
    switch kind {
    case .interrupted: self = .error(.interrupted)
    case .shortWrite: self = .shortWrite(.noSpace, share: Int(dice.random() % 256))
    case .failedButDone: self = .doneThenError(.ioError)
    case .syncErrorReverted: self = .syncError(isReverted: true)
    case .syncErrorKept: self = .syncError(isReverted: false)
    case .readOnlyFileSystem: self = .error(.readOnlyFileSystem)
    case .noPermission: self = .error(.permissionDenied)
    case .directoryRemoved: self = .directoryRemoved
    case .slowSync: self = .delay(.milliseconds(Int64(dice.random() % 10_000)))
    case .slowEverything: self = .delay(.milliseconds(Int64(dice.random() % 500)))
    case .lostWrite: self = .lostWrite
    case .misdirectedWrite:
      self = .misdirectedWrite(sectors: Int(dice.random() % 64) - 32)
    case .syncLies: self = .syncLies
    case .crashAtCreate, .crashAtRename, .crashAtDirectorySync, .crashAtWrite, .crashAtSync,
      .crashDuringRecovery, .crashTwiceDuringRecovery:
      self = .powerLoss(isBefore: dice.random() % 2 == 0)
    default: preconditionFailure("\(kind) is no fault of a call of the storage")
    }
  }
}

/// What a call of the store does instead of what it should.
enum StoreFault: Equatable {
  case error(StoreError.Code)
  /// It is done, and an error is thrown all the same.
  case doneThenError(StoreError.Code)
  /// A read in place is refused.
  case wouldBlock
  case delay(Duration)

  init(_ kind: FaultKind, _ dice: inout FaultDice) {
    switch kind {
    case .storeCold: self = .wouldBlock
    case .storeCommitUnclear: self = .doneThenError(.ioError)
    case .storeSlow: self = .delay(.milliseconds(Int64(dice.random() % 5_000)))
    default:
      guard let code = kind.storeCode else {
        preconditionFailure("\(kind) is no fault of a call of the store")
      }
      self = .error(code)
    }
  }
}
