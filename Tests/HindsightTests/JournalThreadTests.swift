import HindsightTesting
import Logging
import Testing

@testable import Hindsight

/// What the journal's thread does by itself, and when it rests: every step is the test's.
@Suite("S040 the journal's thread")
struct JournalThreadTests {
  private func open(
    _ scheduler: ManualScheduler, _ change: (inout CacheConfiguration) -> Void = { _ in }
  ) async throws -> Cache<[UInt8]> {
    let configuration = configuration(memory: 10) {
      $0.usesStore = false
      $0.syncInterval = nil
      $0.scheduler = scheduler
      change(&$0)
    }
    let storage = SimulatedStorage()
    return try await scheduler.run {
      try await Cache<[UInt8]>.open(
        at: .custom(storage, nil), coder: .bytes, configuration: configuration,
        logger: Logger(label: "journal"))
    }
  }

  @Test(
    "a sync begins by itself before the queue of what isn't synced is full",
    arguments: [CacheConfiguration().queues.unsyncedByteCountMax, 256 << 10])
  func syncBegins(limit: Int) async throws {
    let scheduler = ManualScheduler()
    let cache = try await open(scheduler) {
      $0.backpressure = .fail
      $0.queues.unsyncedByteCountMax = limit
    }
    // It deflates to next to nothing: no segment is full, and no checkpoint due, before that queue is.
    let value = [UInt8](repeating: 7, count: limit / 32)
    for number in 0..<40 {
      try await scheduler.run { _ = try await cache.set(value, for: CacheKey("k:\(number % 10)")) }
    }
    #expect(cache.statistics.unsyncedByteCount <= UInt64(limit) / 2)
    #expect(cache.statistics.durableSequence > .zero)
    try await scheduler.run { try await cache.close() }
  }
}
