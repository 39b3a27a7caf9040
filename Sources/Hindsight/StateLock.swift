import HindsightThreads
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The engine's lock: a word of its own, spun for with growing pauses, slept for after that.
///
/// What it guards is held for some 20 ns at a time, by threads that come back at once. There the
/// hand-over is what costs, not the wait: a cache line that changes cores at every hit takes longer
/// than the hit. So who finds the lock taken leaves the line alone for a while (about a
/// microsecond, then more), in which the holder serves dozens of hits from its own cache, and the
/// two take turns in runs instead of single steps. Fairness is by chance only, which is what makes
/// the runs; a waiter's pauses are short beside everything else that a caller may wait for.
///
/// Beyond some eighty microseconds the holder isn't serving hits: somebody sets one value after the
/// other, say, and holds the lock most of the time. Who waits then says so, and looks every fraction
/// of a microsecond; who comes back for the lock lets those go first that wait for so long. Without
/// that a waiter finds the lock free by chance only, which took a millisecond once in a thousand times.
///
/// Where that doesn't help, the holder was descheduled. Then the waiter sleeps in naps between its
/// attempts, so that nobody burns a core that the holder needs, and has background work stand back. Waking a sleeper by a signal costs
/// as much as a nap lasts, and would put a second atomic operation on every unlock.
///
/// Threads that only hit need not exclude each other. A holder that has seen nothing but hits for a
/// while *shares* the lock: from then on a hit takes a *lane*, a flag in a cache line that few
/// threads use, and no line changes cores. Whoever takes the lock ends the sharing and waits until all
/// lanes are left, as the biased lock BRAVO does (Dice and Kogan, USENIX ATC 2019).
///
/// Proof of Sendable: the memory behind the pointer belongs to this value alone, from `init` to
/// `deinit`; `guarded` is touched by the holder of `isHeld` only, and an acquiring exchange that
/// follows a releasing store makes what one holder did visible to the next. Who is in a lane only
/// reads it: see `enter`, and `endSharing` for the other half.
struct StateLock<State: ~Copyable & Sendable>: ~Copyable, Sendable {
  /// All of it lies in one piece, so that this value is passed in a register: its parts are where the address says.
  nonisolated(unsafe) private let memory: UnsafeMutableRawPointer
  private let laneKey = Lane.key

  /// In one cache line.
  private struct Word: ~Copyable {
    /// First, for `hold`.
    let hold = HoldState()
    /// How many have waited for long, and are looking.
    let impatient = Atomic<Int>(0)
    /// Whether somebody has waited since the holder last asked.
    let isContended = Atomic<Bool>(false)
  }

  @inline(__always)
  private var word: UnsafeMutablePointer<Word> { memory.assumingMemoryBound(to: Word.self) }

  /// Whether the lock is shared; its holder's to change. In a line of its own, which seldom changes.
  @inline(__always)
  private var isShared: UnsafeMutablePointer<Atomic<Bool>> {
    (memory + StateLockBounds.lineByteCount).assumingMemoryBound(to: Atomic<Bool>.self)
  }

  /// Whether somebody is in the lane; one in a line.
  @inline(__always)
  private func isTaken(_ lane: UInt8) -> UnsafeMutablePointer<Atomic<Bool>> {
    (memory + StateLockBounds.lineByteCount * (2 + Int(lane)))
      .assumingMemoryBound(to: Atomic<Bool>.self)
  }

  @inline(__always)
  private var guarded: UnsafeMutablePointer<State> {
    (memory + Self.guardedOffset).assumingMemoryBound(to: State.self)
  }

  @inline(__always)
  private static var guardedOffset: Int { StateLockBounds.lineByteCount * (2 + Int(Lane.count)) }

  init(_ state: consuming State) {
    let line = StateLockBounds.lineByteCount
    precondition(MemoryLayout<Word>.size <= line && MemoryLayout<State>.alignment <= line)
    // Up to the end of a line: no part shares one with anything, nor the pair that prefetchers load.
    let byteCount = Self.guardedOffset + (MemoryLayout<State>.size + line - 1) / line * line
    memory = .allocate(byteCount: byteCount, alignment: line)
    memory.bindMemory(to: Word.self, capacity: 1).initialize(to: Word())
    for at in 1..<2 + Int(Lane.count) {
      (memory + line * at).bindMemory(to: Atomic<Bool>.self, capacity: 1)
        .initialize(to: Atomic(false))
    }
    (memory + Self.guardedOffset).bindMemory(to: State.self, capacity: 1).initialize(to: state)
  }

  deinit {
    guarded.deinitialize(count: 1)
    for lane in 0..<Lane.count { isTaken(lane).deinitialize(count: 1) }
    isShared.deinitialize(count: 1)
    word.deinitialize(count: 1)
    memory.deallocate()
  }

