import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightStore
import Logging

/// A real cache for a scenario: simulated storage, a SQLite store in a directory of its own, a
/// manual clock, and background work that runs between commands only.
final class ScenarioTarget {
  private typealias TextCache = Cache<[UInt8]>

  private let storage = SimulatedStorage()
  private let clock = ManualClock()
  private let directory: TemporaryDirectory
  private var configuration = CacheConfiguration()
  private var scheduler = ManualScheduler()
  private var cache: TextCache?

  init() throws {
    directory = try TemporaryDirectory("scenario")
    configuration.clock = clock
    configuration.sweepInterval = nil
    configuration.syncInterval = nil
    configuration.acknowledgement = .enqueued
    configuration.segmentByteCount = 1 << 20
  }

  deinit { scheduler.abandon() }

  /// Performs a command, and cuts a frame behind it.
  func perform(_ command: Scenario.Command) async throws -> ScenarioResult {
    switch command {
    case .config(let options):
      for option in options { try configure(option.name, option.value) }
      return .nothing
    case .clock(let instant):
      clock.setWall(instant)
      return .nothing
    case .advance(let duration):
      clock.advance(by: duration)
      return .nothing
    case .restart:
      try await close()
      _ = try await opened()
      return .nothing
    case .crash:
      crash()
      _ = try await opened()
      return .nothing
    case .verify: return .problems(try await verify())
    default:
      let result = try await use(command)
      try await run { cache in _ = try await cache.flush(to: .written) }
      return result
    }
  }

  /// Sequence and digest of the live state at the end. What the journal replays to must be the same.
  func digest() async throws -> (UInt64, String) {
    let (sequence, digest) = try await run { cache in
      _ = try await cache.flush(to: .written)
      return cache.stateDigest
    }
    guard configuration.usesJournal else { return (sequence, digest) }
    let replayed = verification()
    guard replayed.lastSequence == sequence, replayed.digest == digest else {
      throw LineError(
        "the live state is \(digest) at event \(sequence), but its journal replays to "
          + "\(replayed.digest) at event \(replayed.lastSequence)")
    }
    return (sequence, digest)
  }

  func end() async throws { try await close() }

  // MARK: Commands

  private func use(_ command: Scenario.Command) async throws -> ScenarioResult {
    switch command {
    case .set(let key, let value, let memory, let store, let reason):
      let key = try CacheKey(key)
      let memoryTTL = try memory.map { seconds throws(CacheError) in
        try Duration.ttl(seconds: seconds)
      }
      let storeTTL = try store.map { seconds throws(CacheError) in
        try Duration.ttl(seconds: seconds)
      }
      return try await run { cache in
        try await cache.set(
          value, for: key, memoryTTL: memoryTTL, storeTTL: storeTTL, reason: reason)
        return .nothing
      }
    case .get(let key):
      let key = try CacheKey(key)
      return try await run { cache in
        switch try await cache.lookup(key) {
        case .hit(let hit): .hit(hit.tier, value: hit.value)
        case .miss: .miss
        }
      }
    case .contains(let key):
      let key = try CacheKey(key)
      return try await run { cache in .bool(cache.contains(key)) }
    case .invalidate(let key, let reason):
      let key = try CacheKey(key)
      return try await run { cache in .bool(try await cache.invalidate(key, reason: reason)) }
    case .clear(let prefix):
      return try await run { cache in
        let counts = try await cache.clear(prefix: prefix)
        return .counts(memory: counts.memory, store: counts.store)
      }
    case .cleanup: return try await run { cache in .number(try await cache.cleanupExpired()) }
    case .count:
      return try await run { cache in
        .counts(memory: cache.count.memory, store: cache.count.store)
      }
    case .settle:
      return try await run { cache in
        try await cache.settle()
        return .nothing
      }
    default: preconditionFailure("performed elsewhere")
    }
  }

  private func run<R: Sendable>(
    _ body: @escaping @Sendable (Cache<[UInt8]>) async throws -> R
  ) async throws -> R {
    let cache = try await opened()
    return try await scheduler.run { try await body(cache) }
  }

  private func verify() async throws -> [String] {
    try await run { cache in _ = try await cache.flush(to: .written) }
    let result = verification()
    return result.problems.map { "\($0.file): \($0.message)" }
  }

  private func verification() -> Verification {
    let path = directory.path
    let hasStore =
      configuration.usesStore
      && FileManager.default.fileExists(atPath: path + "/" + StoreBounds.fileName)
    return Verifier(storage) { () throws(StoreError) in
      hasStore ? try StoreInspector(directory: path) : nil
    }.run()
  }

  // MARK: Opening and ending

  private func opened() async throws -> TextCache {
    if let cache { return cache }
    var configuration = configuration
    configuration.scheduler = scheduler
    let place = Place.custom(storage, SQLiteStore(directory: directory.path))
    let opened = try await scheduler.run { [configuration] in
      try await TextCache.open(
        at: place, coder: .jsonText, configuration: configuration,
        logger: Logger(label: "hindsight", factory: { _ in SwiftLogNoOpLogHandler() }))
    }
    cache = opened
    return opened
  }

  private func close() async throws {
    guard let cache else { return }
    try await scheduler.run { try await cache.close() }
    self.cache = nil
  }

  /// As kill -9 with power loss: the background work never runs again, and only what is durable
  /// is left.
  private func crash() {
    cache = nil
    scheduler.abandon()
    scheduler = ManualScheduler()
    storage.crash()
  }

  // MARK: Configuration

  private func configure(_ name: String, _ value: String) throws(LineError) {
    switch name {
    case "memory.entries": configuration.memoryLimit.entryCountMax = try count(value)
    case "memory.bytes": configuration.memoryLimit.byteCountMax = try count(value)
    case "store.entries": configuration.storeLimit.entryCountMax = try count(value)
    case "store.bytes": configuration.storeLimit.byteCountMax = try count(value)
    case "memory.ttl": configuration.memoryTTL = try ttl(value)
    case "store.ttl": configuration.storeTTL = try ttl(value)
    case "store": configuration.usesStore = try onOff(value)
    case "journal": configuration.usesJournal = try onOff(value)
    case "access":
      guard let access = AccessLog(value) else {
        throw LineError("access is off, recency or lookups, not '\(value)'")
      }
      configuration.accessLog = access
    default: throw LineError("unknown configuration '\(name)'")
    }
  }

  private func count(_ value: String) throws(LineError) -> UInt64 {
    guard let count = UInt64(value) else { throw LineError("'\(value)' is no number") }
    return count
  }

  private func onOff(_ value: String) throws(LineError) -> Bool {
    guard value == "on" || value == "off" else { throw LineError("'\(value)' is not on or off") }
    return value == "on"
  }

  private func ttl(_ value: String) throws(LineError) -> Duration {
    guard let seconds = Double(value) else { throw LineError("'\(value)' is no number of seconds") }
    do throws(CacheError) {
      return try Duration.ttl(seconds: seconds)
    } catch {
      throw LineError(error.message)
    }
  }
}
