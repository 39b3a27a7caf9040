import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting
import Logging
import Testing

/// A cache on simulated storage whose background work runs when the test says so, with a model
/// beside it: what must be found again, as of every frame's end.
final class Lab {
  typealias TextCache = Cache<[UInt8]>
  typealias History = [UInt64: [String: [UInt8]]]

  let clock = ManualClock()
  var storage = SimulatedStorage()
  /// The store, where the configuration has one.
  var store: (any StoreBackend)?
  var configuration = CacheConfiguration()
  private(set) var scheduler = ManualScheduler()
  private(set) var cache: TextCache?
  /// Key → value, as of each sequence at which a frame ended.
  private(set) var history: History = [0: [:]]
  private var model: [String: [UInt8]] = [:]

  init(memory: UInt64 = 4, _ change: (inout CacheConfiguration) -> Void = { _ in }) {
    configuration.clock = clock
    configuration.memoryLimit = TierLimit(entryCountMax: memory)
    configuration.usesStore = false
    configuration.sweepInterval = nil
    configuration.syncInterval = nil
    configuration.acknowledgement = .enqueued
    configuration.segmentByteCount = 64 << 10
    change(&configuration)
  }

  deinit { scheduler.abandon() }

  func open() async throws {
    try await open(storage)
    try await note()
  }

  /// Opens another state of the directory, as if it were found so.
  func open(_ found: SimulatedStorage) async throws {
    storage = found
    scheduler.abandon()
    scheduler = ManualScheduler()
    var configuration = configuration
    configuration.scheduler = scheduler
    let place = Place.custom(found, store)
    cache = try await scheduler.run { [configuration] in
      try await TextCache.open(
        at: place, coder: .bytes, configuration: configuration,
        logger: Logger(label: "lab", factory: { _ in SwiftLogNoOpLogHandler() }))
    }
  }

  /// Performs something, and cuts a frame.
  func run<R: Sendable>(
    _ body: @escaping @Sendable (TextCache) async throws -> R
  ) async throws -> R {
    let cache = try #require(cache)
    let result = try await scheduler.run { try await body(cache) }
    try await scheduler.run { _ = try await cache.flush(to: .written) }
    return result
  }

  /// Sets so many keys, `k:0` and on, to values that don't compress.
  func setNoise(_ count: Int, byteCount: Int, seed: UInt64) async throws {
    var random = SplitMix64(seed: seed)
    for number in 0..<count {
      try await set(
        "k:\(number)", (0..<byteCount).map { _ in .random(in: 0...255, using: &random) })
    }
  }

  /// Performs something; where it waits for time to pass, that passes, a second each time.
  /// - Parameter patience: after so many waits, `lose` is called.
  /// - Returns: the result, and how often it waited.
  @discardableResult
  func patiently<R: Sendable>(
    patience: Int = .max, lose: () -> Void = {},
    _ body: @escaping @Sendable () async throws -> R
  ) async throws -> (result: R, waits: Int) {
    var waits = 0
    let result = try await scheduler.run(
      whenIdle: {
        waits += 1
        if waits == patience { lose() }
        clock.advance(by: .seconds(1))
        scheduler.runTimers()
      }, body)
    return (result, waits)
  }

  func set(_ key: String, _ value: [UInt8], ttl: Duration? = nil) async throws {
    let cacheKey = try CacheKey(key)
    _ = try await run { try await $0.set(value, for: cacheKey, memoryTTL: ttl, reason: "test") }
    model[key] = value
    try await note()
  }

  func invalidate(_ key: String) async throws {
    let cacheKey = try CacheKey(key)
    _ = try await run { try await $0.invalidate(cacheKey) }
    model[key] = nil
    try await note()
  }

  func clear(_ prefix: String) async throws {
    _ = try await run { try await $0.clear(prefix: prefix) }
    model = model.filter { !$0.key.hasPrefix(prefix) }
    try await note()
  }

  func get(_ key: String) async throws -> [UInt8]? {
    let cacheKey = try CacheKey(key)
    let value = try await run { try await $0.get(cacheKey) }
    try await note()
    return value
  }

  /// Makes everything so far durable.
  func sync() async throws {
    try await run { _ = try await $0.flush(to: .durable) }
    try await note()
  }

  func close() async throws {
    let now = try present()
    let last = try await end()
    history[last] = now
  }

  /// Closes without a note: for what was opened only to be looked at.
  /// - Returns: the last event.
  @discardableResult
  func end() async throws -> UInt64 {
    let cache = try #require(cache)
    try await scheduler.run { try await cache.close() }
    self.cache = nil
    return cache.stateDigest.sequence
  }

  /// The process is gone; what it wrote is there.
  func kill() {
    cache = nil
    scheduler.abandon()
    storage.killProcess()
  }

  /// The power is gone; what is durable is there.
  func crash() {
    cache = nil
    scheduler.abandon()
    storage.crash()
  }

  var lastSequence: UInt64 { cache?.stateDigest.sequence ?? 0 }

  func verify(_ storage: SimulatedStorage) -> Verification {
    Verifier(storage) { () throws(StoreError) in nil }.run()
  }

  private func present() throws -> [String: [UInt8]] {
    guard let cache else { return [:] }
    return try model.filter { cache.contains(try CacheKey($0.key)) }
  }

  /// Notes what is there now. Which entries had to make room, the model takes from the cache.
  private func note() async throws {
    guard let cache else { return }
    let now = try present()
    #expect(now.count == cache.count.memory)
    #expect(now.count <= Int(configuration.memoryLimit.entryCountMax))
    history[cache.stateDigest.sequence] = now
  }
}
