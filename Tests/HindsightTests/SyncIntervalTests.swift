import Hindsight
import HindsightTesting
import Logging
import Testing

@Suite("S040 the background's syncs")
struct SyncIntervalTests {
  @Test("what is written is durable a second later, by default, and survives a loss of power")
  func everySecond() async throws {
    let (clock, storage) = (ManualClock(), SimulatedStorage())
    let key = try CacheKey("k:1")
    func open() async throws -> (Cache<[UInt8]>, ManualScheduler) {
      let scheduler = ManualScheduler()
      let configuration = configuration(clock: clock) {
        $0.usesStore = false
        $0.scheduler = scheduler
      }
      let cache = try await scheduler.run {
        try await Cache<[UInt8]>.open(
          at: .custom(storage, nil), coder: .bytes, configuration: configuration,
          logger: Logger(label: "sync"))
      }
      return (cache, scheduler)
    }
    let (cache, scheduler) = try await open()
    scheduler.runTimers()
    try await scheduler.run { _ = try await cache.set([7], for: key) }
    var statistics = cache.statistics
    #expect(statistics.writtenSequence == statistics.lastSequence)
    clock.advance(by: .milliseconds(900))
    scheduler.runTimers()
    statistics = cache.statistics
    #expect(statistics.durableSequence < statistics.lastSequence)
    clock.advance(by: .milliseconds(100))
    scheduler.runTimers()
    statistics = cache.statistics
    #expect(statistics.durableSequence == statistics.lastSequence)
    scheduler.abandon()
    storage.crash()
    let (again, ending) = try await open()
    #expect(again.memoryValue(for: key) == [7])
    try await ending.run { try await again.close() }
  }
}
