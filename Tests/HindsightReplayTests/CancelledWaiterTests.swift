import HindsightCore
import Synchronization
import Testing

@testable import Hindsight

/// Who is cancelled while it waits for the journal has done what it did.
@Suite("S042 cancelled waiters")
struct CancelledWaiterTests {
  @Test("what nobody waits for any more is written within 10 ms, without a sync that would be due")
  func written() async throws {
    let lab = Lab { $0.acknowledgement = .written }
    try await lab.open()
    let cache = try #require(lab.cache)
    lab.scheduler.runUntilIdle()
    // Another caller writes, and nobody else comes.
    cache.engine.locked { state in state.commit.isWriting = true }
    let lane = HeldLane()
    let code = Mutex<CacheError.Code?>(nil)
    let key = try CacheKey("k:1")
    let task = Task(executorPreference: lane) {
      do throws(CacheError) {
        try await cache.set([1], for: key)
      } catch {
        code.withLock { $0 = error.code }
      }
    }
    #expect(lane.run() > 0)
    task.cancel()
    #expect(lane.run() > 0)
    #expect(code.withLock { $0 } == .outcomeUnknown)
    cache.engine.locked { state in
      #expect(state.commit.wrote(through: state.commit.written).signal == false)
    }
    lab.scheduler.runUntilIdle()
    #expect(isWritten(cache) == false)
    lab.clock.advance(by: .milliseconds(10))
    lab.scheduler.runTimers()
    #expect(isWritten(cache))
    try await lab.end()
  }

  private func isWritten(_ cache: Lab.TextCache) -> Bool {
    cache.engine.locked { state in state.commit.written == state.core.head.sequence }
  }
}
