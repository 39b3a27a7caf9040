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
/// Beyond some twenty microseconds the holder isn't serving hits: it was descheduled, or does
/// something longer. Then the waiter sleeps in naps, so that nobody burns a core that the holder
/// needs. Waking a sleeper by a signal costs as much as a nap lasts, and would put a second atomic
/// operation on every unlock.
struct StateLock<State: ~Copyable & Sendable>: ~Copyable, @unchecked Sendable {
  // Proof of Sendable: the memory behind both pointers belongs to this value alone, from `init` to
  // `deinit`; `guarded` is touched by the holder of `isHeld` only, and an acquiring exchange that
  // follows a releasing store makes what one holder did visible to the next.
  private let isHeld: UnsafeMutablePointer<Atomic<Bool>>
  private let guarded: UnsafeMutablePointer<State>

  init(_ state: consuming State) {
    isHeld = Self.allocate()
    guarded = Self.allocate()
    isHeld.initialize(to: Atomic(false))
    guarded.initialize(to: state)
  }

  deinit {
    guarded.deinitialize(count: 1)
    isHeld.deinitialize(count: 1)
    guarded.deallocate()
    isHeld.deallocate()
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
    if isHeld.pointee.exchange(true, ordering: .acquiring) { lockSlowly() }
    return guarded
  }

  @inline(__always)
  func unlock() { isHeld.pointee.store(false, ordering: .releasing) }

  @inline(never)
  private func lockSlowly() {
    var pause = StateLockBounds.pauseMin
    var naps = 0
    while true {
      if pause <= StateLockBounds.pauseMax {
        spin(pause)
        pause += pause / 2
      } else {
        nap(naps)
        naps += 1
      }
      if !isHeld.pointee.load(ordering: .relaxed),
        !isHeld.pointee.exchange(true, ordering: .acquiring)
      {
        return
      }
    }
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
  static let shortNapCount = 100
}
