import HindsightCore
import HindsightJournal
import HindsightStore
import HindsightThreads
import Logging
import Synchronization

/// The version that `opened` events name.
package let hindsightVersion = "0.1.0"

/// The live cache without its value type: one lock around memory state, and the background work
/// that writes, syncs, projects and keeps up.
///
/// Values are boxed objects here, so that this code is compiled once and concrete; `Cache<Value>`
/// is the thin generic shell. Background activities retain the engine, never the handle that users
/// hold: the handle's deinit asks for a shutdown, which they carry out.
///
/// Lock order: `state` comes first. With it held, only the clock's own lock is taken, and that of the journal
/// writer's numbers (by `cut` and `captureEnd`, say): each for a moment, and with none taken inside.
@usableFromInline
final class Engine: Sendable {
  let state: StateLock<EngineState>
  let clock: any CacheClock
  /// `clock` where it is the system's: memory hits then needn't ask which one it is.
  let systemClock: SystemClock?
  let configuration: CacheConfiguration
  let journal: Journal?
  let store: Store?
  /// Held from open to close: one writer a directory.
  let directoryLock: (any DirectoryLock)?
  /// What opening found and did.
  let recovery: RecoverySummary
  let logger: Logger
  let gathering = Gathering()
  /// Where keys were filed after the last set: what the next one reads first is asked for before the
  /// lock is taken.
  let keyCells = Atomic<UInt64>(0)
  private let waiterIDs = Atomic<UInt64>(0)
  /// Whether a value was met that doesn't decode.
  let hasMetUndecodable = Atomic(false)
  private let background = Mutex(Background())
  private let launch = Atomic(Launch.pending)

  /// What belongs to whoever holds the write role, and to the journal's thread.
  final class Journal: Sendable {
    let writer: JournalWriter
    let storage: any JournalStorage
    let id: JournalID

    init(writer: JournalWriter, storage: any JournalStorage, id: JournalID) {
      self.writer = writer
      self.storage = storage
      self.id = id
    }
  }

  /// The store's readers; its writer belongs to the projector.
  final class Store: Sendable {
    let backend: any StoreBackend
    let readers: StoreReaders
    let requests = RowRequests()
    /// What the store lacks at first, and the journal has.
    let backlog: Backlog?
    /// Whether a read has met damage that the projector doesn't know of yet.
    let hasMetDamage = Atomic(false)

    init(backend: any StoreBackend, readers: StoreReaders, backlog: Backlog?) {
      self.backend = backend
      self.readers = readers
      self.backlog = backlog
    }
  }

  private struct Background {
    var journal: (any BackgroundActivity)?
    var projector: (any BackgroundActivity)?
    var upkeep: (any BackgroundActivity)?
    var reader: (any BackgroundActivity)?
  }

  /// Activities do nothing before all of them are there: each relies on the others.
  private enum Launch: UInt8, AtomicRepresentable {
    case pending
    case done
    /// One could not be started; the others end without having done anything.
    case failed
  }

  init(
    state: consuming EngineState, configuration: CacheConfiguration, journal: Journal?,
    store: Store?, directoryLock: (any DirectoryLock)?, recovery: RecoverySummary,
    logger: Logger
  ) {
    self.state = StateLock(state)
    self.configuration = configuration
    clock = configuration.clock
    systemClock = configuration.clock as? SystemClock
    self.journal = journal
    self.store = store
    self.directoryLock = directoryLock
    self.recovery = recovery
    self.logger = logger
  }

  /// Runs `body` with the lock held and all hits settled, and releases what callers' values it
  /// dropped after unlocking.
  @discardableResult
  func locked<R: Sendable, E: Error>(
    _ body: (inout EngineState) throws(E) -> R
  ) throws(E) -> R {
    let state = lock()
    defer { unlock(state) }
    return try body(&state.pointee)
  }

  /// Takes the lock and settles all hits, for a section that should not be a closure: such a one
  /// retains what it captures. `unlock` must follow on every way out.
  @inline(__always)
  func lock() -> UnsafeMutablePointer<EngineState> {
    let state = state.lock()
    state.pointee.settleHits()
    state.pointee.hits.endStreak()
    return state
  }

  @inline(__always)
  func unlock(_ state: UnsafeMutablePointer<EngineState>) {
    var garbage = state.pointee.garbage.take()
    self.state.unlock()
    garbage.release()
  }

  func nextWaiterID() -> UInt64 {
    waiterIDs.wrappingAdd(1, ordering: .relaxed).newValue
  }

  // MARK: Background work

  /// Starts the background activities. Called once, before anybody else knows the engine.
  /// - Throws: `.system` where one can't be started. None has run then, and none will.
  func start(projector: StepOwner<Projector>?) throws(CacheError) {
    let upkeep = StepOwner(Upkeep(engine: self))
    do throws(CacheError) {
      try background.withLock { (background) throws(CacheError) in
        background.upkeep = try begin("upkeep") { upkeep.withWork { $0.step() } }
        if journal != nil {
          background.journal = try begin("journal") { [self] in journalStep() }
        }
        if let projector, let store {
          background.projector = try begin("projector") { projector.withWork { $0.step() } }
          background.reader = try begin("reader", isWaitedFor: true) { [self] in readerStep(store) }
        }
      }
    } catch {
      launch.store(.failed, ordering: .releasing)
      signalAll()
      releaseBackground()
      throw error
    }
    launch.store(.done, ordering: .releasing)
    signalAll()
  }

  /// Starts an activity. The last one to finish ends the engine.
  /// - Parameter isWaitedFor: whether callers wait for what it does: else it stands back for them.
  private func begin(
    _ name: String, isWaitedFor: Bool = false, _ step: @escaping @Sendable () -> BackgroundWait
  ) throws(CacheError) -> any BackgroundActivity {
    let activity = try configuration.scheduler.start(name) { [self] in
      switch launch.load(ordering: .acquiring) {
      case .pending: return .signal
      case .failed: return .finished
      case .done: break
      }
      let wait = isWaitedFor ? step() : StandingBack.volunteering(for: state.hold, step)
      if case .finished = wait { activityFinished() }
      return wait
    }
    locked { state in state.closing.activityCount += 1 }
    return activity
  }

  private func signalAll() {
    signalUpkeep()
    signalJournal()
    signalProjector()
    signalReader()
  }

  /// Forgets the activities, which have finished.
  func releaseBackground() { background.withLock { $0 = Background() } }

  /// Tells the journal's thread. Without a journal everything is as durable as it will be, and who
  /// comes next is told.
  func signalJournal() { background.withLock { $0.journal ?? $0.projector }?.signal() }
  func signalProjector() { background.withLock { $0.projector }?.signal() }
  func signalUpkeep() { background.withLock { $0.upkeep }?.signal() }
  func signalReader() { background.withLock { $0.reader }?.signal() }
}

extension EngineState {
  /// - Throws: `.closed`, and whatever keeps the journal from being written: writes are refused
  ///   before anything happens.
  func checkWritable() throws(CacheError) {
    try checkOpen()
    if let trouble = commit.trouble, !continuesInMemory { throw trouble.error }
  }

  func checkOpen() throws(CacheError) {
    guard phase == .open else {
      throw CacheError(.closed, "the cache is closed; open it again to use it")
    }
  }
}
