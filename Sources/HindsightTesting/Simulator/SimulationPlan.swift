package import Hindsight
import HindsightCore

/// Everything that one simulation does, drawn from its seed before it begins. Each item carries the
/// seed of the scheduling that follows it, so that leaving out one leaves the others as they are: a
/// failing run can be made shorter.
package struct SimulationPlan: Sendable {
  package var seed: UInt64
  package var settings: SimulationSettings
  package var items: [Item]

  package struct Item: Sendable {
    package var action: Action
    /// Decides what runs afterwards, and in which order.
    package var seed: UInt64
    /// So many steps.
    package var stepCount: Int
  }

  /// One thing that a caller, the machine or an administrator does.
  package enum Action: Sendable, Equatable {
    case set(
      key: Int, byteCount: Int, memoryTTL: Int64?, storeTTL: Int64?, level: Acknowledgement)
    case get(key: Int)
    case lookup(key: Int)
    case memoryValue(key: Int)
    case contains(key: Int)
    case invalidate(key: Int, level: Acknowledgement)
    case clear(prefix: Int, level: Acknowledgement)
    case cleanup
    case flush(Acknowledgement)
    case settle
    /// Cancels the task of one of the operations that have not ended.
    case cancel(Int)
    /// Time passes, in µs.
    case advance(Int64)
    /// The wall clock is set, by so many µs.
    case stepWall(Int64)
    case freezeWall(Bool)
    /// This kind of fault comes in at one of the next calls where it can.
    case fault(FaultKind, after: Int, times: Int)
    case endFaults
    case externalReader(Bool)
    /// Another process verifies the journal, beside the cache that writes it.
    case readBeside
    case close
    /// The handle is dropped without closing.
    case drop
    case kill
    case losePower
    /// The process ends one way or another, and then something is done to its files or its store.
    case damage(FaultKind)
  }

  /// The keys that operations are about.
  static func key(_ number: Int) -> String {
    number % 3 == 0 ? "npm:k\(number)" : "pypi:k\(number)"
  }

  static let prefixes = ["pypi:", "npm:", "", "pypi:k1"]
}

/// With which configuration a simulated cache is opened.
package struct SimulationSettings: Sendable, Equatable {
  package var memoryLimit = TierLimit(entryCountMax: 1_000)
  package var storeLimit = TierLimit(entryCountMax: 100_000)
  package var memoryTTL: Int64 = 3_600_000_000
  package var storeTTL: Int64 = 86_400_000_000
  package var usesStore = true
  package var usesJournal = true
  package var accessLog = AccessLog.recency
  package var journalFailure = JournalFailurePolicy.refuseWrites
  package var backpressure = BackpressurePolicy.wait
  package var queues = QueueLimits()
  package var retention = Retention()
  package var segmentByteCount: UInt64 = 16 << 20
  package var sweepInterval: Int64? = 1_000_000
  package var syncInterval: Int64? = 1_000_000
  /// One value in so many doesn't decode; 0: none.
  package var undecodableOneIn: UInt64 = 0
  /// Before one call in so many of the storage or the store, others go on; 0: never.
  package var interruptsOneIn = 0
  /// During one in so many syncs beside which others go on, or soon after, the power goes; 0: never.
  package var powerLossOneIn = 0
  /// So much of the journal comes between two checkpoints at least; `nil`: as usual, which is more than a
  /// simulation writes.
  package var checkpointByteCountMin: UInt64?
  package var usesWriterThread = false
  /// Whether the store's rows are compared though its mark fits, as a repair does.
  package var comparesRows = false

  var limits: NapkinModel.Limits {
    NapkinModel.Limits(
      memory: memoryLimit, store: usesStore ? storeLimit : nil, memoryTTL: memoryTTL,
      storeTTL: storeTTL)
  }

  /// The bytes as they are, but for some values, which only memory has as they were set.
  var coder: ValueCoder<[UInt8]> {
    guard undecodableOneIn > 0 else { return .bytes }
    let settings = self
    return ValueCoder(
      id: 200, encode: { $0 },
      decode: { bytes in
        guard settings.decodes(bytes) else { throw UndecodableValue() }
        return bytes
      })
  }

  func decodes(_ value: [UInt8]) -> Bool {
    undecodableOneIn == 0 || XXH64.hash(Bytes(value)) % undecodableOneIn > 0
  }

  private struct UndecodableValue: Error {}

  func configuration(
    _ clock: SimulatedClock, _ scheduler: any BackgroundScheduler, salvages: Bool,
    random: @escaping @Sendable () -> UInt64
  ) -> CacheConfiguration {
    var configuration = CacheConfiguration()
    configuration.memoryLimit = memoryLimit
    configuration.storeLimit = storeLimit
    configuration.memoryTTL = .microseconds(memoryTTL)
    configuration.storeTTL = .microseconds(storeTTL)
    configuration.usesStore = usesStore
    configuration.usesJournal = usesJournal
    configuration.accessLog = accessLog
    configuration.journalFailure = journalFailure
    configuration.backpressure = backpressure
    configuration.queues = queues
    configuration.retention = retention
    configuration.corruption = salvages ? .salvage : .refuse
    configuration.segmentByteCountMin = 256
    // Every other plan opens from the newest checkpoint, however little the store lacks.
    if memoryLimit.entryCountMax % 2 == 0 { configuration.backlogByteCountMin = 0 }
    if memoryLimit.entryCountMax % 3 == 0 { configuration.transactionRowCountMax = 2 }
    configuration.usesWriterThread = usesWriterThread
    configuration.comparesRows = comparesRows
    if let least = checkpointByteCountMin {
      configuration.checkpointByteCountMin = least
      configuration.closingCheckpointByteCountMin = least
    }
    configuration.segmentByteCount = segmentByteCount
    configuration.sweepInterval = sweepInterval.map { .microseconds($0) }
    configuration.syncInterval = syncInterval.map { .microseconds($0) }
    configuration.clock = clock
    configuration.scheduler = scheduler
    configuration.random = random
    return configuration
  }
}

extension SimulationPlan: CustomStringConvertible {
  /// What differs from the usual settings, then an item a line.
  package var description: String {
    var lines = ["settings: \(settings)"]
    for (number, item) in items.enumerated() {
      lines.append("\(number): \(item.action), then \(item.stepCount) steps")
    }
    return lines.joined(separator: "\n")
  }
}

extension SimulationSettings: CustomStringConvertible {
  package var description: String {
    let usual = SimulationSettings()
    let differing = zip(
      Mirror(reflecting: self).children, Mirror(reflecting: usual).children
    ).compactMap { mine, theirs -> String? in
      let text = "\(mine.value)"
      return text == "\(theirs.value)" ? nil : "\(mine.label ?? "") = \(text)"
    }
    return differing.isEmpty ? "the usual ones" : differing.joined(separator: ", ")
  }
}
