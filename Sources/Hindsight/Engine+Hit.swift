import HindsightCore

// The memory hit (S041): what nearly every call comes to, and so written apart from the other
// reads. It takes the lock, finds the entry, notes the hit, and has the caller copy the value out
// of its object before unlocking: a copy retains what the value refers to, runs no code of the
// caller's and releases nothing. A box itself is not retained, which would be a second atomic
// operation on a line that all threads share.
//
// Where threads get in each other's way with nothing but hits, the lock is shared, and hits take lanes
// beside each other. That they do only by the system's clock: by any other, every hit asks what time it is.

extension Engine {
  /// Calls `body` with the object of `key`, if memory holds it decoded and it is not past its expiry.
  /// `body` copies the value out of it, and does nothing else.
  @inlinable
  @inline(__always)
  func withHit<R>(_ key: CacheKey, _ body: (AnyObject) -> R) -> R? {
    guard let held = beginHit(key) else { return nil }
    defer { endHit(held.hold) }
    return held.object._withUnsafeGuaranteedRef { body($0) }
  }

  /// The object of `key`, which stays until `endHit`; `nil` without that.
  @usableFromInline
  func beginHit(_ key: CacheKey) -> HeldHit? {
    let hash = key.hash
    guard let tick = systemClock?.tick() else {
      let reading = clock.coarseReading()
      return key.withBytes { endOnMiss(state.lock().pointee.hit($0, hash, nil, reading, nil)) }
    }
    while true {
      guard state.isSharedNow else {
        guard let state = state.lockUnlessShared() else { continue }
        return key.withBytes { hit($0, hash, tick, state) }
      }
      let lane = state.lane
      if let shared = state.enter(lane) {
        switch key.withBytes({ shared.pointee.hit($0, hash, tick, lane) }) {
        case .hit(let object): return HeldHit(object: object, hold: .lane(lane))
        case .absent:
          state.leave(lane)
          return nil
        case .needsLock: state.leave(lane)
        }
      } else if !state.isSharedNow {
        continue
      }
      return key.withBytes { hit($0, hash, tick, state.lock()) }
    }
  }

  /// A hit with the lock held. Where it is one of many in a row, and others wait, the lock is shared after it.
  private func hit(
    _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ tick: Int64,
    _ state: UnsafeMutablePointer<EngineState>
  ) -> HeldHit? {
    if state.pointee.hits.streak == 0 { self.state.forgetContention() }
    guard let held = endOnMiss(state.pointee.hit(key, hash, tick, nil, systemClock)) else {
      return nil
    }
    guard state.pointee.hits.isLongStreak, self.state.isContended else { return held }
    state.pointee.hits.share(self.state.lane)
    return HeldHit(object: held.object, hold: .lockToShare)
  }

  private func endOnMiss(_ object: Unmanaged<AnyObject>?) -> HeldHit? {
    guard let object else {
      state.unlock()
      return nil
    }
    return HeldHit(object: object, hold: .lock)
  }

  @usableFromInline
  func endHit(_ hold: HitHold) {
    switch hold {
    case .lane(let lane): return state.leave(lane)
    case .lockToShare: state.share()
    case .lock: break
    }
    state.unlock()
  }
}

/// A memory hit, whose object stays until it is ended.
@usableFromInline
struct HeldHit {
  @usableFromInline let object: Unmanaged<AnyObject>
  @usableFromInline let hold: HitHold
}

/// What keeps a hit's object from going away.
@usableFromInline
enum HitHold {
  case lane(Lane)
  case lock
  /// The lock, which is shared from then on.
  case lockToShare
}

/// What a lookup in a shared state comes to.
private enum SharedHit {
  case hit(Unmanaged<AnyObject>)
  /// The lookup needs more than a memory hit does.
  case absent
  /// It may be a hit, and can't be noted or timed without the lock.
  case needsLock
}

/// The time as of the last tick of the coarse clock, so that a hit reads one clock instead of two.
struct TickedTime {
  fileprivate(set) var tick = Int64.min
  fileprivate var now = Timestamp.zero
}

extension EngineState {
  /// A hit, noted in the lane's log; nothing else changes.
  @inline(__always)
  fileprivate borrowing func hit(
    _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ tick: Int64, _ lane: Lane
  ) -> SharedHit {
    guard phase == .open, opened.accessLog != .lookups else { return .absent }
    guard ticked.tick >= tick else { return .needsLock }
    guard let (slot, word) = core.findMemoryResident(key, hash: hash, at: ticked.now),
      let object = ValueWord(rawValue: word).decoded
    else { return .absent }
    guard hits.note(slot, lane) else { return .needsLock }
    if hits.isShort { core.prefetchLinks(slot) }
    return .hit(object)
  }

  /// A hit, noted; `nil` where the lookup needs more than this.
  @inline(__always)
  fileprivate mutating func hit(
    _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ tick: Int64?, _ reading: ClockReading?,
    _ clock: SystemClock?
  ) -> Unmanaged<AnyObject>? {
    // What came by the lanes was before it.
    if hits.isShared { settleHits() }
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
    if hits.isShort { core.prefetchLinks(slot) }
    return object
  }

  /// The time of a hit, never less than the last event's (`Timeline`). A step of the wall clock is
  /// seen at the next tick, some milliseconds later.
  private mutating func coarseNow(
    _ tick: Int64?, _ reading: ClockReading?, _ clock: SystemClock?
  ) -> Timestamp {
    guard let tick, let clock else { return timeline.now(reading!, last: .zero) }
    if ticked.tick < tick {
      ticked = TickedTime(tick: tick, now: timeline.now(clock.coarseReading(), last: .zero))
    }
    return ticked.now
  }

  /// Moves the entries that were hit to the front of the list, in order.
  mutating func settleHits() {
    guard !hits.isEmpty || hits.isFull else {
      if hits.isOutgrown(core) { hits.setLimits(core) }
      return
    }
    counters.hits.memory += hits.settle(&core)
  }
}
