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
    await #expect {
      // Where it settles once patience has come to its end, it has not failed.
      try await lab.patiently(
        patience: 10, lose: { injector.setOn(false) }, { try await cache.settle() })
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
