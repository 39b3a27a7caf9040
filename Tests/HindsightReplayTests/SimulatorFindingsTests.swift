import Foundation
import Hindsight
import HindsightTesting
import Testing

/// What the simulator found, each as a short story that failed before its fix.
@Suite("Found by the simulator")
struct SimulatorFindingsTests {
  @Test("time between an event and the writing of its frame has passed, too, after a kill (INV016)")
  func timeBeforeTheCut() async throws {
    let lab = Lab()
    try await lab.open()
    let key = try CacheKey("k:1")
    try await lab.scheduler.run { [cache = try #require(lab.cache)] in
      _ = try await cache.set([1], for: key, memoryTTL: .seconds(20))
    }
    // The journal's thread comes late, and somebody sets the clock back.
    lab.clock.advance(by: .seconds(30))
    lab.scheduler.runTimers()
    lab.clock.setWall(Timestamp(microseconds: lab.clock.reading().wall.rawValue - 30_000_000))
    lab.kill()
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    let value = try await lab.scheduler.run { try await cache.get(key) }
    #expect(cache.recovery.lastSequence > 1)
    #expect(value == nil)
    try await lab.end()
  }

  @Test("without an access log, a hit before a sync leaves no frame without events")
  func emptyFrame() async throws {
    let lab = Lab {
      $0.accessLog = .off
      $0.syncInterval = .seconds(1)
    }
    try await lab.open()
    for number in 0..<2 { try await lab.set("k:\(number)", [UInt8(number)]) }
    try await lab.sync()
    #expect(try await lab.get("k:0") != nil)
    lab.clock.advance(by: .seconds(2))
    lab.scheduler.runTimers()
    try await lab.set("k:2", [2])
    try await lab.sync()
    lab.kill()
    #expect(lab.verify(lab.storage).problems.isEmpty)
    try await lab.open(lab.storage)
    #expect(try await lab.get("k:2") == [2])
    try await lab.end()
  }

  @Test("a store hit is promoted though the lookup's own event fills the open frame")
  func fullByItsOwnEvent() async throws {
    let lab = Lab(memory: 1) {
      $0.usesStore = true
      $0.accessLog = .lookups
      $0.queues.unwrittenByteCountMax = 1
    }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    let keys = try (0..<2).map { try CacheKey("k:\($0)") }
    for key in keys { _ = try await lab.run { try await $0.set([1], for: key) } }
    try await lab.scheduler.run { _ = try await cache.settle() }
    #expect(cache.memoryValue(for: keys[0]) == nil)
    #expect(try await lab.run { try await $0.get(keys[0]) } == [1])
    #expect(cache.memoryValue(for: keys[0]) == [1])
    try await lab.end()
  }

  @Test("a promoted value is found in the journal where the store is left away at the next opening")
  func promotedThenWithoutStore() async throws {
    let lab = Lab {
      $0.usesStore = true
      $0.storeLimit = TierLimit(entryCountMax: 4)
    }
    lab.store = SimulatedStore()
    lab.configuration.memoryTTL = .seconds(1)
    try await lab.open(lab.storage)
    let key = try CacheKey("k:1")
    // What is cleared at once makes way for another index, in a search for old values, too.
    _ = try await lab.run { try await $0.set([], for: key) }
    _ = try await lab.run { try await $0.clear() }
    let value = [UInt8](repeating: 7, count: 60)
    _ = try await lab.run { try await $0.set(value, for: key, storeTTL: .seconds(100)) }
    let cache = try #require(lab.cache)
    try await lab.scheduler.run { _ = try await cache.settle() }
    lab.clock.advance(by: .milliseconds(1_500))
    #expect(try await lab.run { try await $0.get(key) } == value)
    try await lab.close()
    lab.configuration.usesStore = false
    try await lab.open(lab.storage)
    let reopened = try #require(lab.cache)
    #expect(reopened.recovery.lostValues == 0)
    #expect(try await lab.scheduler.run { try await reopened.get(key) } == value)
    try await lab.end()
  }

  @Test("a verification ends where no checkpoint leads behind the damage", .timeLimit(.minutes(10)))
  func verificationEnds() async throws {
    let lab = Lab()
    try await lab.open()
    for number in 0..<3 { try await lab.set("k:\(number)", [UInt8(number)]) }
    try await lab.sync()
    lab.kill()
    try await lab.open(lab.storage)
    try await lab.close()
    var bytes = try #require(lab.storage.bytes(of: "00000001.journal"))
    bytes[80] ^= 1
    lab.storage.setBytes(bytes, of: "00000001.journal")
    let found = lab.verify(lab.storage)
    #expect(found.problems.count == 1, "\(found.problems)")
  }

  @Test("retention doesn't count on what a killed process had committed to the store, not synced")
  func retentionAfterKill() async throws {
    let store = SimulatedStore()
    let lab = Lab(memory: 1) {
      $0.usesStore = true
      $0.retention = Retention(byteCountMax: 1)
    }
    lab.store = store
    try await lab.open(lab.storage)
    try await fillSegments(lab, 0..<24)
    lab.kill()
    store.killProcess()
    #expect(store.syncedMark == nil && store.rows.count == 24)
    try await lab.open(lab.storage)
    try await fillSegments(lab, 24..<32)
    lab.crash()
    store.crash()
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    #expect(cache.recovery.lostValues == 0)
    #expect(cache.count.store == 32)
    try await lab.end()
  }

  @Test("what an opening found lost and could not tell the journal is found lost again")
  func lostUntilTold() async throws {
    for skipped in 0... {
      let injector = FaultInjector(seed: 1)
      let lab = Lab(memory: 1) { $0.usesStore = true }
      lab.storage = SimulatedStorage(injector)
      lab.store = SimulatedStore()
      try await lab.open(lab.storage)
      try await fillSegments(lab, 0..<12)
      try await lab.close()
      // As retention leaves it; and the store is gone.
      let segments = lab.storage.names.filter { $0.hasSuffix(".journal") }.sorted()
      for name in segments.dropLast() { lab.storage.delete(name) }
      lab.store = SimulatedStore()
      injector.fire(.writeIOError, after: skipped)
      do {
        try await lab.open(lab.storage)
      } catch let error as CacheError {
        #expect(error.code == .system, "after \(skipped) writes: \(error)")
        try await lab.open(lab.storage)
      }
      let cache = try #require(lab.cache)
      let wasHit = injector.count(.writeIOError) > 0
      injector.setOn(false)
      for number in 0..<12 {
        let key = try CacheKey("k:\(number)")
        let isThere = cache.contains(key)
        let value = try await lab.run { try await $0.get(key) }
        #expect(isThere == (value != nil), "after \(skipped) writes, \(key)")
      }
      try await lab.end()
      guard wasHit else {
        #expect(skipped > 1 && cache.recovery.lostValues > 0)
        return
      }
    }
  }

  @Test("a salvage sets nothing aside whose values the store has committed and not synced")
  func salvageAfterKill() async throws {
    let store = SimulatedStore()
    let lab = Lab(memory: 1) { $0.usesStore = true }
    lab.store = store
    try await lab.open(lab.storage)
    try await fillSegments(lab, 0..<24)
    lab.kill()
    store.killProcess()
    #expect(store.syncedMark == nil && store.rows.count == 24)
    let segments = lab.storage.names.filter { $0.hasSuffix(".journal") }.sorted()
    try #require(segments.count > 2)
    lab.storage.setBytes([0], of: segments[1])
    lab.configuration.corruption = .salvage
    try await lab.open(lab.storage)
    let salvaged = try #require(lab.cache)
    #expect(salvaged.recovery.journal == .salvaged)
    let count = salvaged.count.store
    lab.crash()
    store.crash()
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    #expect(count > 0 && cache.count.store == count && cache.recovery.lostValues == 0)
    try await lab.end()
  }

  /// Fills some segments, each of which begins with a checkpoint, and commits what they hold to the store.
  private func fillSegments(_ lab: Lab, _ numbers: Range<Int>) async throws {
    var random = SplitMix64(seed: UInt64(numbers.lowerBound))
    for number in numbers {
      let noise = (0..<12_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      let key = try CacheKey("k:\(number)")
      _ = try await lab.run { try await $0.set(noise, for: key) }
      _ = try await lab.run { try await $0.settle() }
    }
  }
}
