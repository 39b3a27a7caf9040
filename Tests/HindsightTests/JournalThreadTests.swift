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

  @Test("where callers are not to write, it writes all that they wait for", .timeLimit(.minutes(1)))
  func writerThread() async throws {
    let scheduler = ManualScheduler()
    let cache = try await open(scheduler) { $0.usesWriterThread = true }
    let engine = cache.engine
    for round in 1...3 {
      let before = cache.statistics.writtenSequence
      let setting = (0..<4).map { number in
        Task { try await cache.set([1], for: try CacheKey("k:\(round):\(number)")) }
      }
      try await eventually("all wait") { engine.locked { $0.commit.waiterCount == 4 } }
      let flushing = Task { try await cache.flush(to: .written) }
      try await eventually("the flush, too") { engine.locked { $0.commit.waiterCount == 5 } }
      #expect(cache.statistics.writtenSequence == before)
      #expect(!engine.locked { $0.commit.hasLeader || $0.commit.isWriting })
      scheduler.runUntilIdle()
      for set in setting { _ = try await set.value }
      _ = try await flushing.value
      let statistics = cache.statistics
      #expect(statistics.writtenSequence == statistics.lastSequence)
    }
    try await scheduler.run { try await cache.close() }
  }

  @Test("it waits while a caller writes what a flush waits for", .timeLimit(.minutes(1)))
  func writeUnderWay() async throws {
    let scheduler = ManualScheduler()
    let cache = try await open(scheduler)
    let engine = cache.engine
    let journal = try #require(engine.journal)
    try await scheduler.run {
      _ = try await cache.set([1], for: CacheKey("k:1"), acknowledgement: .enqueued)
    }
    // A caller that has taken the frame, and has no processor.
    let cut = engine.locked { state -> CutFrame? in
      state.commit.takeRoleForCaller() ? state.cut(journal.writer, engine.clock.reading()) : nil
    }
    let flushing = Task { try await cache.flush() }
    try await eventually("the flush waits") { engine.locked { $0.commit.hasSyncWaiters } }
    engine.signalJournal()
    var steps = 0
    while steps < 100, scheduler.runOne() != nil { steps += 1 }
    #expect(steps < 100, "it has something to do for ever")
    #expect(engine.write(try #require(cut), journal) == nil)
    scheduler.runUntilIdle()
    _ = try await flushing.value
    #expect(!engine.locked { $0.commit.threadWantsRole }, "callers may write again")
    try await scheduler.run { try await cache.close() }
  }
}