  /// Runs `body` with the lock held. It must not take the lock again.
  @inline(__always)
  func withLock<R: ~Copyable, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
    let state = lock()
    defer { unlock() }
    return try body(&state.pointee)
  }

  /// Takes the lock, for a section that can't be a closure. `unlock` must follow on every way out,
  /// and the pointer is not used after it.
  @inline(__always)
  func lock() -> UnsafeMutablePointer<State> {
    if word.pointee.impatient.load(ordering: .relaxed) != 0 {
      lockAfterOthers()
    } else if word.pointee.hold.isHeld.exchange(true, ordering: .acquiring) {
      lockSlowly()
    }
    if isShared.pointee.load(ordering: .relaxed) { endSharing() }
    return guarded
  }

  @inline(__always)
  func unlock() { word.pointee.hold.release() }

  /// What others may see of the holder, as long as this lock exists.
  var hold: UnsafePointer<HoldState> {
    UnsafeRawPointer(word).assumingMemoryBound(to: HoldState.self)
  }

  // MARK: Sharing

  /// As `lock`, for who would rather take a lane; `nil` as soon as the lock is shared.
  @inline(__always)
  func lockUnlessShared() -> UnsafeMutablePointer<State>? {
    if word.pointee.impatient.load(ordering: .relaxed) != 0 {
      lockAfterOthers()
    } else if word.pointee.hold.isHeld.exchange(true, ordering: .acquiring),
      !lockSlowly(unlessShared: true)
    {
      return nil
    }
    guard isShared.pointee.load(ordering: .relaxed) else { return guarded }
    unlock()
    return nil
  }

  /// Whether anybody has waited for the lock since its holder last forgot that.
  var isContended: Bool { word.pointee.isContended.load(ordering: .relaxed) }

  func forgetContention() {
    if isContended { word.pointee.isContended.store(false, ordering: .relaxed) }
  }

  /// The calling thread's lane.
  @inline(__always)
  var lane: Lane { Lane.current(laneKey) }

  /// Lets in who comes by a lane, until somebody takes the lock. For the holder, who must have done with
  /// the state and unlocks next.
  func share() { isShared.pointee.store(true, ordering: .releasing) }

  /// Whether the lock is shared at the moment.
  @inline(__always)
  var isSharedNow: Bool { isShared.pointee.load(ordering: .relaxed) }

  /// Takes a lane: the state, beside whoever is in another lane. Nobody changes it until `leave`, but
  /// for what belongs to a lane, which is the caller's for so long. `nil`: the lock isn't shared, or the
  /// lane is taken and stays so.
  @inline(__always)
  func enter(_ lane: Lane) -> UnsafePointer<State>? {
    let isTaken = isTaken(lane.number)
    if isTaken.pointee.exchange(true, ordering: .sequentiallyConsistent) {
      guard enterSlowly(isTaken) else { return nil }
    }
    // Either this sees that the sharing has ended, or who ends it sees the lane taken.
    if isShared.pointee.load(ordering: .sequentiallyConsistent) { return UnsafePointer(guarded) }
    isTaken.pointee.store(false, ordering: .releasing)
    return nil
  }

  @inline(__always)
  func leave(_ lane: Lane) {
    isTaken(lane.number).pointee.store(false, ordering: .releasing)
  }

  @inline(never)
  private func enterSlowly(_ isTaken: UnsafeMutablePointer<Atomic<Bool>>) -> Bool {
    for _ in 0..<StateLockBounds.lanePauseCount where isSharedNow {
      spin(StateLockBounds.impatientPause)
      if !isTaken.pointee.load(ordering: .relaxed),
        !isTaken.pointee.exchange(true, ordering: .sequentiallyConsistent)
      {
        return true
      }
    }
    return false
  }

  @inline(never)
  private func endSharing() {
    isShared.pointee.store(false, ordering: .sequentiallyConsistent)
    for lane in 0..<Lane.count {
      var looks = 0
      while isTaken(lane).pointee.load(ordering: .sequentiallyConsistent) {
        looks += 1
        // Who is in a lane copies one value; if it takes longer, its thread was descheduled.
        guard looks < StateLockBounds.impatientPauseCount else {
          sleepUntilLeft(lane)
          break
        }
        spin(StateLockBounds.impatientPause)
      }
    }
  }

  private func sleepUntilLeft(_ lane: UInt8) {
    StandingBack.fallAsleep()
    defer { StandingBack.wakeUp() }
    var naps = 0
    while isTaken(lane).pointee.load(ordering: .sequentiallyConsistent) {
      nap(naps)
      naps += 1
    }
  }

  // MARK: Waiting

  private func take() -> Bool {
    !word.pointee.hold.isHeld.load(ordering: .relaxed)
      && !word.pointee.hold.isHeld.exchange(true, ordering: .acquiring)
  }

  /// Lets those go first that have waited for long. Not for ever: their thread may have been
  /// descheduled.
  @inline(never)
  private func lockAfterOthers() {
    for _ in 0..<StateLockBounds.politePauseCount
    where word.pointee.impatient.load(ordering: .relaxed) != 0 {
      spin(StateLockBounds.impatientPause)
    }
    if word.pointee.hold.isHeld.exchange(true, ordering: .acquiring) { lockSlowly() }
  }

  /// - Returns: whether the lock was taken; false only with `unlessShared`, where it is shared now.
  @inline(never)
  @discardableResult
  private func lockSlowly(unlessShared: Bool = false) -> Bool {
    word.pointee.isContended.store(true, ordering: .relaxed)
    var pause = StateLockBounds.pauseMin
    let givesWay = StandingBack.isVolunteer
    for _ in 0..<StateLockBounds.pauseCount {
      if givesWay, pause >= StateLockBounds.pauseBeforeYield { sched_yield() }
      spin(pause)
      if unlessShared, isSharedNow { return false }
      if take() { return true }
      pause = min(pause + pause / 2, StateLockBounds.pauseMax)
    }
    var naps = 0
    StandingBack.fallAsleep()
    defer { StandingBack.wakeUp() }
    while !takeImpatiently() {
      nap(naps)
      naps += 1
      if unlessShared, isSharedNow { return false }
      if take() { return true }
    }
    return true
  }

  /// Looks often for a while, while others hold back.
  @inline(never)
  private func takeImpatiently() -> Bool {
    word.pointee.impatient.add(1, ordering: .relaxed)
    defer { word.pointee.impatient.subtract(1, ordering: .relaxed) }
    for _ in 0..<StateLockBounds.impatientPauseCount {
      if take() { return true }
      spin(StateLockBounds.impatientPause)
    }
    return false
  }

  /// Keeps busy without touching shared memory, for so many nanoseconds. Reading the clock stalls
  /// the core for most of it, which leaves a hyperthread beside it its share.
  private func spin(_ nanoseconds: Int) {
    let end = Self.nanoseconds + nanoseconds
    while Self.nanoseconds < end {}
  }

  private static var nanoseconds: Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// Sleeps: the first times as short as the system can, then a millisecond.
  private func nap(_ naps: Int) {
    var time = timespec(
      tv_sec: 0, tv_nsec: naps < StateLockBounds.shortNapCount ? 1_000 : 1_000_000)
    nanosleep(&time, nil)
  }
}

