import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting
import Logging
import Testing

@testable import Hindsight
@testable import HindsightCore

@Suite("S043 a clear of more rows than a transaction takes")
struct LongClearTests {
  @Test("its rows go in pieces, and a verification in between finds nothing missing")
  func betweenTransactions() async throws {
    let directory = try TemporaryDirectory()
    let store = try GatedStore(directory: directory.cache)
    let place = Place.custom(try PosixStorage(path: directory.cache), store)
    let cache = try await Cache<[UInt8]>.open(
      at: place, coder: .bytes,
      configuration: configuration(memory: 10, store: 5_000) { $0.transactionRowCountMax = 3_000 },
      logger: Logger(label: "clear"))
    for number in 0..<4_500 {
      let key = try CacheKey("\(number % 5 == 0 ? "b" : "a"):\(number)")
      try await cache.set([1], for: key, acknowledgement: .enqueued)
    }
    try await cache.settle()
    // Events without rows stand between the last row and the clear.
    #expect(try await cache.get(try CacheKey("a:1")) == [1])
    try await cache.flush()
    var seen = store.transactions
    store.allowTransactions(1)
    _ = try await cache.clear(prefix: "a:")
    try await cache.flush()
    var verified: Verification
    repeat {
      try await eventually("a transaction is through") { store.transactions != seen }
      seen = store.transactions
      verified = try Verifier(directory: directory.cache).run()
      // On a slow machine that one may have told of the events before.
      if verified.rows == 4_500 { store.allowTransactions(1) }
    } while verified.rows == 4_500
    #expect(verified.isSound, "\(verified.problems.prefix(3))")
    // The whole clear is not there yet, and a part of it is.
    #expect((901..<4_500).contains(verified.rows), "\(verified.rows) rows")
    store.allowTransactions(nil)
    try await cache.settle()
    #expect(cache.count.store == 900)
    try await cache.close()
  }

  @Test("an opening leaves no capture behind, beside which nothing is cleared at once")
  func afterOpening() async throws {
    let directory = try TemporaryDirectory()
    func open() async throws -> Cache<[UInt8]> {
      try await Cache.open(at: directory.cache, coder: .bytes, configuration: configuration())
    }
    let cache = try await open()
    var random = SplitMix64(seed: 1)
    for number in 0..<150 {
      let noise = (0..<20_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      try await cache.set(noise, for: try CacheKey("k:\(number)"), acknowledgement: .enqueued)
    }
    try await cache.close()
    let again = try await open()
    let isCapturing = again.engine.locked { state in state.core.capture != nil }
    #expect(!isCapturing)
    try await again.clear()
    #expect(again.count == TierCounts(memory: 0, store: 0))
    try await again.close()
  }
}
