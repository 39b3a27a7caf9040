import Hindsight
import Synchronization

/// Runs everything that can run, one step at a time and in any order: background activities, and the
/// callers' tasks on lanes of their own. All of it on the one thread that calls `run`.
final class StepScheduler: BackgroundScheduler {
  /// Something that can run now.
  enum Choice: Equatable {
    case activity(Int, name: String)
    case lane(Int)
  }

  private enum Readiness: Equatable {
    case runnable, waiting
    case timed(Int64)
  }

  private struct Entry {
    var activity: Activity
    var readiness = Readiness.runnable
  }

  private struct State {
    var entries: [Entry] = []
    var jobs: [(job: UnownedJob, lane: Lane)] = []
    var nextID = 0
    /// What is in the middle of something: steps may be nested.
    var running: [Choice] = []
  }

  private let clock: SimulatedClock
  private let state = Mutex(State())

  init(_ clock: SimulatedClock) { self.clock = clock }

  func start(
    _ name: String, step: @escaping @Sendable () -> BackgroundWait
  ) -> any BackgroundActivity {
    state.withLock { state in
      let activity = Activity(id: state.nextID, name: name, step: step, scheduler: self)
      state.nextID += 1
      state.entries.append(Entry(activity: activity))
      return activity
    }
  }

  /// Where a caller's task runs.
  func makeLane(_ number: Int) -> Lane { Lane(number, self) }

  /// What can run now, in an order that depends on nothing but what has happened.
  var choices: [Choice] {
    let now = clock.reading().boot.rawValue
    return state.withLock { state in
      var choices: [Choice] = []
      for entry in state.entries {
        switch entry.readiness {
        case .timed(let time) where time > now: continue
        case .waiting: continue
        default: choices.append(.activity(entry.activity.id, name: entry.activity.name))
        }
      }
      for (_, lane) in state.jobs where !choices.contains(.lane(lane.number)) {
        choices.append(.lane(lane.number))
      }
      return choices.filter { !state.running.contains($0) }
    }
  }

  /// When the next activity wants to run that waits for a time, in boot time.
  var nextDeadline: Int64? {
    state.withLock { state in
      state.entries.compactMap { entry in
        if case .timed(let time) = entry.readiness { time } else { nil }
      }.min()
    }
  }

  /// Whether any activity is left.
  var hasActivities: Bool { state.withLock { !$0.entries.isEmpty } }

  /// What is in the middle of something: the innermost, where steps are nested.
  var current: Choice? { state.withLock { $0.running.last } }

  func run(_ choice: Choice) {
    state.withLock { $0.running.append(choice) }
    defer { state.withLock { _ = $0.running.popLast() } }
    switch choice {
    case .activity(let id, _): runActivity(id)
    case .lane(let number): runJob(number)
    }
  }

  private func runActivity(_ id: Int) {
    let next = state.withLock { state -> Activity? in
      guard let at = state.entries.firstIndex(where: { $0.activity.id == id }) else { return nil }
      state.entries[at].readiness = .waiting
      return state.entries[at].activity
    }
    guard let next else { return }
    let wait = next.step()
    let now = clock.reading().boot.rawValue
    state.withLock { state in
      guard let at = state.entries.firstIndex(where: { $0.activity.id == id }) else { return }
      switch wait {
      case .again: state.entries[at].readiness = .runnable
      case .signal: break
      case .after(let time):
        // A signal that came meanwhile is not lost.
        if state.entries[at].readiness == .waiting {
          state.entries[at].readiness = .timed(now + max(0, time.rawValue))
        }
      case .finished: state.entries.remove(at: at)
      }
    }
  }

  private func runJob(_ number: Int) {
    let next = state.withLock { state -> (job: UnownedJob, lane: Lane)? in
      guard let at = state.jobs.firstIndex(where: { $0.lane.number == number }) else { return nil }
      return state.jobs.remove(at: at)
    }
    guard let next else { return }
    next.job.runSynchronously(on: next.lane.asUnownedTaskExecutor())
  }

  fileprivate func makeRunnable(_ id: Int) {
    state.withLock { state in
      if let at = state.entries.firstIndex(where: { $0.activity.id == id }) {
        state.entries[at].readiness = .runnable
      }
    }
  }

  fileprivate func append(_ job: UnownedJob, _ lane: Lane) {
    state.withLock { $0.jobs.append((job, lane)) }
  }

  /// The executor of one caller's task: whatever the task does next waits here to be chosen.
  final class Lane: TaskExecutor {
    let number: Int
    private let scheduler: StepScheduler

    init(_ number: Int, _ scheduler: StepScheduler) {
      self.number = number
      self.scheduler = scheduler
    }

    func enqueue(_ job: consuming ExecutorJob) { scheduler.append(UnownedJob(job), self) }
  }

  private final class Activity: BackgroundActivity {
    let id: Int
    let name: String
    let step: @Sendable () -> BackgroundWait
    // Strong: a scheduler outlives its activities, or nobody would run them.
    let scheduler: StepScheduler

    init(
      id: Int, name: String, step: @escaping @Sendable () -> BackgroundWait,
      scheduler: StepScheduler
    ) {
      self.id = id
      self.name = name
      self.step = step
      self.scheduler = scheduler
    }

    func signal() { scheduler.makeRunnable(id) }
  }
}
