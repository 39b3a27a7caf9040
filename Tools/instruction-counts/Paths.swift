import Hindsight

/// A hot path, run so many times on input that is the same in every process.
enum HotPath: String, CaseIterable {
  /// `get` of what memory holds, `memoryValue(for:)` of the same, `get` of what isn't there.
  case memoryHit = "memory-hit"
  case memoryValue = "memory-value"
  case memoryMiss = "memory-miss"
  /// `CacheKey(registry:package:)`.
  case key
  /// `set` into a full cache of 1,000 entries without journal and store: each evicts one.
  case setMemory = "set-memory"
  /// `set` with journal and store, by what it waits for.
  case setEnqueued = "set-enqueued"
  case setWritten = "set-written"
  /// A set whose frame, shared with 63 others, is written: encoded, compressed, checksummed.
  case setFrame64 = "set-frame-64"
  /// A frame of 64 sets as the journal writes it: encoded, compressed, checksummed, handed to the system.
  case encode
  /// Such a frame read, checked, inflated and taken apart into events.
  case decode
  /// The events into the cache's state, without values.
  case apply
  /// Opening what `record` left: every event is decoded and applied.
  case replay
  /// Opening what `fill` closed: an entry of the checkpoint is decoded and restored.
  case reopen
  /// `get` of what SQLite holds.
  case storeHit = "store-hit"
  /// Leaves a closed cache behind for `storeHit` and `reopen`; not counted.
  case fill
  /// Leaves the journal of a killed process behind for `replay`, `encode`, `decode` and `apply`; not
  /// counted. Its frames hold `frameCount` sets each: cut by time, they would differ from run to run.
  case record
}

/// Why a path can't be run, or did something else than it should.
struct PathError: Error {
  var message: String
}

/// Values are JSON text, kept as it is.
typealias TextCache = Cache<[UInt8]>

/// Runs hot paths. Nothing runs beside them: no clock moves, no background work is done, and a
/// cache that isn't needed any more is not closed but left to the end of the process.
struct PathRunner: Sendable {
  /// Entries of a cache that is read.
  private static let entryCount = 1_000
  static let frameCount = 64

  let path: HotPath
  let count: Int
  /// A directory that is not there yet, or the one that `fill` left.
  let directory: String

  func run() async throws {
    switch path {
    case .memoryHit, .memoryValue, .memoryMiss, .setMemory: try await memory()
    case .key: try keys()
    case .setEnqueued, .setWritten, .setFrame64, .record: try await sets()
    case .encode: try encode()
    case .decode: try decode()
    case .apply: try apply()
    case .replay: try await replay()
    case .reopen: try await reopen()
    case .storeHit: try await lookUp()
    case .fill: try await fill()
    }
  }

  private func memory() async throws {
    let cache = try await TextCache.open(
      at: nil, coder: .jsonText, configuration: Self.standing())
    let entries = try FixedInput.entries(Self.entryCount, named: "package")
    let others = try FixedInput.entries(4 * Self.entryCount, named: "other")
    for entry in entries { try await cache.set(entry, .enqueued) }
    var done = 0
    for at in 0..<count {
      switch path {
      case .memoryHit:
        if try await cache.get(entries[at % entries.count].key) != nil { done += 1 }
      case .memoryValue:
        if cache.memoryValue(for: entries[at % entries.count].key) != nil { done += 1 }
      case .memoryMiss:
        if try await cache.get(others[at % others.count].key) == nil { done += 1 }
      default:
        try await cache.set(others[at % others.count], .enqueued)
        done += 1
      }
    }
    try check(done)
  }

  private func keys() throws {
    var byteCount = 0
    for at in 0..<count {
      let key = try CacheKey(registry: "PyPI", package: "My_Package-\(at % 10)")
      byteCount += key.rawValue.utf8.count
    }
    try check(byteCount / "pypi:my-package-0".utf8.count)
  }

  private func sets() async throws {
    let cache = try await TextCache.open(
      at: directory, coder: .jsonText,
      configuration: path == .record ? Self.recording() : Self.standing())
    let entries = try FixedInput.entries(4 * Self.entryCount, named: "package")
    for at in 0..<count {
      try await cache.set(
        entries[at % entries.count], path == .setWritten ? .written : .enqueued)
      if path == .setFrame64 || path == .record, at % Self.frameCount == Self.frameCount - 1 {
        try await cache.flush(to: .written)
      }
    }
    if path == .record { try await cache.flush(to: .written) }
    try check(cache.statistics.sets)
  }

  private func replay() async throws {
    let cache = try await TextCache.open(
      at: directory, coder: .jsonText, configuration: Self.recording())
    // Besides the sets: opened and evicted.
    let events = cache.recovery.replayedEvents
    guard events >= count else { throw PathError(message: "only \(events) events were replayed") }
  }

  private func reopen() async throws {
    var configuration = Self.standing()
    configuration.memoryLimit = TierLimit(entryCountMax: 1)
    let cache = try await TextCache.open(
      at: directory, coder: .jsonText, configuration: configuration)
    let recovery = cache.recovery
    guard recovery.checkpoint != nil, recovery.replayedEvents == 0,
      recovery.lastSequence >= UInt64(count)
    else { throw PathError(message: "not all of the cache came from a checkpoint: \(recovery)") }
  }

  private func lookUp() async throws {
    var configuration = Self.standing()
    configuration.memoryLimit = TierLimit(entryCountMax: 1)
    // Past at once: what the store answers isn't promoted, and leaves no event.
    configuration.memoryTTL = .zero
    let cache = try await TextCache.open(
      at: directory, coder: .jsonText, configuration: configuration)
    let entries = try FixedInput.entries(Self.entryCount, named: "package")
    var found = 0
    for at in 0..<count where try await cache.get(entries[at % entries.count].key) != nil {
      found += 1
    }
    try check(found)
    guard cache.statistics.storeQueries >= count else {
      throw PathError(message: "memory answered instead of the store")
    }
  }

  private func fill() async throws {
    var configuration = CacheConfiguration()
    configuration.clock = StandingClock()
    configuration.memoryLimit = TierLimit(entryCountMax: 1)
    try await withCache(at: directory, coder: .jsonText, configuration: configuration) { cache in
      for entry in try FixedInput.entries(count, named: "package") {
        try await cache.set(entry, .enqueued)
      }
      try await cache.settle()
    }
  }

  func check(_ done: Int) throws {
    guard done == count else {
      throw PathError(message: "\(done) of \(count) operations did what they should")
    }
  }

  private static func standing() -> CacheConfiguration {
    var configuration = CacheConfiguration()
    configuration.clock = StandingClock()
    configuration.scheduler = StandingScheduler.shared
    return configuration
  }

  /// The journal and the index alone: nothing is kept for a store that is behind.
  private static func recording() -> CacheConfiguration {
    var configuration = standing()
    configuration.usesStore = false
    configuration.memoryLimit = TierLimit(entryCountMax: 1)
    // Nobody is there who would sync or begin a segment: who fills the queue or the segment would wait for ever.
    configuration.queues.unsyncedByteCountMax = .max
    configuration.segmentByteCount = 1 << 30
    return configuration
  }
}

extension Cache<[UInt8]> {
  fileprivate nonisolated(nonsending) func set(
    _ entry: FixedInput.Entry, _ acknowledgement: Acknowledgement
  ) async throws {
    try await set(
      entry.value, for: entry.key, memoryTTL: .seconds(3_600), storeTTL: .seconds(86_400),
      acknowledgement: acknowledgement)
  }
}
