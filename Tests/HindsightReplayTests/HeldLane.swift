import Synchronization

/// Holds what a task does next until the test lets it run.
final class HeldLane: TaskExecutor {
  private let jobs = Mutex<[UnownedJob]>([])

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    jobs.withLock { $0.append(job) }
  }

  /// Runs the first job that is there.
  /// - Returns: whether there was one.
  func runOne() -> Bool {
    guard let job = jobs.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else { return false }
    job.runSynchronously(on: asUnownedTaskExecutor())
    return true
  }

  /// Runs what is there, and what that leads to on this lane.
  /// - Returns: how many jobs there were.
  func run() -> Int {
    var count = 0
    while runOne() { count += 1 }
    return count
  }
}
