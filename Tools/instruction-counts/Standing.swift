import Hindsight
import HindsightCore
import Synchronization

/// A clock that stands still.
struct StandingClock: CacheClock {
  func reading() -> ClockReading {
    ClockReading(
      wall: Timestamp(microseconds: 1_767_225_600_000_000),
      boot: Microseconds(rawValue: 3_600_000_000))
  }
  func coarseReading() -> ClockReading { reading() }
  var bootID: UInt64 { 1 }
}

/// Opens caches, and runs nothing in the background but the store's reader, which a lookup waits for
/// where a page isn't in memory: that one on the waiting thread, when nothing else can be done.
final class StandingScheduler: BackgroundScheduler {
  static let shared = StandingScheduler()

  private final class Activity: BackgroundActivity {
    let isSignaled = Atomic<Bool>(false)
    let step: @Sendable () -> BackgroundWait

    init(_ step: @escaping @Sendable () -> BackgroundWait) { self.step = step }

    func signal() { isSignaled.store(true, ordering: .releasing) }
  }

  private let reader = Mutex<Activity?>(nil)

  func start(
    _ name: String, step: @escaping @Sendable () -> BackgroundWait
  ) -> any BackgroundActivity {
    if name == "open" { while step() != .finished {} }
    let activity = Activity(step)
    if name == "reader" { reader.withLock { $0 = activity } }
    return activity
  }

  /// Runs the reader if somebody waits for it.
  func runReader() {
    guard let reader = reader.withLock({ $0 }),
      reader.isSignaled.exchange(false, ordering: .acquiring)
    else { return }
    while reader.step() == .again {}
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
      if let next {
        next.runSynchronously(on: asUnownedTaskExecutor())
      } else {
        StandingScheduler.shared.runReader()
      }
    }
  }

  private final class Outcome: Sendable {
    let result = Mutex<Result<Void, any Error>?>(nil)
  }
}
