import Hindsight
import Synchronization

/// Opens caches, and runs nothing in the background.
struct StandingScheduler: BackgroundScheduler {
  private struct Standing: BackgroundActivity {
    func signal() {}
  }

  func start(
    _ name: String, step: @escaping @Sendable () -> BackgroundWait
  ) -> any BackgroundActivity {
    if name == "open" { while step() != .finished {} }
    return Standing()
  }
}

/// Runs tasks on the thread that waits for them: callgrind 3.19 crashes where the main thread of an
/// asynchronous program ends before the others.
final class WaitingExecutor: TaskExecutor {
  private let jobs = Mutex<[UnownedJob]>([])

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    jobs.withLock { $0.append(job) }
  }

  /// Runs an operation to its end.
  func run(_ operation: @escaping @Sendable () async throws -> Void) throws {
    let outcome = Outcome()
    Task(executorPreference: self) {
      do {
        try await operation()
        outcome.result.withLock { $0 = .success(()) }
      } catch {
        outcome.result.withLock { $0 = .failure(error) }
      }
    }
    while true {
      if let result = outcome.result.withLock({ $0 }) { return try result.get() }
      let next = jobs.withLock { $0.isEmpty ? nil : $0.removeFirst() }
      next?.runSynchronously(on: asUnownedTaskExecutor())
    }
  }

  private final class Outcome: Sendable {
    let result = Mutex<Result<Void, any Error>?>(nil)
  }
}
