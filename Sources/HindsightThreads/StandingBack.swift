import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Has background work stand back where callers need its processor.
///
/// A thread that is descheduled with a cache's lock held gets a processor back at a tick of the scheduler's clock, up
/// to some milliseconds later, and everybody waits as long. What runs instead is often the cache's own background
/// work. So that looks up between two pieces of its work, some tens of microseconds each at most:
///
/// - Does anybody sleep for a lock, or has its engine's lock a holder that doesn't get on (whoever waits may
///   have lost its processor as well)? Then it sleeps for a moment.
/// - Has it worked for half a millisecond? Then whoever waits for its processor comes first: a hit whose thread
///   was descheduled holds no lock, and nobody else knows of it.
///
/// Work that callers wait for, since their queue is full, say, stands back for sleepers only.
///
/// It costs a reading of the clock. Background work is also who gives way where it finds a lock held for long: waking
/// up, it may have taken the processor from the very holder.
///
/// One count of sleepers for the process: its caches share the processors.
package enum StandingBack {
  private static let sleepers = Atomic<Int>(0)

  private enum Bounds {
    /// Nanoseconds of one sleep. The system makes some 55 µs of it (prctl(2), PR_SET_TIMERSLACK).
    static let nap = 1_000
    /// The most nanoseconds in a row; then as much work comes first as it has stood back.
    static let most = 1_000_000
    /// Nanoseconds after which whoever else waits for this processor comes first, instead of at one of the
    /// scheduler's ticks, of which there may be 250 a second.
    static let turn = 500_000
  }

  /// What a volunteer knows; its thread's own.
  private struct Volunteer {
    /// As `StandingBack.next`.
    var next = 1
    /// When it let others have its processor last, in nanoseconds of CLOCK_MONOTONIC.
    var turnBegan = 0
    /// Whether callers wait for its work: then it stands back only where it is asked to.
    var isUrgent = false
    var watch = HoldWatch()
    /// Its engine's; `nil`: it is no volunteer at the moment.
    var lock: UnsafePointer<HoldState>?

    mutating func seesStuckHold(_ time: Int) -> Bool {
      guard !isUrgent, let lock else { return false }
      return watch.seesStuckHold(of: lock.pointee, at: time)
    }

    var holdGoesOn: Bool {
      guard let lock else { return false }
      return watch.goesOn(lock.pointee)
    }
  }

  // MARK: Who waits

  /// Somebody will sleep for a lock until `wakeUp`: its holder was most probably descheduled.
  package static func fallAsleep() { sleepers.add(1, ordering: .relaxed) }
  package static func wakeUp() { sleepers.subtract(1, ordering: .relaxed) }

  /// Whether anybody sleeps for a lock.
  package static var isAskedFor: Bool { sleepers.load(ordering: .relaxed) != 0 }

  // MARK: Who works

  /// Runs `body`, in which the calling thread stands back where it is asked to, and for the holder of `lock`.
  /// - Parameter lock: valid until `body` has ended.
  package static func volunteering<R>(for lock: UnsafePointer<HoldState>, _ body: () -> R) -> R {
    guard let known = known ?? make() else { return body() }
    known.pointee.lock = lock
    known.pointee.isUrgent = false
    defer { known.pointee.lock = nil }
    return body()
  }

  /// Whether callers wait for what the calling thread does next: then it keeps its processor, and stands back only
  /// where somebody sleeps for a lock.
  package static func setUrgent(_ isUrgent: Bool) { volunteer?.pointee.isUrgent = isUrgent }

  /// Whether the calling thread is a volunteer at the moment.
  package static var isVolunteer: Bool { volunteer != nil }

  /// When the calling thread may stand back again, in nanoseconds of CLOCK_MONOTONIC, or 1 where it never has;
  /// `nil`: it has never been a volunteer.
  package static var next: Int? { known?.pointee.next }

  /// To be called between two pieces of work, with no lock held that callers need: sleeps while anybody sleeps
  /// for a lock, or the engine's has a holder that doesn't get on; a millisecond at most, and half of the time at
  /// most. Every half a millisecond whoever waits for the processor has it first.
  package static func ifAskedFor() {
    guard let volunteer else { return }
    let time = now()
    if isAskedFor || volunteer.pointee.seesStuckHold(time) {
      standBack(volunteer)
    } else if !volunteer.pointee.isUrgent, time - volunteer.pointee.turnBegan >= Bounds.turn {
      sched_yield()
      volunteer.pointee.turnBegan = time
    }
  }

  @inline(never)
  private static func standBack(_ volunteer: UnsafeMutablePointer<Volunteer>) {
    let start = now()
    guard start >= volunteer.pointee.next else { return }
    var end = start
    repeat {
      var nap = timespec(tv_sec: 0, tv_nsec: Bounds.nap)
      nanosleep(&nap, nil)
      end = now()
    } while (isAskedFor || volunteer.pointee.holdGoesOn) && end - start < Bounds.most
    volunteer.pointee.next = end + (end - start)
  }

  private static var volunteer: UnsafeMutablePointer<Volunteer>? {
    guard let known, known.pointee.lock != nil else { return nil }
    return known
  }

  /// The calling thread's, also while it is none.
  private static var known: UnsafeMutablePointer<Volunteer>? {
    pthread_getspecific(key)?.assumingMemoryBound(to: Volunteer.self)
  }

  /// - Returns: `nil` where memory is out: then the thread is no volunteer.
  private static func make() -> UnsafeMutablePointer<Volunteer>? {
    let made = UnsafeMutablePointer<Volunteer>.allocate(capacity: 1)
    made.initialize(to: Volunteer())
    if pthread_setspecific(key, made) == 0 { return made }
    made.deallocate()
    return nil
  }

  /// For `known`, which the system frees at the thread's end.
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let code = pthread_key_create(&key) { $0?.deallocate() }
    precondition(code == 0, "no thread-specific key is left")
    return key
  }()

  private static func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }
}
