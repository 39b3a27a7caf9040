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

  @Test("hits are told although the open frame is full")
  func manyHitsWhileTheJournalIsSlow() async throws {
    let directory = try TemporaryDirectory()
    let count = 3 * Bounds.untoldCountMax
    var configuration = configuration(memory: UInt64(count + 1), store: UInt64(count + 1))
    configuration.queues.unwrittenByteCountMax = 1 << 20
    // It writes nothing until it is told to.
    let scheduler = ManualScheduler()
    configuration.scheduler = scheduler
    let cache = try await scheduler.run { [configuration] in
      try await Cache<[UInt8]>.open(
        at: directory.cache, coder: .bytes, configuration: configuration)
    }
    let keys = try (0..<count).map { try CacheKey("k\($0)") }
    for key in keys { try await cache.set([1], for: key, acknowledgement: .enqueued) }
    let large = [UInt8](repeating: 2, count: 1 << 20)
    try await cache.set(large, for: try CacheKey("large"), acknowledgement: .enqueued)
    let before = cache.statistics.lastSequence
    for key in keys { #expect(cache.memoryValue(for: key) == [1]) }
    let events = cache.statistics.lastSequence - before
    #expect((1...3).contains(events), "\(events) events")
    try await scheduler.run { try await cache.close() }
  }

  @Test("what comes in after a hit counts as what a telling will have to name")
  func manySetsAfterAHit() async throws {
    let directory = try TemporaryDirectory()
    let count = 3 * Bounds.untoldCountMax
    var configuration = configuration(memory: UInt64(count + 1), store: UInt64(count + 1))
    let scheduler = ManualScheduler()
    configuration.scheduler = scheduler
    let cache = try await scheduler.run { [configuration] in
      try await Cache<[UInt8]>.open(
        at: directory.cache, coder: .bytes, configuration: configuration)
    }
    for key in ["first", "second"] { try await cache.set([0], for: try CacheKey(key)) }
    let before = cache.statistics.lastSequence
    #expect(cache.memoryValue(for: try CacheKey("first")) == [0])
    for number in 2...count {
      try await cache.set([1], for: try CacheKey("k\(number)"), acknowledgement: .enqueued)
    }
    // By a set: there was no other hit.
    #expect(cache.statistics.lastSequence == before + UInt64(count - 1) + 1)
    try await scheduler.run { try await cache.close() }
  }
}
