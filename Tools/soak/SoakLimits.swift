import Hindsight

/// What must not be exceeded, and where that is stated.
struct SoakLimits {
  struct Limit {
    var name: String
    var bound: UInt64
    var source: String
  }

  static let valueByteCountMax: UInt64 = 8 << 10
  static let keyCount = 60_000

  static var configuration: CacheConfiguration {
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: 5_000, byteCountMax: 16 << 20)
    configuration.storeLimit = TierLimit(entryCountMax: 20_000)
    configuration.segmentByteCount = 4 << 20
    configuration.retention = Retention(byteCountMax: 48 << 20)
    configuration.sweepInterval = .milliseconds(100)
    configuration.syncInterval = .milliseconds(200)
    configuration.queues.pinnedByteCountMax = 16 << 20
    configuration.queues.unsyncedByteCountMax = 32 << 20
    return configuration
  }

  /// - Parameter tasks: each may exceed a queue's limit by one write (QueueLimits).
  static func all(tasks: Int) -> [Limit] {
    let configuration = configuration
    let queues = configuration.queues
    let once = UInt64(tasks) * valueByteCountMax
    let pins = UInt64(queues.pinnedByteCountMax) + once
    let unwritten = UInt64(queues.unwrittenByteCountMax) + once
    let unsynced = UInt64(queues.unsyncedByteCountMax) + unwritten
    // Rows take whole pages, and what is deleted changes some.
    let log = (16 << 20) + 2 * pins
    return [
      Limit(name: "pinned bytes", bound: pins, source: "queues.pinnedByteCountMax"),
      Limit(name: "unsynced bytes", bound: unsynced, source: "queues.unsyncedByteCountMax"),
      Limit(
        name: "memory entries", bound: configuration.memoryLimit.entryCountMax, source: "INV017"),
      Limit(name: "memory bytes", bound: 16 << 20, source: "INV017"),
      Limit(
        name: "store entries", bound: configuration.storeLimit.entryCountMax, source: "INV017"),
      Limit(
        name: "journal bytes", bound: journal(configuration),
        source: "retention, and what the second newest checkpoint still needs"),
      Limit(
        name: "store log bytes", bound: log,
        source: "emptied at 16 MiB; a transaction adds up to what may be pinned, in whole pages"),
      Limit(
        name: "resident bytes", bound: resident(configuration, pins + unwritten + unsynced),
        source: "index, memory tier, queues, SQLite's page caches, allocator (README: Memory)"),
      Limit(
        name: "descriptors added", bound: 24 + journal(configuration) / (1 << 20),
        source: "24, and every segment while retention looks at them: 1 MiB each at least"),
      Limit(
        name: "threads added", bound: UInt64(4 + 1 + 2 * 64),
        source: "4 activities, 1 that opens, and the cooperative pool"),
    ]
  }

  /// Retention works when a checkpoint is written, and never drops what the last two need.
  private static func journal(_ configuration: CacheConfiguration) -> UInt64 {
    (configuration.retention.byteCountMax ?? 0) + 6 * configuration.segmentByteCount
      + (16 << 20)
  }

  private static func resident(_ configuration: CacheConfiguration, _ queues: UInt64) -> UInt64 {
    let index = configuration.storeLimit.entryCountMax * 400
    // Encoded and decoded, and once more in a checkpoint that is being written.
    let memory: UInt64 = 3 * (16 << 20)
    let sqlite: UInt64 = 4 * (64 << 20)
    // A fresh process, with the runtime and Foundation.
    let base: UInt64 = 64 << 20
    return base + index + memory + sqlite + 2 * queues
  }
}
