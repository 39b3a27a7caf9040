import Hindsight
import HindsightTesting
import Testing

@Suite("S040 settling while the store can't be written")
struct SettleTests {
  @Test("it ends with the store's error once a second try has failed; later it succeeds")
  func storeInTrouble() async throws {
    let injector = FaultInjector(seed: 1)
    let lab = Lab { $0.usesStore = true }
    lab.store = SimulatedStore(injector)
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    let key = try CacheKey("k:1")
    _ = try await lab.run { try await $0.set([1], for: key) }
    injector.fire(.storeFull, times: .max)
    var waits = 0
    await #expect {
      try await lab.scheduler.run(
        whenIdle: {
          waits += 1
          // Patience has an end: where it settles now, it has not failed.
          if waits == 10 { injector.setOn(false) }
          lab.clock.advance(by: .seconds(1))
          lab.scheduler.runTimers()
        },
        { try await cache.settle() })
    } throws: { ($0 as? CacheError)?.code == .storeUnavailable }
    #expect(injector.count(.storeFull) == 2)
    // What was written is there, and the store gets it as soon as it can be written.
    #expect(cache.memoryValue(for: key) == [1])
    injector.setOn(false)
    let settled = try await lab.scheduler.run { try await cache.settle() }
    #expect(settled.rawValue == lab.lastSequence)
    #expect(cache.statistics.storeTrouble == nil)
    try await lab.end()
  }
}
