public import Hindsight
import Synchronization

/// Runs background work only when it is told to, on the caller's thread: for tests that decide
/// every step.
///
///     let value = try await scheduler.run { try await cache.get(key) }
public final class ManualScheduler: BackgroundScheduler {
  private struct Entry {
    var activity: Activity
    var isRunnable = true
    /// By a thread: signaled meanwhile, it runs again afterwards.
    var isRunning = false
    /// Whether it asked to be run after a time, which `runTimers` then does.
    var isTimed = false
  }

  private let entries = Mutex<[Entry]>([])

  public init() {}

  public func start(
    _ name: String, step: @escaping @Sendable () -> BackgroundWait
  ) -> any BackgroundActivity {
    let activity = Activity(name: name, step: step, scheduler: self)
    entries.withLock { $0.append(Entry(activity: activity)) }
    return activity
  }

  /// Runs one activity that has something to do; none that another thread is running.
  /// - Returns: its name; `nil` where none has.
  @discardableResult
  public func runOne() -> String? {
    let next = entries.withLock { entries -> Activity? in
      guard let at = entries.firstIndex(where: { $0.isRunnable && !$0.isRunning }) else {
        return nil
      }
      var entry = entries.remove(at: at)
      entry.isRunnable = false
      entry.isRunning = true
      entry.isTimed = false
      entries.append(entry)  // in turn
      return entry.activity
    }
    guard let next else { return nil }
    let wait = next.run()
    entries.withLock { entries in
      guard let at = entries.firstIndex(where: { $0.activity === next }) else { return }
      entries[at].isRunning = false
      switch wait {
      case .again: entries[at].isRunnable = true
      case .signal: break
      case .after: entries[at].isTimed = true
      case .finished: entries.remove(at: at)
      }
    }
    // Not with the lock held, which isn't recursive: it may be the last that holds a cache, whose values may use
    // this scheduler as they are let go of.
    if case .finished = wait { next.forget() }
    return next.name
  }

  /// Runs until nothing has anything to do without time passing.
  public func runUntilIdle() {
    while runOne() != nil {}
  }

  /// Runs what waits for a time, as if that had come.
  public func runTimers() {
    entries.withLock { entries in
      for at in entries.indices where entries[at].isTimed { entries[at].isRunnable = true }
    }
    runUntilIdle()
  }

  /// Forgets all activities, as if their process were gone. A cache that isn't closed lives until then.
  public func abandon() {
    let all = entries.withLock { entries in
      defer { entries.removeAll() }
      return entries
    }
    for entry in all { entry.activity.forget() }
  }

  /// Runs an operation, and background work beside it for as long as it takes. Both run by turns on the
  /// caller's thread: what the operation does must not block it.
  /// - Parameter whenIdle: is called when nothing has had anything to do for a while, though the
  ///   operation has not ended: to let time pass, for instance.
  /// - Throws: what the operation throws; `CancellationError` where this task is cancelled, and with it
  ///   the operation is.
  @discardableResult
  public func run<R: Sendable>(
    whenIdle: () -> Void = {}, _ operation: @escaping @Sendable () async throws -> R
  ) async throws -> R {
    let answer = Answer<R>()
    let lane = Lane()
    let task = Task(executorPreference: lane) {
      do {
        answer.set(.success(try await operation()))
      } catch {
        answer.set(.failure(error))
      }
    }
    defer {
      task.cancel()
      lane.giveAway()
    }
    var idleRounds = 0
    while true {
      let hasRun = lane.run() > 0 || runOne() != nil
      runUntilIdle()
      if let result = answer.result {
        runUntilIdle()
        return try result.get()
      }
      idleRounds = hasRun ? 0 : idleRounds + 1
      if idleRounds > 1_000 {
        whenIdle()
        idleRounds = 0
      }
      try Task.checkCancellation()
      await Task.yield()
    }
  }

  /// Where an operation runs. On a thread of its own it could be without a processor for a while, and
  /// would look as if it waited.
  private final class Lane: TaskExecutor {
    private struct Waiting {
      var jobs: [UnownedJob] = []
      /// Whether nobody runs it any more.
      var isGivenAway = false
    }

    private let waiting = Mutex(Waiting())

    func enqueue(_ job: consuming ExecutorJob) {
      let job = UnownedJob(job)
      let isKept = waiting.withLock { waiting in
        if !waiting.isGivenAway { waiting.jobs.append(job) }
        return !waiting.isGivenAway
      }
      if !isKept { runElsewhere([job]) }
    }

    /// Runs what is there, and what that leads to.
    /// - Returns: how many jobs there were.
    func run() -> Int {
      var count = 0
      while let job = waiting.withLock({ $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }) {
        job.runSynchronously(on: asUnownedTaskExecutor())
        count += 1
      }
      return count
    }

    /// What is left of an operation that is given up ends on the threads of everybody.
    func giveAway() {
      let jobs = waiting.withLock { waiting in
        defer { waiting = Waiting(isGivenAway: true) }
        return waiting.jobs
      }
      runElsewhere(jobs)
    }

    private func runElsewhere(_ jobs: [UnownedJob]) {
      let executor = asUnownedTaskExecutor()
      for job in jobs { Task.detached { job.runSynchronously(on: executor) } }
    }
  }

  private final class Answer<R: Sendable>: Sendable {
    private let value = Mutex<Result<R, any Error>?>(nil)
    var result: Result<R, any Error>? { value.withLock { $0 } }
    func set(_ result: Result<R, any Error>) { value.withLock { $0 = result } }
  }

  private func makeRunnable(_ activity: Activity) {
    entries.withLock { entries in
      if let at = entries.firstIndex(where: { $0.activity === activity }) {
        entries[at].isRunnable = true
      }
    }
  }

  private final class Activity: BackgroundActivity {
    let name: String
    /// Holds its cache, which holds this.
    private let step: Mutex<(@Sendable () -> BackgroundWait)?>
    // Strong: a scheduler outlives its activities, or nobody would run them.
    let scheduler: ManualScheduler

    init(
      name: String, step: @escaping @Sendable () -> BackgroundWait, scheduler: ManualScheduler
    ) {
      self.name = name
      self.step = Mutex(step)
      self.scheduler = scheduler
    }

    func run() -> BackgroundWait { step.withLock { $0 }?() ?? .finished }

    func forget() {
      // Let go of outside the lock: it may be the last that holds a cache.
      _ = step.withLock { step in
        defer { step = nil }
        return step
      }
    }

    func signal() { scheduler.makeRunnable(self) }
  }
}
