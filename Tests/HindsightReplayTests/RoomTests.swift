import Hindsight
import HindsightTesting
import Testing

@Suite("S040 waiting for room")
struct RoomTests {
  @Test("no write waits for time to pass: it asks for the sync that makes room, each time anew")
  func asksForSync() async throws {
    let lab = Lab {
      $0.usesStore = true
      $0.queues.pinnedByteCountMax = 1
      // Without it, the third write would have waited for ever.
      $0.syncInterval = .seconds(1)
    }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    for number in 0..<5 {
      let key = try CacheKey("k:\(number)")
      let (_, waits) = try await lab.patiently {
        try await cache.set([1, 2], for: key, acknowledgement: .written)
      }
      #expect(waits == 0)
    }
    try await lab.end()
  }

  @Test(
    "it ends with the error of a journal that can't be written: the store takes only what is durable",
    arguments: [JournalFailurePolicy.refuseWrites, .continueInMemory])
  func journalInTrouble(policy: JournalFailurePolicy) async throws {
    let injector = FaultInjector(seed: 1)
    let lab = Lab {
      $0.usesStore = true
      $0.queues.pendingRowCountMax = 1
      $0.journalFailure = policy
    }
    lab.storage = SimulatedStorage(injector)
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    let keys = try (0..<3).map { try CacheKey("k:\($0)") }
    // Neither what is there can be made durable, nor a new segment.
    injector.fire(.syncErrorKept, times: .max)
    injector.fire(.createIOError, times: .max)
    for key in keys[..<2] {
      _ = try await lab.scheduler.run { try await cache.set([1], for: key) }
    }
    await #expect {
      // Where there is room once patience has come to its end, it has not failed.
      try await lab.patiently(
        patience: 10, lose: { injector.setOn(false) },
        { try await cache.set([1], for: keys[2]) })
    } throws: { ($0 as? CacheError)?.code == .journalUnavailable }
    #expect(!cache.contains(keys[2]))
    injector.setOn(false)
    lab.clock.advance(by: .seconds(2))
    lab.scheduler.runTimers()
    _ = try await lab.scheduler.run { try await cache.set([1], for: keys[2]) }
    #expect(cache.memoryValue(for: keys[2]) == [1])
    try await lab.end()
  }
}
