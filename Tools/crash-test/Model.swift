/// What a driver knows of a cache: what it asked for, what was acknowledged, and so what may be
/// found after a crash. Far simpler than the cache, and written without a look at it.
struct Model {
  /// One key's value, or absence, as an operation left it.
  struct State: Equatable {
    /// The number of the value; `nil`: absent.
    var value: UInt64?
    /// Its place in the history, once a reply has told it.
    var origin: UInt64?
    /// When it was asked for, when it was surely done, in ns; with a TTL.
    var askedAt: Int64 = 0
    var doneAt: Int64 = .max
    var ttl: Int64?

    static let absent = State()
  }

  enum Change: Equatable {
    case set(key: Int, value: UInt64, ttl: Int64?)
    case invalidate(key: Int)
    /// Every key of this group.
    case clear(group: Int)
    /// Changes nothing; once answered, everything before it is durable.
    case sync
    case get(key: Int)
  }

  struct Operation {
    var change: Change
    var askedAt: Int64
    var doneAt = Int64.max
    var origin: UInt64?
    /// It was refused: nothing happened.
    var isRefused = false
  }

  /// What a read after the crash saw.
  struct Observation {
    var value: UInt64?
    var origin: UInt64?
    var askedAt: Int64
    var answeredAt: Int64
    /// The value that had to make room, as the journal tells it.
    var evicted: UInt64?
  }

  let keyCount: Int
  let groupCount: Int
  /// State before `operations`.
  private(set) var base: [State]
  private(set) var operations: [Operation] = []
  /// So many operations have been answered, and so many must survive.
  private(set) var answered = 0
  private(set) var firm = 0
  /// State after those that are answered.
  private(set) var current: [State]

  init(keyCount: Int, groupCount: Int) {
    self.keyCount = keyCount
    self.groupCount = groupCount
    base = [State](repeating: .absent, count: keyCount)
    current = base
  }

  func group(of key: Int) -> Int { key % groupCount }

  mutating func ask(_ change: Change, at now: Int64) {
    operations.append(Operation(change: change, askedAt: now))
  }

  /// The next operation, in order, is answered.
  mutating func answer(at now: Int64, origin: UInt64? = nil, isRefused: Bool = false) {
    operations[answered].doneAt = now
    operations[answered].origin = origin
    operations[answered].isRefused = isRefused
    apply(operations[answered], to: &current)
    answered += 1
  }

  /// Everything answered so far must survive a crash.
  mutating func holdFirm() { firm = answered }

  private func apply(_ operation: Operation, to states: inout [State]) {
    guard !operation.isRefused else { return }
    switch operation.change {
    case .set(let key, let value, let ttl):
      states[key] = State(
        value: value, origin: operation.origin, askedAt: operation.askedAt,
        doneAt: operation.doneAt, ttl: ttl)
    case .invalidate(let key): states[key] = .absent
    case .clear(let group):
      for key in 0..<keyCount where self.group(of: key) == group { states[key] = .absent }
    case .sync, .get: break
    }
  }

  // MARK: After a crash

  /// What is wrong with what was found; nothing in a sound cache. The time of the crash bounds when
  /// the last operations happened.
  /// - Parameter isOneStream: operations were done one after another, so that there must be one cut
  ///   behind which everything is missing; else each key has its own.
  func problems(_ found: [Observation], isOneStream: Bool, crashedAt: Int64) -> [String] {
    var states = base
    for operation in operations[..<firm] { apply(operation, to: &states) }
    let firmStates = states
    let open = operations[firm...]
    var isCut = [Bool](repeating: true, count: open.count + 1)
    var matched = [Bool](repeating: false, count: keyCount)
    for cut in 0...open.count {
      if cut > 0 {
        var operation = open[open.startIndex + cut - 1]
        operation.doneAt = min(operation.doneAt, crashedAt)
        apply(operation, to: &states)
      }
      for key in 0..<keyCount {
        let isRight = Self.allows(states[key], found[key])
        if isRight { matched[key] = true } else { isCut[cut] = false }
      }
    }
    var problems: [String] = []
    for key in 0..<keyCount where !matched[key] {
      problems.append(
        "key \(key): found \(found[key]), though \(firmStates[key]) was acknowledged, and after "
          + "it were asked for \(open.filter { Self.concerns($0, key, self) }.map(\.change))")
    }
    if problems.isEmpty, isOneStream, !isCut.contains(true) {
      problems.append(
        "what was found is no prefix of the \(open.count) operations after the acknowledged ones")
    }
    return problems
  }

  private static func concerns(_ operation: Operation, _ key: Int, _ model: Model) -> Bool {
    switch operation.change {
    case .set(let it, _, _), .invalidate(let it): it == key
    case .clear(let group): model.group(of: key) == group
    case .sync, .get: false
    }
  }

  /// Whether a read may see this where the cache is in that state.
  static func allows(_ state: State, _ found: Observation) -> Bool {
    guard let value = found.value else {
      guard let value = state.value, value != found.evicted else { return true }
      return state.ttl.map { found.answeredAt >= state.askedAt + $0 } ?? false
    }
    guard value == state.value else { return false }
    if let told = state.origin, let origin = found.origin, told != origin { return false }
    guard let ttl = state.ttl, state.doneAt != .max else { return true }
    return found.askedAt < state.doneAt + ttl + coarseClockSlack
  }

  /// Reads may go by a clock that ticks 100 to 1,000 times a second.
  private static let coarseClockSlack: Int64 = 15_000_000

  /// Takes what was found for the truth.
  mutating func adopt(_ found: [Observation]) {
    var states = base
    var candidates = [[State]](repeating: [], count: keyCount)
    for key in 0..<keyCount { candidates[key].append(base[key]) }
    for operation in operations {
      apply(operation, to: &states)
      for key in 0..<keyCount where candidates[key].last != states[key] {
        candidates[key].append(states[key])
      }
    }
    for key in 0..<keyCount {
      // Expiry is the only thing that can still happen to what was seen.
      base[key] = candidates[key].last { $0.value == found[key].value } ?? .absent
      if found[key].value == nil { base[key] = .absent }
      base[key].doneAt = min(base[key].doneAt, found[key].answeredAt)
      base[key].origin = base[key].origin ?? found[key].origin
    }
    current = base
    operations = []
    answered = 0
    firm = 0
  }
}
