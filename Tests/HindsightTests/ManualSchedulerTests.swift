import Glibc
import Hindsight
import HindsightTesting
import Synchronization
import Testing

@Suite("The scheduler of tests that decide every step")
struct ManualSchedulerTests {
  @Test("an operation that takes its time isn't taken for one that waits")
  func slow() async throws {
    var idleCount = 0
    let work: @Sendable () async -> Void = { usleep(100_000) }
    try await ManualScheduler().run(whenIdle: { idleCount += 1 }, work)
    #expect(idleCount == 0)
  }

  @Test("whoever waits for an operation that hangs can be cancelled", .timeLimit(.minutes(1)))
  func cancelled() async throws {
    let (ends, end) = AsyncStream<Void>.makeStream()
    let (began, begin) = AsyncStream<Void>.makeStream()
    let waiting = Task {
      try await ManualScheduler().run {
        begin.finish()
        // Until it is cancelled, too.
        for await _ in ends {}
        return Task.isCancelled
      }
    }
    for await _ in began {}
    waiting.cancel()
    await #expect(throws: CancellationError.self) { try await waiting.value }
    end.finish()
  }

  private final class Steps: Sendable {
    let inside = Atomic(0)
    let overlaps = Atomic(0)
  }

  @Test("a step is never run by two threads at once")
  func alone() async {
    let scheduler = ManualScheduler()
    defer { scheduler.abandon() }
    let steps = Steps()
    let activity = scheduler.start("step") {
      if steps.inside.add(1, ordering: .relaxed).oldValue > 0 {
        steps.overlaps.add(1, ordering: .relaxed)
      }
      usleep(100)
      steps.inside.subtract(1, ordering: .relaxed)
      return .signal
    }
    await withTaskGroup { group in
      for _ in 0..<2 {
        group.addTask {
          for _ in 0..<1_000 {
            activity.signal()
            scheduler.runOne()
          }
        }
      }
    }
    #expect(steps.overlaps.load(ordering: .relaxed) == 0)
  }

  /// Lets go of another cache where it ends.
  private final class Holder: Sendable {
    let cache: Cache<Int>
    init(_ cache: Cache<Int>) { self.cache = cache }
  }

  @Test("a cache may hold another one on the same scheduler")
  func nested() async throws {
    let scheduler = ManualScheduler()
    var configuration = CacheConfiguration()
    configuration.scheduler = scheduler
    for _ in 0..<2 {
      let coder = ValueCoder<Holder>(
        id: 200, encode: { _ in [] }, decode: { _ in throw CancellationError() })
      let (inside, configuration) = (configuration, configuration)
      try await scheduler.run {
        let inner = try await Cache<Int>.open(at: nil, configuration: inside)
        let outer = try await Cache<Holder>.open(
          at: nil, coder: coder, configuration: configuration)
        try await outer.set(Holder(inner), for: CacheKey("k"))
      }
      // Both are dropped without being closed.
      scheduler.runUntilIdle()
    }
  }
}
