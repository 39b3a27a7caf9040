import Hindsight
import HindsightCore

// Drawing a plan from a seed.

extension SimulationPlan {
  /// What a plan is made of: how often which kind of action comes.
  fileprivate struct Mood {
    var faults: Int
    var crashes: Int
    var damage: Int
    var clock: Int
    var keyCount: Int
    var byteCounts: [Int]
    var patience: [Int]
    var reads: Int
    var ttls: [Int64?]
    /// By how much time advances at once.
    var advances: [Int64]
  }

  /// The plan of a seed.
  package init(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    self.seed = seed
    settings = SimulationSettings(drawnFrom: &random)
    settings.interruptsOneIn = random.pick([0, 2, 5])
    settings.usesJournal = random.below(6) > 0
    settings.undecodableOneIn = random.pick([0, 0, 0, 2])
    let mood = Mood(drawnFrom: &random)
    let count = random.pick([12, 25, 50, 100, 160])
    items = []
    for _ in 0..<count {
      let action = Action(drawnFrom: &random, mood)
      items.append(
        Item(action: action, seed: random.next(), stepCount: random.pick(mood.patience)))
    }
    // Of numbers of their own: the rest of a seed's plan stays what it was before they came.
    var more = SplitMix64(seed: seed ^ 0xC4EC_C901)
    settings.checkpointByteCountMin = more.pick([nil, 0, 400])
    settings.usesWriterThread = more.below(4) == 0
    settings.queues.unsyncedByteCountMax = more.pick([64 << 20, 64 << 20, 400])
    settings.retention.ageMax = more.pick([nil, nil, .zero, .seconds(2), .seconds(3_600)])
    settings.powerLossOneIn = more.pick([0, 3, 12])
  }
}

extension SimulationPlan.Mood {
  fileprivate init(drawnFrom random: inout SplitMix64) {
    faults = random.pick([0, 0, 4, 10])
    crashes = random.pick([1, 3, 6])
    damage = random.pick([0, 0, 0, 3])
    clock = random.pick([0, 3, 8])
    keyCount = random.pick([2, 5, 9])
    byteCounts = random.pick([[0, 1, 9, 60], [20, 200, 700], [5, 40, 3_000]])
    patience = random.pick([[0, 1, 2, 5], [1, 4, 12, 30], [0, 0, 1, 40]])
    reads = random.pick([10, 14, 40])
    // Either much expires, or nearly all that leaves memory is still in the store.
    let isShortLived = random.below(2) == 0
    ttls = isShortLived ? [nil, nil, nil, 0, 1, 500_000, 2_000_000, 100_000_000] : [nil]
    let short: [Int64] = [1, 9_999, 20_000, 400_000, 1_500_000]
    advances = isShortLived ? short + [30_000_000] : short
  }
}

extension SimulationPlan.Action {
  fileprivate init(drawnFrom random: inout SplitMix64, _ mood: SimulationPlan.Mood) {
    let table: [(weight: Int, draw: (inout SplitMix64) -> Self)] = [
      (30, { Self.drawSet(&$0, mood) }),
      (mood.reads, { .get(key: $0.below(mood.keyCount)) }),
      (mood.reads, { .lookup(key: $0.below(mood.keyCount)) }),
      (4, { .memoryValue(key: $0.below(mood.keyCount)) }),
      (4, { .contains(key: $0.below(mood.keyCount)) }),
      (8, { .invalidate(key: $0.below(mood.keyCount), level: $0.pick(Acknowledgement.allCases)) }),
      (
        2,
        {
          .clear(
            prefix: $0.below(SimulationPlan.prefixes.count),
            level: $0.pick(Acknowledgement.allCases))
        }
      ),
      (2, { _ in .cleanup }),
      (5, { .flush($0.pick([.written, .durable])) }),
      (3, { _ in .settle }),
      (3, { .cancel($0.below(8)) }),
      (14, { .advance($0.pick(mood.advances)) }),
      (mood.clock, { Self.drawClock(&$0) }),
      (mood.faults, { Self.drawFault(&$0, lies: mood.damage > 0) }),
      (mood.faults / 2, { _ in .endFaults }),
      (mood.faults > 0 ? 1 : 0, { .externalReader($0.below(2) == 0) }),
      (3, { _ in .readBeside }),
      (mood.damage, { Self.drawDamage(&$0) }),
      (mood.crashes, { $0.pick([.close, .kill, .kill, .losePower, .losePower, .drop]) }),
    ]
    var at = random.below(table.reduce(0) { $0 + $1.weight })
    for (weight, draw) in table {
      if at < weight {
        self = draw(&random)
        return
      }
      at -= weight
    }
    preconditionFailure("a number below the sum of all weights is below one of them")
  }

