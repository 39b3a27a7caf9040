import Hindsight
import Testing

/// What a program can do that imports nothing but Hindsight, with MemberImportVisibility.
@Suite("S040 the library by itself")
struct ImportTests {
  @Test("limits, access log, places and errors need no other import")
  func oneImport() async throws {
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: 10)
    configuration.memoryLimit.byteCountMax = 1 << 20
    configuration.accessLog = .lookups
    let answer = try await withCache(at: nil, of: Int.self, configuration: configuration) { cache in
      let origin: SequenceNumber = try await cache.set(1, for: CacheKey("k"))
      guard case .hit(let hit) = try await cache.lookup(CacheKey("k")) else { return false }
      return hit.tier == .memory && hit.origin == origin && origin.rawValue > 0
    }
    #expect(answer)
    // Its result may be left unused.
    try await withCache(at: nil, of: Int.self) { try await $0.set(1, for: CacheKey("k")) }
  }
}
