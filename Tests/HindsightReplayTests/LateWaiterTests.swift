import HindsightCore
import HindsightTesting
import Synchronization
import Testing

@testable import Hindsight

/// Who comes to wait when nobody is left to answer: its task was resumed before the end, and runs
/// after it.
@Suite("Waiting that begins after the end")
struct LateWaiterTests {
  @Test("a settle whose task comes to the store after the end is answered: its outcome is unknown")
  func settle() async throws {
    let injector = FaultInjector(seed: 1)
    let lab = Lab { $0.usesStore = true }
    lab.store = SimulatedStore(injector)
    try await lab.open(lab.storage)
    let key = try CacheKey("k:1")
    _ = try await lab.run { try await $0.set([1], for: key) }
    injector.fire(.storeFull, times: .max)
    let lane = HeldLane()
    let code = Mutex<CacheError.Code??>(nil)
    let task = Task(executorPreference: lane) { [cache = try #require(lab.cache)] in
      do throws(CacheError) {
        _ = try await cache.settle()
        code.withLock { $0 = .some(nil) }
      } catch {
        code.withLock { $0 = error.code }
      }
    }
    #expect(lane.run() > 0)
    // The journal has it now, so that the task may go on to wait for the store; the end is first.
    lab.scheduler.runUntilIdle()
    try await lab.end()
    #expect(lane.run() > 0)
    let answer = code.withLock { $0 }
    task.cancel()
    #expect(answer == .some(.outcomeUnknown))
  }

  @Test("whoever waits for the journal after the end hears what those heard who waited before it")
  func journal() async {
    let error = CacheError(.outcomeUnknown, "the cache was closed before the journal had it")
    var commit = CommitState(durable: SequenceNumber(3))
    #expect(commit.end(error).isEmpty)
    for level in [Acknowledgement.written, .durable] {
      #expect(await arrival(3, level, &commit) == nil)
      #expect(await arrival(4, level, &commit) == .outcomeUnknown)
    }
    #expect(!commit.hasWriteWaiters && !commit.hasSyncWaiters)
  }

  /// - Returns: what a waiter hears at once; `nil`: that there is nothing to wait for.
  private func arrival(
    _ sequence: UInt64, _ level: Acknowledgement, _ commit: inout CommitState
  ) async -> CacheError.Code? {
    let outcome = await withUnsafeContinuation {
      (continuation: UnsafeContinuation<CommitState.WaitOutcome, Never>) in
      let waiter = CommitState.Waiter(
        id: 1, sequence: SequenceNumber(sequence), continuation: continuation)
      switch commit.arrive(waiter, level) {
      case .failed(let error): continuation.resume(returning: .failed(error))
      case .acknowledged: continuation.resume(returning: .acknowledged)
      case .queued, .needsThread, .lead:
        Issue.record("it would wait for ever")
        continuation.resume(returning: .acknowledged)
      }
    }
    if case .failed(let error) = outcome { return error.code }
    return nil
  }
}
