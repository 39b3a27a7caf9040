import Glibc
import HindsightTesting
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
}
