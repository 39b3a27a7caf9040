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
/// attempts, so that nobody burns a core that the holder needs. Waking a sleeper by a signal costs
/// as much as a nap lasts, and would put a second atomic operation on every unlock.
struct StateLock<State: ~Copyable & Sendable>: ~Copyable, @unchecked Sendable {  // is the lock
  // Proof of Sendable: the memory behind both pointers belongs to this value alone, from `init` to
  // `deinit`; `guarded` is touched by the holder of `isHeld` only, and an acquiring exchange that
  // follows a releasing store makes what one holder did visible to the next.
  private let word: UnsafeMutablePointer<Word>
  private let guarded: UnsafeMutablePointer<State>

  /// In one cache line.
  private struct Word: ~Copyable {
    let isHeld = Atomic<Bool>(false)
    /// How many have waited for long, and are looking.
    let impatient = Atomic<Int>(0)
  }

  init(_ state: consuming State) {
    word = Self.allocate()
    guarded = Self.allocate()
    word.initialize(to: Word())
    guarded.initialize(to: state)
  }

  deinit {
    guarded.deinitialize(count: 1)
    word.deinitialize(count: 1)
    guarded.deallocate()
    word.deallocate()
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
    } else if word.pointee.isHeld.exchange(true, ordering: .acquiring) {
      lockSlowly()
    }
    return guarded
  }

  @inline(__always)
  func unlock() { word.pointee.isHeld.store(false, ordering: .releasing) }

  private func take() -> Bool {
    !word.pointee.isHeld.load(ordering: .relaxed)
      && !word.pointee.isHeld.exchange(true, ordering: .acquiring)
  }

  /// Lets those go first that have waited for long. Not for ever: their thread may have been
  /// descheduled.
  @inline(never)
  private func lockAfterOthers() {
    for _ in 0..<StateLockBounds.politePauseCount
    where word.pointee.impatient.load(ordering: .relaxed) != 0 {
      spin(StateLockBounds.impatientPause)
    }
    if word.pointee.isHeld.exchange(true, ordering: .acquiring) { lockSlowly() }
  }

  @inline(never)
  private func lockSlowly() {
    var pause = StateLockBounds.pauseMin
    for _ in 0..<StateLockBounds.pauseCount {
      spin(pause)
      if take() { return }
      pause = min(pause + pause / 2, StateLockBounds.pauseMax)
    }
    var naps = 0
    while !takeImpatiently() {
      nap(naps)
      naps += 1
      if take() { return }
    }
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

  /// Memory that shares no cache line with anything, nor the pair that prefetchers load.
  private static func allocate<T: ~Copyable>() -> UnsafeMutablePointer<T> {
    UnsafeMutableRawPointer.allocate(
      byteCount: max(MemoryLayout<T>.size, 128), alignment: max(MemoryLayout<T>.alignment, 128)
    ).bindMemory(to: T.self, capacity: 1)
  }
}

private enum StateLockBounds {
  /// Nanoseconds of a spinning wait: the first one, and the longest.
  static let pauseMin = 1_000
  static let pauseMax = 8_000
  /// 80 microseconds in all: two threads that do nothing but hit seldom wait for so long.
  static let pauseCount = 14
  static let shortNapCount = 100
  /// Nanoseconds between two looks of who has waited for long, and how many looks there are before a
  /// nap: 20 microseconds, longer than nearly all that is done with the lock held.
  static let impatientPause = 200
  static let impatientPauseCount = 100
  /// How many such pauses who comes back waits.
  static let politePauseCount = 6
}