/// Which of the lanes of a shared lock a thread takes: always the same one, so that its hits keep their
/// order. Threads are given the lanes in turn; two share one only where there are more of them.
@usableFromInline
struct Lane: Sendable {
  static let count: UInt8 = 16

  /// 0 to 15.
  let number: UInt8

  /// The calling thread's, which `key` remembers.
  @inline(__always)
  static func current(_ key: pthread_key_t) -> Lane {
    guard let own = pthread_getspecific(key) else { return give(key) }
    return Lane(number: UInt8(truncatingIfNeeded: Int(bitPattern: own)) &- 1)
  }

  private static func give(_ key: pthread_key_t) -> Lane {
    let turn = given.wrappingAdd(1, ordering: .relaxed).oldValue
    let number = UInt8(truncatingIfNeeded: turn) % count
    // The value is no address, and 0 stands for none.
    guard pthread_setspecific(key, UnsafeMutableRawPointer(bitPattern: Int(number) + 1)) == 0 else {
      return Lane(number: 0)  // out of memory: one for all that can't be told apart
    }
    return Lane(number: number)
  }

  private static let given = Atomic<Int>(0)

  fileprivate static let key: pthread_key_t = {
    var key = pthread_key_t()
    let code = pthread_key_create(&key, nil)
    precondition(code == 0, "no thread-specific key is left")
    return key
  }()
}

private enum StateLockBounds {
  /// A cache line, and the one beside it that prefetchers load with it.
  static let lineByteCount = 128
  /// Nanoseconds of a spinning wait: the first one, and the longest.
  static let pauseMin = 1_000
  static let pauseMax = 8_000
  /// 80 microseconds in all: two threads that do nothing but hit seldom wait for so long.
  static let pauseCount = 14
  /// Background work gives up the processor before pauses of so many, that is after 5 microseconds: a holder that
  /// runs has mostly unlocked by then.
  static let pauseBeforeYield = 3_000
  static let shortNapCount = 100
  /// Nanoseconds between two looks of who has waited for long, and how many looks there are before a
  /// nap: 20 microseconds, longer than nearly all that is done with the lock held.
  static let impatientPause = 200
  static let impatientPauseCount = 100
  /// How many such pauses who comes back waits.
  static let politePauseCount = 6
  /// How often who finds its lane taken looks again.
  static let lanePauseCount = 8
}
