import Hindsight
import HindsightReplay
import HindsightTesting
import Testing

/// A set of a large value may have to evict more than one frame holds.
@Suite("S042 a set that evicts many")
struct LongEvictionTests {
  private static let count = 30_000

  /// Bytes of each frame's body before compression.
  private func bodies(_ storage: SimulatedStorage) throws -> [Int] {
    try storage.names.filter { $0.hasSuffix(".journal") }.flatMap { name in
      let bytes = try #require(storage.bytes(of: name))
      return bytes.indices.dropLast(64).filter { bytes[$0..<$0 + 4].elementsEqual("HFRM".utf8) }
        .map { at in (0..<4).reduce(0) { $0 | Int(bytes[at + 12 + $1]) << (8 * $1) } }
    }
  }

  @Test("does so in several decisions, between which frames end; a full queue doesn't stop it")
  func slices() async throws {
    let lab = Lab {
      let limit = TierLimit(entryCountMax: 100_000, byteCountMax: 8 * UInt64(Self.count))
      $0.usesStore = true
      $0.memoryLimit = limit
      $0.storeLimit = limit
      $0.queues.unwrittenByteCountMax = 64 << 10
    }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    let keys = try (0..<Self.count).map { try CacheKey("k:\(10_000 + $0)") }
    _ = try await lab.run { cache in
      for key in keys { try await cache.set([1], for: key) }
    }
    let large = try CacheKey("k:large")
    let value = [UInt8](repeating: 7, count: 8 * Self.count - 7)
    _ = try await lab.run { cache in try await cache.set(value, for: large) }
    let cache = try #require(lab.cache)
    #expect(cache.memoryValue(for: large) == value)
    #expect(cache.count == TierCounts(memory: 1, store: 1))
    try await lab.end()
    // In one decision, the evictions would take 400,000 bytes beside the value.
    let bodies = try bodies(lab.storage)
    #expect(bodies.allSatisfy { $0 < value.count + 128 << 10 }, "\(bodies.max() ?? 0)")
    #expect(lab.verify(lab.storage).isSound)
  }

  @Test("a promotion does so in several, and stops where the queue is full: the next hit goes on")
  func promotion() async throws {
    let lab = Lab {
      let limit = TierLimit(entryCountMax: 100_000, byteCountMax: 8 * UInt64(Self.count))
      $0.usesStore = true
      $0.memoryLimit = limit
      $0.storeLimit = TierLimit(entryCountMax: 100_000, byteCountMax: 1 << 20)
      $0.queues.unwrittenByteCountMax = 64 << 10
    }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    let keys = try (0..<Self.count).map { try CacheKey("k:\(10_000 + $0)") }
    let large = try CacheKey("k:large")
    let value = [UInt8](repeating: 7, count: 8 * Self.count - 7)
    _ = try await lab.run { cache in
      try await cache.set(value, for: large)
      for key in keys { try await cache.set([1], for: key) }
      try await cache.settle()
    }
    let cache = try #require(lab.cache)
    #expect(cache.count == TierCounts(memory: Self.count, store: Self.count + 1))
    let written = cache.statistics.lastSequence
    _ = try await lab.run { cache in _ = try await cache.get(large) }
    let told = cache.statistics.lastSequence - written
    // 64 KiB are full after some 5,000 evictions.
    #expect((1_024...20_000).contains(told), "\(told)")
    for _ in 0..<30 where cache.memoryValue(for: large) == nil {
      _ = try await lab.run { cache in
        try await cache.flush(to: .written)
        #expect(try await cache.get(large) == value)
      }
    }
    #expect(cache.memoryValue(for: large) == value)
    #expect(cache.count == TierCounts(memory: 1, store: Self.count + 1))
    try await lab.end()
    #expect(lab.verify(lab.storage).isSound)
  }
}
