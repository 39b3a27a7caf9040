import Hindsight
import HindsightJournal
import HindsightTesting
import Logging
import Testing

@Suite("T040.18 statistics")
struct StatisticsTests {
  @Test("every number is what happened, tier by tier")
  func numbers() async throws {
    let directory = try TemporaryDirectory()
    let clock = ManualClock()
    let store = try GatedStore(directory: directory.cache)
    let cache = try await Cache<[UInt8]>.open(
      at: .custom(try PosixStorage(path: directory.cache), store), coder: .bytes,
      configuration: configuration(clock: clock, memory: 2, store: 3) { $0.syncInterval = nil },
      logger: Logger(label: "statistics"))
    func set(_ name: String, _ byteCount: Int) async throws {
      try await cache.set([UInt8](repeating: 1, count: byteCount), for: CacheKey(name))
    }
    for (number, name) in ["p:a", "p:b", "q:c", "q:d"].enumerated() {
      try await set(name, 1 << number)
    }
    let settled = try await cache.settle()
    var found = cache.statistics
    #expect(found.sets == 4)
    #expect(found.evictions == TierCounts(memory: 2, store: 1))
    #expect(found.entries == TierCounts(memory: 2, store: 3))
    // b, c and d, of 2, 4 and 8 bytes, and 3 of each key.
    #expect(found.bytes == TierCounts(memory: 18, store: 23))
    #expect(cache.registryStatistics().mapValues(\.entries) == ["p": 1, "q": 2])
    #expect(cache.registryStatistics().mapValues(\.bytes) == ["p": 5, "q": 18])
    #expect(found.projectionLag == 0 && found.pinnedByteCount == 0)
    #expect(found.lastSequence == settled.rawValue && found.durableSequence == settled.rawValue)
    #expect(found.appliedSequence == settled.rawValue)

    // The store lags behind.
    store.holdWrites(true)
    try await set("q:d", 5)
    try await set("q:d", 6)
    let durable = try await cache.flush()
    found = cache.statistics
    #expect(found.durableSequence == durable.rawValue && found.writtenSequence == durable.rawValue)
    #expect(found.projectionLag == durable.rawValue - settled.rawValue)
    #expect(found.appliedSequence == settled.rawValue && found.pinnedByteCount > 0)
    store.holdWrites(false)
    try await cache.settle()

    // b comes from the store and takes c's place; the other two are in memory then.
    #expect(try await cache.get(CacheKey("p:b")) != nil)
    #expect(try await cache.get(CacheKey("q:d")) != nil)
    #expect(try await cache.get(CacheKey("p:a")) == nil)
    try await cache.invalidate(CacheKey("q:c"))
    try await cache.invalidate(CacheKey("q:none"))
    clock.advance(by: .seconds(4_000))  // beyond memory's hour
    try await cache.cleanupExpired()
    found = cache.statistics
    #expect(found.hits == TierCounts(memory: 1, store: 1) && found.misses == 1)
    #expect(found.promotions == 1 && found.sets == 6 && found.storeQueries > 0)
    #expect(found.evictions == TierCounts(memory: 3, store: 1))
    #expect(found.invalidations == 2)
    #expect(found.expiries == TierCounts(memory: 2, store: 0))
    clock.advance(by: .seconds(90_000))
    try await cache.cleanupExpired()
    #expect(cache.statistics.expiries == TierCounts(memory: 2, store: 2))
    #expect(cache.statistics.entries == TierCounts(memory: 0, store: 0))
    try await cache.close()
  }
}
