import Hindsight
import HindsightReplay
import HindsightTesting
import Testing

/// Clearing everything takes the index away at once, and leaves nothing of it.
@Suite("S043 clearing everything")
struct ClearTests {
  @Test("values are let go, lookups say why, rows go, and what is set afterwards stays")
  func everything() async throws {
    let directory = try TemporaryDirectory()
    let census = Census()
    let keys = try (0..<3_000).map { try CacheKey("k\($0)") }
    let configuration = configuration(memory: 2_000, store: 5_000)
    let cache = try await Cache<Census.Member>.open(
      at: directory.cache, coder: census.coder, configuration: configuration)
    for key in keys {
      try await cache.set(Census.Member(census), for: key, acknowledgement: .enqueued)
    }
    try await cache.settle()
    for key in keys.suffix(100) { try await cache.set(Census.Member(census), for: key) }
    #expect(census.count >= 2_000)
    #expect(try await cache.clear() == TierCounts(memory: 2_000, store: 3_000))
    #expect(cache.count == TierCounts(memory: 0, store: 0))
    for key in [keys[0], keys[2_999]] {
      #expect(reason(try await cache.lookup(key)) == .cleared)
      #expect(cache.memoryValue(for: key) == nil)
    }
    try await cache.set(Census.Member(census), for: keys[7])
    #expect(try await cache.clear() == TierCounts(memory: 1, store: 1))
    try await cache.set(Census.Member(census), for: keys[8])
    try await cache.settle()
    try await census.wait(for: 1)
    try await cache.close()
    let again = try await Cache<Census.Member>.open(
      at: directory.cache, coder: census.coder, configuration: configuration)
    #expect(again.count == TierCounts(memory: 1, store: 1))
    #expect(try await again.get(keys[8]) != nil)
    try await again.close()
  }

  @Test("while checkpoints are written and entries are counted, and with the store behind")
  func amidCheckpoints() async throws {
    let directory = try TemporaryDirectory()
    var configuration = configuration(memory: 10_000, store: 10_000)
    configuration.segmentByteCount = 256 << 10
    configuration.syncInterval = .milliseconds(5)
    let cache = try await Cache<[UInt8]>.open(
      at: directory.cache, coder: .bytes, configuration: configuration)
    let counting = Task {
      while !Task.isCancelled {
        #expect(cache.registryStatistics().values.reduce(0) { $0 + $1.entries } <= 20_000)
        try await Task.sleep(for: .milliseconds(1))
      }
    }
    var random = SplitMix64(seed: 43)
    var last = 0
    for round in 0..<12 {
      last = Int.random(in: 500...6_000, using: &random)
      for at in 0..<last {
        let value = withUnsafeBytes(of: random.next()) { Array($0) }
        try await cache.set(
          value + value + [UInt8(round)], for: CacheKey("k\(at)"), acknowledgement: .enqueued)
      }
      let counts = try await cache.clear()
      #expect(counts == TierCounts(memory: last, store: last), "round \(round)")
    }
    counting.cancel()
    _ = await counting.result
    for at in 0..<100 { try await cache.set([UInt8(at)], for: CacheKey("k\(at)")) }
    try await cache.settle()
    try await cache.close()
    let path = directory.cache
    let verified = try Verifier(directory: path).run()
    #expect(verified.isSound, "\(verified.problems)")
    #expect(verified.rows == 100)
  }

  @Test("what it replaced doesn't pile up while upkeep waits for the disk")
  func upkeepHeld() async throws {
    let (census, scheduler) = (Census(), HoldingScheduler())
    let cache = try await Cache<Census.Member>.open(
      at: nil, coder: census.coder,
      configuration: configuration(memory: 8) { $0.scheduler = scheduler })
    scheduler.holds("upkeep", true)
    for _ in 0..<20 {
      // So many that they go at once.
      for number in 0..<8 {
        try await cache.set(Census.Member(census), for: CacheKey("k:\(number)"))
      }
      try await cache.clear()
    }
    #expect(census.count <= 2 * 8)
    scheduler.holds("upkeep", false)
    try await census.wait(for: 0)
    try await cache.close()
  }
}
