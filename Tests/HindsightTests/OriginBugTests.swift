import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting
import Logging
import Testing

/// What the origin system got wrong.
@Suite("S040 the origin system's bugs")
struct OriginBugTests {
  private func open(
    _ directory: String, _ store: GatedStore, clock: ManualClock, memory: UInt64 = 1
  ) async throws -> Cache<[UInt8]> {
    try await Cache.open(
      at: .custom(try PosixStorage(path: directory), store), coder: .bytes,
      configuration: configuration(clock: clock, memory: memory), logger: Logger(label: "test"))
  }

  enum Change: CaseIterable, Sendable {
    case invalidated, replaced, cleared, expired
  }

  @Test(
    "S041 a read that races a change never brings the old value back", arguments: Change.allCases)
  func racingRead(change: Change) async throws {
    let directory = try TemporaryDirectory()
    let clock = ManualClock()
    let store = try GatedStore(directory: directory.cache)
    let cache = try await open(directory.cache, store, clock: clock)
    let key = try pypi("flask")
    try await cache.set([1], for: key, storeTTL: .seconds(100))
    try await cache.set([0], for: try pypi("other"))  // takes the one place in memory
    try await cache.settle()
    #expect(cache.memoryValue(for: key) == nil)

    store.holdReads(true)
    let reading = Task { try await cache.get(key) }
    try await eventually { store.readsBegun > 0 }
    switch change {
    case .invalidated: #expect(try await cache.invalidate(key))
    case .replaced: try await cache.set([2], for: key)
    case .cleared: #expect(try await cache.clear(registry: "pypi").store == 2)
    case .expired: clock.advance(by: .seconds(100))
    }
    // The change is in the store, too, before the read goes on.
    try await cache.settle()
    store.holdReads(false)
    #expect(try await reading.value == (change == .replaced ? [2] : nil))
    #expect(cache.memoryValue(for: key) == (change == .replaced ? [2] : nil))
    #expect(try await cache.get(key) == (change == .replaced ? [2] : nil))
    try await cache.close()
  }

  @Test("S042 many sets share a transaction of the store, and none waits for it")
  func oneCommitPerSet() async throws {
    let directory = try TemporaryDirectory()
    let store = try GatedStore(directory: directory.cache)
    let cache = try await open(directory.cache, store, clock: ManualClock())
    store.holdWrites(true)
    for number in 0..<1_000 { try await cache.set([1], for: try pypi("p\(number)")) }
    // SQLite is stuck, and still every write can be read.
    #expect(try await cache.get(try pypi("p0")) == [1])
    #expect(cache.statistics.pinnedByteCount > 0)
    store.holdWrites(false)
    try await cache.settle()
    let (transactions, rows) = store.gate.withLock { ($0.transactions, $0.rows) }
    #expect(rows >= 999 && transactions <= 20, "\(transactions) for \(rows)")
    #expect(cache.statistics.pinnedByteCount == 0)
    try await cache.close()
  }

  @Test("INV017 100,001 sets leave 100,000 in the store, on the disk as in the index")
  func storeLimit() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await Cache<Int>.open(at: directory.cache, configuration: configuration())
    for number in 0...100_000 {
      try await cache.set(number, for: try CacheKey("k:\(number)"), acknowledgement: .enqueued)
    }
    #expect(cache.count == TierCounts(memory: 1_000, store: 100_000))
    #expect(try await cache.get(try CacheKey("k:0")) == nil)
    #expect(try await cache.get(try CacheKey("k:1")) == 1)
    try await cache.settle()
    try await cache.close()
    let store = try StoreInspector(directory: directory.cache)
    #expect(try store.rowCount() == 100_000)
  }

  @Test("T040.29 clear leaves no row")
  func clearLeavesNoRow() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await Cache<Int>.open(at: directory.cache, configuration: configuration())
    for number in 0..<50 { try await cache.set(number, for: try CacheKey("k:\(number)")) }
    try await cache.settle()
    #expect(try StoreInspector(directory: directory.cache).rowCount() == 50)
    #expect(try await cache.clear() == TierCounts(memory: 50, store: 50))
    try await cache.settle()
    #expect(try StoreInspector(directory: directory.cache).rowCount() == 0)
    try await cache.close()
  }

  @Test("INV016 an expiry is an instant, not a text: midnight, new year and time zones are nothing")
  func dateFormats() async {
    // In a process of its own, since its time zone is the whole process's.
    await #expect(processExitsWith: .success) { try await OriginBugTests.movesToAuckland() }
  }

  private static func movesToAuckland() async throws {
    let directory = try TemporaryDirectory()
    // 2026-12-31T23:59:59.9Z
    let clock = ManualClock(wall: Timestamp(microseconds: 1_798_761_599_900_000))
    let cache = try await Cache<Int>.open(
      at: directory.cache, configuration: configuration(clock: clock, memory: 1))
    try await cache.set(
      1, for: try CacheKey("k:1"), memoryTTL: .milliseconds(200), storeTTL: .milliseconds(200))
    try await cache.settle()
    try await cache.close()
    setenv("TZ", "Pacific/Auckland", 1)
    tzset()
    let again = try await Cache<Int>.open(
      at: directory.cache, configuration: configuration(clock: clock, memory: 1))
    clock.advance(by: .microseconds(199_999))
    #expect(try await again.get(try CacheKey("k:1")) == 1)
    clock.advance(by: .microseconds(1))
    #expect(try await again.get(try CacheKey("k:1")) == nil)
    try await again.close()
  }
}
