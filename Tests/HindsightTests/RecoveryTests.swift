import Foundation
import Hindsight
import HindsightReplay
import HindsightTesting
import Testing

/// What a cache finds when it is opened again, after a crash in particular. A directory copied while
/// nothing is under way is what a killed process leaves behind.
@Suite("S040 recovery")
struct RecoveryTests {
  let clock = ManualClock()

  private func copy(_ from: String, _ to: String) throws {
    try FileManager.default.copyItem(atPath: from, toPath: to)
  }

  private func open(
    _ path: String, _ change: (inout CacheConfiguration) -> Void = { _ in }
  ) async throws -> Cache<[UInt8]> {
    try await Cache.open(
      at: path, coder: .bytes,
      configuration: configuration(clock: clock, memory: 10, store: 1_000, change))
  }

  /// Fills a cache so that a checkpoint is taken while `key` is in the store only, then promotes it.
  private func promoteAfterCheckpoint(
    _ cache: Cache<[UInt8]>, _ key: CacheKey, _ directory: String
  ) async throws {
    try await cache.set([1, 2, 3], for: key, memoryTTL: .seconds(1))
    clock.advance(by: .seconds(2))
    var random = SplitMix64(seed: 7)
    // Enough for one checkpoint, and not for a second one, which could come after the promotion.
    for number in 0..<45 {
      let noise = (0..<65_536).map { _ in UInt8.random(in: 0...255, using: &random) }
      try await cache.set(noise, for: try CacheKey("noise:\(number)"))
    }
    try await cache.settle()
    try await eventually {
      try FileManager.default.contentsOfDirectory(atPath: directory)
        .contains { $0.hasSuffix(".checkpoint") }
    }
    let lookup = try await cache.lookup(key)
    #expect(answer(lookup)?.tier == .store)
    try await cache.settle()
  }

  @Test("a value that was promoted after the last checkpoint is in memory after a crash")
  func promotedAfterCheckpoint() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache)
    let key = try CacheKey("pypi:flask")
    try await promoteAfterCheckpoint(cache, key, directory.cache)
    try copy(directory.cache, directory.path + "/killed")
    try await cache.close()

    let killed = try await open(directory.path + "/killed")
    #expect(killed.recovery.checkpoint != nil)
    #expect(killed.memoryValue(for: key) == [1, 2, 3])
    try await killed.close()
  }

  private func checkpointCount(_ directory: String) throws -> Int {
    try FileManager.default.contentsOfDirectory(atPath: directory)
      .filter { $0.hasSuffix(".checkpoint") }.count
  }

  @Test("a checkpoint asks for the sync that it waits for")
  func checkpointAsksForSync() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache) {
      $0.syncInterval = nil
      $0.segmentByteCount = 64 << 10
    }
    var random = SplitMix64(seed: 74)
    let noise = (0..<70_000).map { _ in UInt8.random(in: 0...255, using: &random) }
    for number in 0..<2 {
      try await cache.set(noise, for: try CacheKey("k:\(number)"), acknowledgement: .enqueued)
    }
    try await eventually { try checkpointCount(directory.cache) > 0 }
    try await cache.close()
  }

  @Test("a checkpoint that is not finished at the end gives way to one of the end")
  func unfinishedCheckpoint() async throws {
    let directory = try TemporaryDirectory()
    let scheduler = HoldingScheduler()
    let cache = try await open(directory.cache) {
      $0.scheduler = scheduler
      $0.segmentByteCount = 64 << 10
    }
    scheduler.holds("upkeep", true)
    var random = SplitMix64(seed: 74)
    let noise = (0..<70_000).map { _ in UInt8.random(in: 0...255, using: &random) }
    try await cache.set(noise, for: try CacheKey("k"))
    try await cache.flush()
    async let closed: Void = cache.close()
    try await eventually { try checkpointCount(directory.cache) > 0 }
    scheduler.holds("upkeep", false)
    try await closed
    let again = try await open(directory.cache)
    #expect(again.recovery.replayedEvents == 0)
    try await again.close()
  }

  @Test("a promoted value that the store has lost comes from the journal, else it is lost")
  func promotedButLost() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache)
    let key = try CacheKey("pypi:flask")
    try await promoteAfterCheckpoint(cache, key, directory.cache)
    try copy(directory.cache, directory.path + "/killed")
    try await cache.close()

    let path = directory.path + "/killed"
    for name in try FileManager.default.contentsOfDirectory(atPath: path)
    where name.hasPrefix("store.sqlite") {
      try FileManager.default.removeItem(atPath: path + "/" + name)
    }
    let killed = try await open(path)
    #expect(killed.recovery.lostValues == 0)
    #expect(killed.memoryValue(for: key) == [1, 2, 3])
    try await killed.close()
  }
}
