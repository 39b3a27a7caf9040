import HindsightCore
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// One thread an activity, on CLOCK_MONOTONIC. Threads are the right thing here: activities block on
/// the disk, which a cooperative thread must never do.
public struct ThreadScheduler: BackgroundScheduler {
  public init() {}

  /// - Throws: `.system` where a limit of the user, the control group or the system is reached
  ///   (pthread_create(3)).
  public func start(
    _ name: String, step: @escaping @Sendable () -> BackgroundWait
  ) throws(CacheError) -> any BackgroundActivity {
    let activity = ThreadActivity(step: step)
    try activity.start(name)
    return activity
  }
}

/// A thread that runs a step, then sleeps until its time or a signal. It ends by itself when the
/// step says `finished`; it holds what the step captures until then.
private final class ThreadActivity: BackgroundActivity, @unchecked Sendable {
  // Proof of Sendable: `isSignaled` is touched only with `mutex` held; `step` is run by the one
  // thread; the pthread objects are made for sharing and live as long as this object, which the
  // thread retains.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var isSignaled = false
  private let step: @Sendable () -> BackgroundWait

  init(step: @escaping @Sendable () -> BackgroundWait) {
    self.step = step
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  func signal() {
    pthread_mutex_lock(mutex)
    let wasSignaled = isSignaled
    isSignaled = true
    pthread_mutex_unlock(mutex)
    if !wasSignaled { pthread_cond_signal(condition) }
  }

  func start(_ name: String) throws(CacheError) {
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let retained = Unmanaged.passRetained(self)
    let result = pthread_create(
      &thread, &attributes,
      { raw in
        // Balances the retain above: the thread owns the activity.
        Unmanaged<ThreadActivity>.fromOpaque(raw!).takeRetainedValue().run()
        return nil
      }, retained.toOpaque())
    pthread_attr_destroy(&attributes)
    guard result == 0 else {
      retained.release()
      throw CacheError(
        .system,
        "the system gives no thread for \(name): \(String(cString: strerror(result))); raise the "
          + "limit on processes and threads (ulimit -u), or end some")
    }
  }

  private func run() {
    while true {
      switch step() {
      case .again: continue
      case .signal: sleep(nil)
      case .after(let time): sleep(time)
      case .finished: return
      }
    }
  }

  private func sleep(_ time: Microseconds?) {
    var deadline = timespec()
    if let time {
      clock_gettime(CLOCK_MONOTONIC, &deadline)
      let nanoseconds = Int64(deadline.tv_nsec) + max(0, time.rawValue) % 1_000_000 * 1_000
      deadline.tv_sec += Int(max(0, time.rawValue) / 1_000_000 + nanoseconds / 1_000_000_000)
      deadline.tv_nsec = Int(nanoseconds % 1_000_000_000)
    }
    pthread_mutex_lock(mutex)
    while !isSignaled {
      if time == nil {
        pthread_cond_wait(condition, mutex)
      } else if pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT {
        break
      }
    }
    isSignaled = false
    pthread_mutex_unlock(mutex)
  }
}
