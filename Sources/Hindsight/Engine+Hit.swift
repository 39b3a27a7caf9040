import HindsightCore

// The memory hit (S041): what nearly every call comes to, and so written apart from the other
// reads. It takes the lock, finds the entry, notes the hit, and has the caller copy the value out
// of its object before unlocking: a copy retains what the value refers to, runs no code of the
// caller's and releases nothing. A box itself is not retained, which would be a second atomic
// operation on a line that all threads share.

extension Engine {
  /// Calls `body` with the object of `key`, if memory holds it decoded and it is not past its expiry.
  /// `body` copies the value out of it, and does nothing else.
  @inlinable
  @inline(__always)
  func withHit<R>(_ key: CacheKey, _ body: (AnyObject) -> R) -> R? {
    guard let object = beginHit(key) else { return nil }
    defer { endHit() }
    return object._withUnsafeGuaranteedRef { body($0) }
  }

  /// The object of `key`, with the lock held until `endHit`; `nil` without it.
  @usableFromInline
  func beginHit(_ key: CacheKey) -> Unmanaged<AnyObject>? {
    let tick = systemClock?.tick()
    let reading = tick == nil ? clock.coarseReading() : nil
    let hash = key.hash
    let state = state.lock()
    let object = key.withBytes { state.pointee.hit($0, hash, tick, reading, systemClock) }
    if object == nil { self.state.unlock() }
    return object
  }

  @usableFromInline
  func endHit() { state.unlock() }
}

/// The time as of the last tick of the coarse clock, so that a hit reads one clock instead of two.
struct TickedTime {
  fileprivate var tick = Int64.min
  fileprivate var now = Timestamp.zero
}

extension EngineState {
  /// A hit, noted; `nil` where the lookup needs more than this.
  @inline(__always)
  fileprivate mutating func hit(
    _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ tick: Int64?, _ reading: ClockReading?,
    _ clock: SystemClock?
  ) -> Unmanaged<AnyObject>? {
    guard phase == .open, opened.accessLog != .lookups else { return nil }
    let now = coarseNow(tick, reading, clock)
    guard let (slot, word) = core.findMemoryResident(key, hash: hash, at: now),
      let object = ValueWord(rawValue: word).decoded
    else { return nil }
    if hits.isFull {
      settleHits()
      // The slower way of a lookup tells it.
      if core.hasManyUntoldTouches, canTell { return nil }
    }
    hits.append(slot)
    return object
  }

  /// The time of a hit, never less than the last event's (see there). A step of the wall clock is
  /// seen at the next tick, some milliseconds later.
  private mutating func coarseNow(
    _ tick: Int64?, _ reading: ClockReading?, _ clock: SystemClock?
  ) -> Timestamp {
    guard let tick, let clock else { return timeline.now(reading!, last: .zero) }
    if ticked.tick != tick {
      ticked = TickedTime(tick: tick, now: timeline.now(clock.coarseReading(), last: .zero))
    }
    return ticked.now
  }

  /// Moves the entries that were hit to the front of the list, in order.
  mutating func settleHits() {
    guard hits.count > 0 || hits.isFull else { return }
    counters.hits.memory += hits.count
    hits.settle(&core)
  }
}
