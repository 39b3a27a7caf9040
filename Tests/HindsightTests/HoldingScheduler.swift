import Hindsight
import Synchronization

/// Threads, but for activities that a test holds up.
final class HoldingScheduler: BackgroundScheduler {
  private let threads = ThreadScheduler()
  private let held = Mutex<Set<String>>([])

  func holds(_ name: String, _ isHeld: Bool) {
    held.withLock { held in
      if isHeld { held.insert(name) } else { held.remove(name) }
    }
  }

  func start(
    _ name: String, step: @escaping @Sendable () -> BackgroundWait
  ) throws(CacheError) -> any BackgroundActivity {
    try threads.start(name) { [self] in
      held.withLock { $0.contains(name) } ? .after(Microseconds(rawValue: 1_000)) : step()
    }
  }
}
