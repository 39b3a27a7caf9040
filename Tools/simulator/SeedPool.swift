import Foundation
import HindsightTesting
import Synchronization

/// Hands seeds to threads, and adds up what comes back.
final class SeedPool: Sendable {
  struct Failure: Sendable {
    var seed: UInt64
    var failure: SimulationFailure
  }

  private struct State {
    var next: UInt64
    var counts = SimulationCounts()
    var failures: [Failure] = []
  }

  private let state: Mutex<State>
  private let end: UInt64?
  private let deadline: ContinuousClock.Instant?
  private let stopsAtFailure: Bool

  init(first: UInt64, count: UInt64?, seconds: Double?, stopsAtFailure: Bool) {
    state = Mutex(State(next: first))
    end = count.map { first + $0 }
    deadline = seconds.map { ContinuousClock.now + .seconds($0) }
    self.stopsAtFailure = stopsAtFailure
  }

  var counts: SimulationCounts { state.withLock { $0.counts } }
  var failures: [Failure] { state.withLock { $0.failures } }

  /// Runs until seeds or time are used up, or a promise breaks. Returns when all threads have ended.
  func run(threadCount: Int) {
    let ended = DispatchSemaphore(value: 0)
    for _ in 0..<threadCount {
      let thread = Thread { [self] in
        while let seed = take() {
          let outcome = CrashReport.watching(seed) { Simulation.run(SimulationPlan(seed: seed)) }
          add(outcome, seed)
        }
        ended.signal()
      }
      thread.stackSize = 4 << 20
      thread.start()
    }
    for _ in 0..<threadCount { ended.wait() }
  }

  private func take() -> UInt64? {
    if let deadline, ContinuousClock.now >= deadline { return nil }
    return state.withLock { state in
      if stopsAtFailure, !state.failures.isEmpty { return nil }
      if let end, state.next >= end { return nil }
      defer { state.next += 1 }
      return state.next
    }
  }

  private func add(_ outcome: SimulationOutcome, _ seed: UInt64) {
    state.withLock { state in
      state.counts.add(outcome.counts)
      if let failure = outcome.failure {
        state.failures.append(Failure(seed: seed, failure: failure))
      }
    }
  }
}
