/// Settings, plans, counts and the random numbers behind them. A value: all of it is decided by the
/// seed and by what is asked.
struct FaultDice: Sendable {
  private struct Setting {
    var oneIn: UInt64 = 0
    var lasting: ClosedRange<Int>
    /// Further calls that the kind affects, now that it has come in.
    var remaining = 0
    var plans: [(skip: Int, times: Int)] = []
    var count = 0
    var places: [(place: String, count: Int)] = []

    var isIdle: Bool { oneIn == 0 && remaining == 0 && plans.isEmpty }
  }

  private var generator: SplitMix64
  private var settings: [Setting]

  init(seed: UInt64) {
    generator = SplitMix64(seed: seed)
    settings = FaultKind.allCases.map { Setting(lasting: $0.usualExtent) }
  }

  // MARK: Settings

  mutating func enable(_ kind: FaultKind, oneIn: UInt64, lasting: ClosedRange<Int>?) {
    settings[kind.ordinal].oneIn = oneIn
    settings[kind.ordinal].lasting = lasting ?? kind.usualExtent
  }

  mutating func disable(_ kind: FaultKind) {
    settings[kind.ordinal].oneIn = 0
    settings[kind.ordinal].remaining = 0
    settings[kind.ordinal].plans = []
  }

  mutating func plan(_ kind: FaultKind, skip: Int, times: Int) {
    settings[kind.ordinal].plans.append((skip, times))
  }

  /// Ends what lasts for a while.
  mutating func endAll() {
    for at in settings.indices { settings[at].remaining = 0 }
  }

  // MARK: Counts

  func count(_ kind: FaultKind) -> Int { settings[kind.ordinal].count }
  func places(_ kind: FaultKind) -> [(place: String, count: Int)] {
    settings[kind.ordinal].places
  }

  mutating func note(_ kind: FaultKind, _ place: String) {
    let at = kind.ordinal
    settings[at].count += 1
    if let known = settings[at].places.firstIndex(where: { $0.place == place }) {
      settings[at].places[known].count += 1
    } else {
      settings[at].places.append((place, 1))
    }
  }

  // MARK: Rolling

  mutating func random() -> UInt64 { generator.next() }

  /// The kind that comes in at this call of the storage.
  /// - Parameter isRecovery: how often the power went in the recovery that is on; `nil`: none is.
  mutating func roll(
    operation: SimulatedStorage.Operation, isRecovery crashes: Int?
  ) -> FaultKind? {
    for kind in FaultKind.byOperation[operation.position] {
      if kind == .crashDuringRecovery, crashes != 0 { continue }
      if kind == .crashTwiceDuringRecovery, crashes != 1 { continue }
      if roll(kind) { return kind }
    }
    return nil
  }

  /// The kind that comes in at this call of the store.
  mutating func roll(storeCall: StoreCall) -> FaultKind? {
    for kind in FaultKind.byStoreCall[storeCall.position] where roll(kind) { return kind }
    return nil
  }

  /// Whether a kind comes in now.
  mutating func roll(_ kind: FaultKind) -> Bool {
    let at = kind.ordinal
    if settings[at].isIdle { return false }
    if settings[at].remaining > 0 {
      settings[at].remaining -= 1
      return true
    }
    if let plan = settings[at].plans.first {
      if plan.skip > 0 {
        settings[at].plans[0].skip -= 1
      } else {
        settings[at].plans[0].times -= 1
        if settings[at].plans[0].times <= 0 { settings[at].plans.removeFirst() }
        return true
      }
    }
    guard settings[at].oneIn > 0, random() % settings[at].oneIn == 0 else { return false }
    let lasting = settings[at].lasting
    settings[at].remaining =
      lasting.lowerBound - 1 + Int(random() % UInt64(lasting.upperBound - lasting.lowerBound + 1))
    return true
  }

  /// One of these kinds: one that is planned for now, else one of those that are enabled, each in
  /// proportion to how often it is to come in.
  mutating func choose(_ kinds: [FaultKind]) -> FaultKind? {
    for kind in kinds where !settings[kind.ordinal].plans.isEmpty {
      let oneIn = settings[kind.ordinal].oneIn
      settings[kind.ordinal].oneIn = 0
      defer { settings[kind.ordinal].oneIn = oneIn }
      if roll(kind) { return kind }
    }
    let weights = kinds.map { kind -> UInt64 in
      let oneIn = settings[kind.ordinal].oneIn
      return oneIn == 0 ? 0 : max(1, 1_000_000 / oneIn)
    }
    let sum = weights.reduce(0, +)
    guard sum > 0 else { return nil }
    var left = random() % sum
    for (kind, weight) in zip(kinds, weights) {
      if left < weight { return kind }
      left -= weight
    }
    return nil
  }
}

extension FaultKind {
  /// The place in `allCases`.
  var ordinal: Int { Self.ordinals[self]! }

  private static let ordinals = Dictionary(
    uniqueKeysWithValues: allCases.enumerated().map { ($1, $0) })

  /// Which kinds may come in at each call, in the kinds' order.
  static let byOperation = SimulatedStorage.Operation.allCases.map { operation in
    allCases.filter { $0.operations.contains(operation) }
  }
  static let byStoreCall = StoreCall.allCases.map { call in
    allCases.filter { $0.storeCalls.contains(call) }
  }

  /// How many calls in a row the kind affects where nothing else is said.
  fileprivate var usualExtent: ClosedRange<Int> {
    switch self {
    case .readOnlyFileSystem, .noPermission, .slowEverything: 2...20
    default: 1...1
    }
  }
}

extension CaseIterable where Self: Equatable, AllCases.Index == Int {
  /// The place in `allCases`.
  fileprivate var position: Int { Self.allCases.firstIndex(of: self)! }
}
