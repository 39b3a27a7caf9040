import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Testing

/// What an answer and the history say beside the value.
@Suite("S041 what is said of a value")
struct ProvenanceTests {
  @Test("a hit's age is that of its set, and its end the answering tier's, also after an opening")
  func ageAndEnd() async throws {
    let directory = try TemporaryDirectory()
    let clock = ManualClock()
    let configuration = configuration(clock: clock, memory: 1) { $0.memoryTTL = .seconds(50) }
    func open() async throws -> Cache<[UInt8]> {
      try await Cache.open(at: directory.cache, coder: .bytes, configuration: configuration)
    }
    let (key, other) = (try CacheKey("k:1"), try CacheKey("k:2"))
    var cache = try await open()
    func check(
      _ tier: Tier, age: Int, expiresIn: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      guard case .hit(let hit) = try await cache.lookup(key) else {
        Issue.record("a miss", sourceLocation: sourceLocation)
        return
      }
      #expect(hit.tier == tier, sourceLocation: sourceLocation)
      #expect(hit.age == .seconds(age), sourceLocation: sourceLocation)
      #expect(hit.expiresIn == .seconds(expiresIn), sourceLocation: sourceLocation)
    }
    try await cache.set([1], for: key, memoryTTL: .seconds(30), storeTTL: .seconds(100))
    clock.advance(by: .seconds(7))
    try await check(.memory, age: 7, expiresIn: 23)
    try await cache.set([2], for: other)  // takes the one place in memory
    try await cache.settle()
    clock.advance(by: .seconds(3))
    try await check(.store, age: 10, expiresIn: 90)
    clock.advance(by: .seconds(5))
    try await check(.memory, age: 15, expiresIn: 45)
    try await cache.close()
    clock.advance(by: .seconds(5))
    cache = try await open()
    try await check(.memory, age: 20, expiresIn: 40)
    clock.advance(by: .seconds(45))
    try await check(.store, age: 65, expiresIn: 35)
    // Promoted once more, it ends with the store's.
    try await check(.memory, age: 65, expiresIn: 35)
    try await cache.close()
  }

  @Test("the history has the reasons that were given, of each kind of write")
  func reasons() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await Cache<[UInt8]>.open(
      at: directory.cache, coder: .bytes, configuration: configuration())
    let (key, none) = (try CacheKey("k:1"), try CacheKey("k:none"))
    try await cache.set([1], for: key, reason: "nightly refresh")
    try await cache.invalidate(key, reason: "typosquat")
    try await cache.invalidate(none, reason: "it was never there")
    try await cache.set([1], for: key)
    try await cache.clear(prefix: "k:", reason: "one registry")
    try await cache.clear(reason: "everything")
    try await cache.clear(registry: "k")
    try await cache.close()
    var said: [String] = []
    _ = try EventStream(try PosixStorage(path: directory.cache)).replay { event in
      switch event.record.event {
      case .set(let it): said.append("set: \(it.reason ?? "-")")
      case .invalidated(let it): said.append("invalidated: \(it.reason ?? "-")")
      case .cleared(let it): said.append("cleared: \(it.reason ?? "-")")
      default: break
      }
    }
    #expect(
      said == [
        "set: nightly refresh", "invalidated: typosquat", "invalidated: it was never there",
        "set: -", "cleared: one registry", "cleared: everything", "cleared: -",
      ])
  }
}
