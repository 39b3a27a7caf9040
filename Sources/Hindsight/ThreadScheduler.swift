public import HindsightCore
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
    let activity = ThreadActivity(name, step: step)
    try activity.start()
    return activity
  }

  public func giveWay(until isOver: () -> Bool) {
    Pause.wait(atMost: Pause.gatheringNanoseconds, givesWay: true, until: isOver)
  }

  public func rest(atMost time: Microseconds, until isOver: () -> Bool) {
    Pause.sleep(atMost: Int(time.rawValue) * 1_000, until: isOver)
  }
}

/// Waits that are shorter than a sleep and a wake-up.
private enum Pause {
  /// Waking a sleeping thread takes 25 to 40 µs: a signal within that time is worth waiting for.
  static let signalNanoseconds = 60_000
  static let gatheringNanoseconds = 100_000
  static let restNanoseconds = 2_000_000

  /// - Returns: whether `isOver` said yes in time.
  @discardableResult
  static func wait(
    atMost nanoseconds: Int, givesWay: Bool, until isOver: () -> Bool
  ) -> Bool {
    let start = now()
    while !isOver() {
      if now() - start > nanoseconds { return false }
      if givesWay { sched_yield() }
    }
    return true
  }

  /// Sleeps in slices.
  static func sleep(atMost nanoseconds: Int, until isOver: () -> Bool) {
    let start = now()
    while !isOver() {
      let left = nanoseconds - (now() - start)
      if left <= 0 { return }
      var slice = timespec(tv_sec: 0, tv_nsec: min(left, restNanoseconds))
      nanosleep(&slice, nil)
    }
  }

  private static func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
  }
}

/// A thread that runs a step, then sleeps until its time or a signal. It ends by itself when the
/// step says `finished`; it holds what the step captures until then.
///
/// Proof of Sendable: `alertness` is atomic; `name` never changes; `step`, `penalty` and `skips` are
/// the one thread's; the pthread objects are made for sharing and live as long as this object, which
/// the thread retains.
private final class ThreadActivity: BackgroundActivity, Sendable {
  nonisolated(unsafe) private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(
    capacity: 1)
  nonisolated(unsafe) private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(
    capacity: 1)
  private let alertness = Atomic(Alertness.awake)
  /// Short waits for a signal that were in vain make the thread sleep at once so many times.
  nonisolated(unsafe) private var penalty = 0
  nonisolated(unsafe) private var skips = 0
  private let name: String
  private let step: @Sendable () -> BackgroundWait

  init(_ name: String, step: @escaping @Sendable () -> BackgroundWait) {
    self.name = name
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
    guard alertness.exchange(.signaled, ordering: .acquiringAndReleasing) == .asleep else { return }
    // The thread holds the mutex from when it says that it sleeps until it does.
    pthread_mutex_lock(mutex)
    pthread_cond_signal(condition)
    pthread_mutex_unlock(mutex)
  }

  func start() throws(CacheError) {
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
    showName()
    while true {
      switch step() {
      case .again: continue
      case .signal: sleep(nil)
      case .after(let time): sleep(time)
      case .finished: return
      }
    }
  }

  /// Names the thread for `top -H` and debuggers (proc(5)), which is of no use to the cache itself.
  private func showName() {
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    // The kernel cuts it after 15 bytes.
    let shown = Array("hindsight-\(name)".utf8)
    _ = write(descriptor, shown, shown.count)
    close(descriptor)
  }

  private func sleep(_ time: Microseconds?) {
    if isSignaledSoon() {
      alertness.store(.awake, ordering: .releasing)
      return
    }
    var deadline = time.map { Self.deadline(after: $0) }
    pthread_mutex_lock(mutex)
    let (isAsleep, _) = alertness.compareExchange(
      expected: .awake, desired: .asleep, ordering: .acquiringAndReleasing)
    while isAsleep, alertness.load(ordering: .acquiring) == .asleep {
      if deadline == nil {
        pthread_cond_wait(condition, mutex)
      } else if pthread_cond_timedwait(condition, mutex, &deadline!) == ETIMEDOUT {
        break
      }
    }
    // A signal in this moment is answered all the same: the step comes after it.
    alertness.store(.awake, ordering: .releasing)
    pthread_mutex_unlock(mutex)
  }

  /// Whether a signal has come, or comes before the thread could be put to sleep and woken. Who
  /// writes one durable value after the other signals so soon; where nobody did, it is tried ever
  /// more rarely.
  private func isSignaledSoon() -> Bool {
    if alertness.load(ordering: .acquiring) == .signaled { return true }
    guard skips == 0 else {
      skips -= 1
      return false
    }
    let isSignaled = Pause.wait(atMost: Pause.signalNanoseconds, givesWay: false) {
      alertness.load(ordering: .acquiring) == .signaled
    }
    penalty = isSignaled ? 0 : min(2 * penalty + 1, 1_023)
    skips = penalty
    return isSignaled
  }

  private static func deadline(after time: Microseconds) -> timespec {
    var deadline = timespec()
    clock_gettime(CLOCK_MONOTONIC, &deadline)
    let nanoseconds = Int64(deadline.tv_nsec) + max(0, time.rawValue) % 1_000_000 * 1_000
    deadline.tv_sec += Int(max(0, time.rawValue) / 1_000_000 + nanoseconds / 1_000_000_000)
    deadline.tv_nsec = Int(nanoseconds % 1_000_000_000)
    return deadline
  }
}

/// What a thread does, as far as a signal must know.
private enum Alertness: UInt8, AtomicRepresentable {
  case awake, signaled, asleep
}
