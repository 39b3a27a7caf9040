package import Synchronization

/// What others may see of a lock's holder: whether there is one, and whether it is still the same.
package struct HoldState: ~Copyable {
  package let isHeld = Atomic<Bool>(false)
  /// How often the lock has been let go of, modulo 2^32. Changed by the holder only.
  @usableFromInline package let releaseCount = Atomic<UInt32>(0)

  package init() {}

  /// Lets go of the lock; for its holder.
  @inlinable @inline(__always)
  package func release() {
    releaseCount.store(releaseCount.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    isHeld.store(false, ordering: .releasing)
  }

  /// Which hold this is; `nil` where nobody holds the lock.
  package var current: UInt32? {
    // In this order: who sees the hold sees what was counted before it.
    isHeld.load(ordering: .acquiring) ? releaseCount.load(ordering: .relaxed) : nil
  }
}

/// Sees where a lock's holder doesn't get on: it has most probably lost its processor.
package struct HoldWatch {
  private var hold: UInt32?
  /// When that hold was seen first, and when the lock was looked at last.
  private var since = 0
  private var looked = 0

  private enum Bounds {
    /// Nanoseconds between two looks at the lock, whose line its holders want for themselves.
    static let pause = 20_000
    /// Nanoseconds: nearly all that is done with the lock takes less.
    static let holdMax = 40_000
  }

  package init() {}

  /// Looks at the lock, unless it has just been looked at.
  /// - Parameter time: in nanoseconds of a clock that never goes back.
  /// - Returns: whether one hold has been seen for 40 microseconds.
  package mutating func seesStuckHold(of lock: borrowing HoldState, at time: Int) -> Bool {
    guard time - looked >= Bounds.pause else { return false }
    looked = time
    let found = lock.current
    if found != hold {
      hold = found
      since = time
    }
    return found != nil && time - since >= Bounds.holdMax
  }

  /// Whether the hold goes on that was seen last.
  package func goesOn(_ lock: borrowing HoldState) -> Bool { hold != nil && lock.current == hold }
}
