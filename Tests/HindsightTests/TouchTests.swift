import Hindsight
import HindsightCore
import HindsightTesting
import Testing

/// The order of use is told in pieces that take no long time, whatever hits do.
@Suite("S040 telling the order of use")
struct TouchTests {
  @Test("hits over many entries are told before the frame ends")
  func manyHits() async throws {
    let directory = try TemporaryDirectory()
    let count = 5 * Bounds.untoldCountMax
    var configuration = configuration(memory: UInt64(count), store: UInt64(count))
    configuration.syncInterval = nil
    let cache = try await Cache<[UInt8]>.open(
      at: directory.cache, coder: .bytes, configuration: configuration)
    let keys = try (0..<count).map { try CacheKey("k\($0)") }
    for key in keys { try await cache.set([1], for: key, acknowledgement: .enqueued) }
    let told = try await cache.flush().rawValue
    for key in keys { #expect(cache.memoryValue(for: key) == [1]) }
    // Each telling names what the log of hits added, too; the rest is left to the frame's end. How
    // many there are depends on who else took the lock in between.
    let events = cache.statistics.lastSequence - told
    #expect((1...5).contains(events), "\(events) events")
    // The same few entries again and again are one short telling, which can wait.
    let before = try await cache.flush().rawValue
    for round in 0..<20_000 { #expect(cache.memoryValue(for: keys[round % 10]) == [1]) }
    #expect(cache.statistics.lastSequence == before)
    try await cache.close()
  }
}
