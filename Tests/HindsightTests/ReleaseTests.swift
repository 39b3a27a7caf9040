import Hindsight
import HindsightTesting
import Synchronization
import Testing

/// The lock can't be taken twice, and a caller's value may do anything when it is let go.
@Suite("S041 values that use the cache when they are let go")
struct ReleaseTests {
  private final class Host: Sendable {
    let cache = Mutex<Cache<Asking>?>(nil)
    let askedCount = Atomic<Int>(0)
    let key: CacheKey

    init() throws { key = try CacheKey("k:asked") }

    func ask() {
      guard let cache = cache.withLock({ $0 }) else { return }
      _ = cache.contains(key)
      _ = cache.memoryValue(for: key)
      askedCount.add(1, ordering: .relaxed)
    }
  }

  private final class Asking: Sendable {
    private let host: Host
    init(_ host: Host) { self.host = host }
    deinit { host.ask() }
  }

  @Test(
    "replaced, evicted, invalidated, expired, cleared: none is let go with the lock held",
    .timeLimit(.minutes(1)), arguments: [false, true])
  func letGo(hasStore: Bool) async throws {
    let directory = try TemporaryDirectory()
    let clock = ManualClock()
    let host = try Host()
    let coder = ValueCoder<Asking>(
      id: 200, encode: { _ in [1] }, decode: { _ in Asking(host) })
    let cache = try await Cache.open(
      at: directory.cache, coder: coder,
      configuration: configuration(clock: clock, memory: 4, store: 8) {
        $0.usesStore = hasStore
      })
    host.cache.withLock { $0 = cache }
    func set(_ name: String) async throws {
      try await cache.set(Asking(host), for: CacheKey(name))
      if hasStore { try await cache.settle() }
    }
    func lets(_ count: Int, go what: String, _ body: () async throws -> Void) async throws {
      let before = host.askedCount.load(ordering: .relaxed)
      try await body()
      try await eventually("\(what): \(count) are let go") {
        host.askedCount.load(ordering: .relaxed) == before + count
      }
    }
    for number in 0..<4 { try await set("k:\(number)") }
    try await lets(1, go: "replaced") { try await set("k:0") }
    try await lets(2, go: "evicted") { for number in 4..<6 { try await set("k:\(number)") } }
    if hasStore {
      try await lets(1, go: "promoted") { _ = try await cache.get(CacheKey("k:1")) }
    }
    try await lets(1, go: "invalidated") { try await cache.invalidate(CacheKey("k:5")) }
    try await lets(3, go: "expired") {
      clock.advance(by: .seconds(100_000))
      try await cache.cleanupExpired()
    }
    for number in 0..<4 { try await set("k:\(number)") }
    try await lets(1, go: "cleared by prefix") { try await cache.clear(prefix: "k:0") }
    try await lets(3, go: "cleared") { try await cache.clear() }
    host.cache.withLock { $0 = nil }
    try await cache.close()
  }
}
