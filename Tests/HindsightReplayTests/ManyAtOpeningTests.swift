import Hindsight
import HindsightReplay
import HindsightTesting
import Testing

/// What an opening has to tell may be more than one frame holds: it is told in pieces.
@Suite("S040 an opening that has much to tell")
struct ManyAtOpeningTests {
  /// Bytes of each frame's body before compression.
  private func bodies(_ storage: SimulatedStorage) throws -> [Int] {
    try storage.names.filter { $0.hasSuffix(".journal") }.flatMap { name in
      let bytes = try #require(storage.bytes(of: name))
      return bytes.indices.dropLast(64).filter { bytes[$0..<$0 + 4].elementsEqual("HFRM".utf8) }
        .map { at in (0..<4).reduce(0) { $0 | Int(bytes[at + 12 + $1]) << (8 * $1) } }
    }
  }

  private func set(_ count: Int, _ lab: Lab) async throws {
    let keys = try (0..<count).map { try CacheKey("k:\($0)") }
    _ = try await lab.run { cache in
      for key in keys { try await cache.set([1], for: key) }
    }
  }

  @Test("many values that are lost")
  func lost() async throws {
    let lab = Lab(memory: 5) {
      $0.usesStore = true
      $0.storeLimit = TierLimit(entryCountMax: 100_000)
    }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    try await set(40_000, lab)
    try await lab.end()
    // As retention leaves it; and the store is gone, too.
    let segments = lab.storage.names.filter { $0.hasSuffix(".journal") }.sorted()
    for name in segments.dropLast() { lab.storage.delete(name) }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    #expect(try #require(lab.cache).recovery.lostValues > 20_000)
    try await lab.end()
    let bodies = try bodies(lab.storage)
    #expect(bodies.count > 1 && bodies.allSatisfy { $0 < 128 << 10 }, "\(bodies)")
    #expect(lab.verify(lab.storage).problems.isEmpty)
  }

  @Test("the order of use of many entries, after a session without an access log")
  func order() async throws {
    let lab = Lab(memory: 1_000) { $0.accessLog = .off }
    try await lab.open(lab.storage)
    try await set(500, lab)
    try await lab.end()
    lab.configuration.accessLog = .recency
    lab.configuration.originsPerEventMax = 64
    try await lab.open(lab.storage)
    let digest = try #require(lab.cache).stateDigest
    var told: [Int] = []
    let end = try EventStream(lab.storage).replay {
      if case .touched(let origins) = $0.record.event { told.append(origins.count) }
    }
    #expect(end.tail == .end && told == [Int](repeating: 64, count: 7) + [52])
    lab.kill()
    // What came last is the last to leave.
    lab.configuration.memoryLimit.entryCountMax = 2
    try await lab.open(lab.storage)
    #expect(try #require(lab.cache).stateDigest.sequence > digest.sequence)
    let left = try (0..<500).filter {
      try #require(lab.cache).contains(try CacheKey("k:\($0)"))
    }
    #expect(left == [498, 499])
    try await lab.end()
    let verified = lab.verify(lab.storage)
    #expect(verified.isSound, "\(verified.problems)")
  }
}
