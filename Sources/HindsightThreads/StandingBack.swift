import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Lets the holder of a cache's lock go on that has lost its processor to background work.
///
/// A thread that is descheduled with the lock held gets a processor back at a tick of the scheduler's clock, up
/// to some milliseconds later, and everybody waits as long. What runs instead is often a cache's own background
/// work: so who sleeps for a lock says so here, and a background thread looks between two pieces of its work, some
/// tens of microseconds each, and sleeps for a moment. Where nobody sleeps for a lock, which is nearly always,
/// that costs a load. It is also who gives way where it finds a lock held for long: waking up, it may have taken
/// the processor from the very holder.
///
/// One count for the process: its caches share the processors.
package enum StandingBack {
  private static let sleepers = Atomic<Int>(0)

  private enum Bounds {
    /// Nanoseconds of one sleep. The system makes some 55 µs of it (prctl(2), PR_SET_TIMERSLACK).
    static let nap = 1_000
    /// The most nanoseconds in a row; then as much work comes first as it has stood back.
    static let most = 1_000_000
  }

  // MARK: Who waits

  /// Somebody will sleep for a lock until `wakeUp`: its holder was most probably descheduled.
  package static func fallAsleep() { sleepers.add(1, ordering: .relaxed) }
  package static func wakeUp() { sleepers.subtract(1, ordering: .relaxed) }

  /// Whether anybody sleeps for a lock.
  package static var isAskedFor: Bool { sleepers.load(ordering: .relaxed) != 0 }

  // MARK: Who works

  /// From now on the calling thread stands back where it is asked to; others never do.
  package static func volunteer() { setNext(1) }

  /// When the calling thread may stand back again, in nanoseconds of CLOCK_MONOTONIC, or 1 where it never has;
  /// `nil`: it is no volunteer.
  package static var next: Int? { pthread_getspecific(key).map { Int(bitPattern: $0) } }

  /// To be called between two pieces of work, with no lock held that callers need: sleeps while anybody sleeps
  /// for a lock, a millisecond at most, and half of the time at most.
  @inline(__always)
  package static func ifAskedFor() {
    if isAskedFor { standBack() }
  }

  @inline(never)
  private static func standBack() {
    guard let next else { return }
    let start = now()
    guard start >= next else { return }
    var end = start
    repeat {
      var nap = timespec(tv_sec: 0, tv_nsec: Bounds.nap)
      nanosleep(&nap, nil)
      end = now()
    } while isAskedFor && end - start < Bounds.most
    setNext(end + (end - start))
  }

  /// For `next`.
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let code = pthread_key_create(&key, nil)
    precondition(code == 0, "no thread-specific key is left")
    return key
  }()

  /// The value is no address, and 0 would stand for none. Out of memory: then the thread is no volunteer.
  private static func setNext(_ nanoseconds: Int) {
    _ = pthread_setspecific(key, UnsafeMutableRawPointer(bitPattern: nanoseconds))
  }

  private static func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }
}
