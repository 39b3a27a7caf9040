import Hindsight
import HindsightTesting
import Testing

@Suite("S040 a store without a journal")
struct NoJournalTests {
  @Test("rows reach the store by themselves, without a settle", arguments: Acknowledgement.allCases)
  func rowsGoOn(level: Acknowledgement) async throws {
    let (lab, store) = try await open()
    for number in 0..<3 {
      let key = try CacheKey("k:\(number)")
      _ = try await lab.scheduler.run { [cache = try #require(lab.cache)] in
        try await cache.set([1], for: key, acknowledgement: level)
      }
      lab.scheduler.runUntilIdle()
      #expect(store.rows.count == number + 1)
    }
    try await lab.end()
  }

  @Test("a write that waits for room gets it")
  func room() async throws {
    let (lab, _) = try await open { $0.queues.pinnedByteCountMax = 1 }
    let cache = try #require(lab.cache)
    for number in 0..<5 {
      let key = try CacheKey("k:\(number)")
      let writing = Task { try await cache.set([1, 2], for: key) }
      // Where nothing has anything to do any more, it would wait for ever.
      _ = try await lab.scheduler.run(whenIdle: writing.cancel) { try await writing.value }
    }
    #expect(cache.count.store == 5)
    try await lab.end()
  }

  @Test("a close that can't write the store says so: nothing else has the values")
  func closing() async throws {
    let injector = FaultInjector(seed: 1)
    let (lab, store) = try await open(injector)
    let cache = try #require(lab.cache)
    let key = try CacheKey("k:1")
    injector.fire(.storeFull, times: .max)
    _ = try await lab.scheduler.run { try await cache.set([1, 2], for: key) }
    await #expect {
      try await lab.scheduler.run { try await cache.close() }
    } throws: { ($0 as? CacheError)?.code == .storeUnavailable }
    #expect(store.rows.isEmpty)
  }

  private func open(
    _ injector: FaultInjector? = nil, _ change: (inout CacheConfiguration) -> Void = { _ in }
  ) async throws -> (Lab, SimulatedStore) {
    let lab = Lab {
      $0.usesStore = true
      $0.usesJournal = false
      change(&$0)
    }
    let store = SimulatedStore(injector)
    lab.store = store
    try await lab.open(lab.storage)
    return (lab, store)
  }
}