  private static func drawSet(_ random: inout SplitMix64, _ mood: SimulationPlan.Mood) -> Self {
    return .set(
      key: random.below(mood.keyCount), byteCount: random.pick(mood.byteCounts),
      memoryTTL: random.pick(mood.ttls), storeTTL: random.pick(mood.ttls),
      level: random.pick(Acknowledgement.allCases))
  }

  private static func drawClock(_ random: inout SplitMix64) -> Self {
    let far: [Int64] = [1, 1_000, 800_000, 5_000_000, 4_000_000_000, 100_000_000_000]
    switch random.below(4) {
    case 0: return .freezeWall(random.below(2) == 0)
    case 1: return .stepWall(random.pick(far))
    default: return .stepWall(-random.pick(far))
    }
  }

  private static func drawFault(_ random: inout SplitMix64, lies: Bool) -> Self {
    let kinds = FaultKind.allCases.filter { kind in
      switch kind.category {
      case .operation, .storeCall: true
      case .crashMoment: true
      case .lie: lies
      default: false
      }
    }
    return .fault(
      random.pick(kinds), after: random.pick([0, 0, 1, 3, 8]),
      times: random.pick([1, 1, 2, 6]))
  }
}

extension SimulationPlan.Action {
  private static func drawDamage(_ random: inout SplitMix64) -> Self {
    let kinds = FaultKind.allCases.filter { kind in
      if kind.category == .damage { return true }
      // A reader of another process is no damage.
      return kind.category == .store && kind != .storeExternalReader
    }
    return .damage(random.pick(kinds))
  }
}

extension SimulationSettings {
  fileprivate init(drawnFrom random: inout SplitMix64) {
    self.init()
    guard random.below(8) > 0 else { return }  // the defaults
    memoryLimit = TierLimit(
      entryCountMax: UInt64(random.pick([1, 1, 2, 3, 5, 1_000])),
      byteCountMax: random.pick([nil, nil, nil, 64, 800]))
    storeLimit = TierLimit(
      entryCountMax: memoryLimit.entryCountMax + UInt64(random.pick([0, 1, 3, 1_000, 1_000])),
      byteCountMax: memoryLimit.byteCountMax.map { $0 + UInt64(random.pick([0, 100, 5_000])) })
    memoryTTL = random.pick([1_000_000, 3_600_000_000])
    storeTTL = random.pick([500_000, 3_000_000, 86_400_000_000])
    usesStore = random.below(4) > 0
    accessLog = random.pick([.off, .recency, .recency, .lookups])
    journalFailure = random.pick([.refuseWrites, .continueInMemory])
    backpressure = random.pick([.wait, .fail])
    queues.unwrittenByteCountMax = random.pick([8 << 20, 300])
    queues.pinnedByteCountMax = random.pick([64 << 20, 500])
    queues.pendingRowCountMax = random.pick([queues.pendingRowCountMax, 2])
    retention.byteCountMax = random.pick([1 << 30, 1_000, 5_000])
    segmentByteCount = random.pick([300, 1_500, 6_000, 64 << 10])
    sweepInterval = random.pick([nil, 1_000_000, 100_000])
    syncInterval = random.pick([nil, 1_000_000, 50_000])
  }

  /// With what the cache is opened the next time: mostly as before.
  mutating func change(_ random: inout SplitMix64) {
    // Takes no number that others would have got.
    var ahead = random
    comparesRows = ahead.below(8) == 7
    guard random.below(3) == 0 else { return }
    var other = SimulationSettings(drawnFrom: &random)
    other.interruptsOneIn = interruptsOneIn
    other.powerLossOneIn = powerLossOneIn
    other.undecodableOneIn = undecodableOneIn
    other.checkpointByteCountMin = checkpointByteCountMin
    other.comparesRows = comparesRows
    other.usesJournal = usesJournal
    // Without a journal nobody knows what happened while there was no store either.
    other.usesStore = usesJournal ? other.usesStore : usesStore
    switch random.below(6) {
    case 0:
      memoryLimit = other.memoryLimit
      storeLimit = other.storeLimit
    case 1: accessLog = other.accessLog
    case 2: usesStore = usesJournal ? !usesStore : usesStore
    case 3: segmentByteCount = other.segmentByteCount
    case 4:
      memoryTTL = other.memoryTTL
      storeTTL = other.storeTTL
    default: self = other
    }
  }
}

extension SplitMix64 {
  mutating func below(_ count: Int) -> Int { Int(next() % UInt64(max(1, count))) }

  mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }
}
