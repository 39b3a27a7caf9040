import Hindsight
import HindsightJournal
import HindsightStore
import HindsightTesting
import Logging
import Testing

@Suite("S040 the store's log")
struct StoreLogTests {
  // Retention drops only what the store has synced: with a few keys that are written again all the time
  // the log takes minutes to become large.
  @Test("it is moved into the database after two seconds, though rows never stop coming")
  func age() async throws {
    let directory = try TemporaryDirectory()
    let clock = ManualClock()
    let store = try GatedStore(directory: directory.cache)
    let cache = try await Cache<[UInt8]>.open(
      at: .custom(try PosixStorage(path: directory.cache), store), coder: .bytes,
      configuration: configuration(clock: clock) { $0.transactionRowCountMax = 1 },
      logger: Logger(label: "log"))
    store.allowTransactions(0)
    let opened = store.transactions
    for number in 0..<10 {
      try await cache.set([1], for: try CacheKey("a:\(number)"), acknowledgement: .durable)
    }
    store.allowTransactions(1)
    try await eventually("the log has grown") { cache.statistics.storeLogByteCount > 0 }
    clock.advance(by: .seconds(3))
    store.allowTransactions(1)
    try await eventually("the log is empty") { cache.statistics.storeLogByteCount == 0 }
    #expect(store.transactions <= opened + 3, "the others still wait")
    store.allowTransactions(nil)
    try await cache.close()
  }
}
