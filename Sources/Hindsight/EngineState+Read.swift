import HindsightCore

// The part of a lookup that runs under the lock.

extension EngineState {
  func find(_ key: CacheKey) -> Slot? {
    key.withBytes { core.find($0, hash: key.hash) }
  }

  /// Whether reads may append to the journal at present. If not, they answer all the same, and
  /// leave the state as it is: a hit never waits for a queue.
  var canRecord: Bool {
    guard phase == .open else { return false }
    guard commit.trouble == nil else { return continuesInMemory }
    return frame.byteCount <= queues.unwrittenByteCountMax && unsyncedExcess == 0
  }

  /// Whether the order of use may be told at present. Where the journal is slow that goes on for a while after
  /// everything else waits: what isn't told grows with every hit, and telling it is a pause in the end.
  var canTell: Bool {
    if canRecord { return true }
    guard phase == .open, commit.trouble == nil else { return false }
    return frame.byteCount + unsyncedExcess
      <= queues.unwrittenByteCountMax + EngineBounds.tellingByteCountMax
  }

  /// By how much what waits for the disk exceeds its queue: flushes may write while a sync is stalled.
  private var unsyncedExcess: Int {
    max(0, Int(commit.unsyncedByteCount) - queues.unsyncedByteCountMax)
  }

  /// Whether the journal's thread must be told that a frame has begun, so that it times its cut; or
  /// without a journal, the projector that there are rows.
  mutating func wantsTimedCut() -> Bool {
    guard hasJournal else { return projection.wantsProjector() }
    guard commit.frameBegan != nil, !commit.isTimed else { return false }
    commit.isTimed = true
    return true
  }

  /// A lookup in memory alone.
  mutating func planMemory(_ key: CacheKey, _ reading: ClockReading) -> ReadStep {
    tellManyTouches(reading)
    let now = now(reading)
    guard phase == .open, let slot = find(key), core.isLive(slot, in: .memory, at: now) else {
      return .answer(.miss(.unknown))
    }
    return memoryStep(slot, now, reading)
  }

  /// A lookup in both tiers, up to where the lock must be left.
  mutating func plan(_ key: CacheKey, _ reading: ClockReading) -> ReadStep {
    tellManyTouches(reading)
    let now = now(reading)
    guard let slot = find(key) else {
      return .answer(miss(key, misses.reason(key.hash), at: now, reading))
    }
    if core.isLive(slot, in: .memory, at: now) { return memoryStep(slot, now, reading) }
    guard core.isLive(slot, in: .store, at: now) else {
      expire(slot, at: now, reading)
      return .answer(miss(key, .expired, at: now, reading))
    }
    guard let bytes = core.payload(slot).bytes else {
      let origin = core.origin(of: slot)
      return .stored(
        StoredValue(
          origin: origin, coder: core.coder(of: slot), hash: core.valueHash(of: slot),
          isInJournal: projection.lacks(origin)))
    }
    return .decode(encoded(bytes, slot))
  }

  /// The rest of a lookup, once the value is decoded. `nil`: the entry changed meanwhile.
  /// - Parameters:
  ///   - inMemory: a look at memory alone, which finds a hit there or nothing.
  ///   - isPromoting: becomes true where a promotion has begun that `promoteFurther` goes on with.
  mutating func finishRead(
    _ key: CacheKey, _ value: EncodedValue, _ decoded: Result<DecodedValue, Undecodable>,
    inMemory: Bool, _ reading: ClockReading, _ isPromoting: inout Bool
  ) -> RawLookup? {
    guard phase == .open, let slot = find(key), core.origin(of: slot) == value.origin else {
      return nil
    }
    let now = now(reading)
    if inMemory, !core.isLive(slot, in: .memory, at: now) { return nil }
    switch decoded {
    case .success(let value): return adopt(value, key, slot, now, reading, &isPromoting)
    case .failure(let error):
      if canRecord {
        _ = core.decideInvalidate(
          key.bytes, reason: error.reason, at: now, into: &decision.pointee)
        absorb(reading)
      }
      return inMemory ? nil : miss(key, .invalidated, at: now, reading)
    }
  }

  /// Whether the key's entry is still the one with that origin, and its value still to be found in the journal
  /// only.
  func isInJournal(_ key: CacheKey, _ origin: SequenceNumber) -> Bool {
    guard let slot = find(key), core.origin(of: slot) == origin else { return false }
    return projection.lacks(origin)
  }

  mutating func contains(_ key: CacheKey, _ reading: ClockReading) -> Bool {
    guard phase == .open, let slot = find(key) else { return false }
    let now = now(reading)
    if core.isLive(slot, in: .memory, at: now) || core.isLive(slot, in: .store, at: now) {
      return true
    }
    expire(slot, at: now, reading)
    return false
  }

  mutating func lose(
    _ key: CacheKey, _ origin: SequenceNumber, _ reading: ClockReading
  ) -> Bool {
    guard canRecord, let slot = find(key), core.origin(of: slot) == origin,
      core.isResident(slot, in: .store), core.payload(slot).bytes == nil
    else { return false }
    core.decideLost(slot, .store, at: now(reading), into: &decision.pointee)
    absorb(reading)
    return true
  }

  // MARK: Steps

  /// Tells the order of use before it has become long: hits and sets could move every entry between
  /// two frames, and telling a million of them takes a quarter of a second.
  mutating func tellManyTouches(_ reading: ClockReading) {
    guard core.hasManyUntoldTouches, canTell else { return }
    core.decideTouches(at: now(reading), into: &decision.pointee)
    absorb(reading)
  }

  private mutating func memoryStep(
    _ slot: Slot, _ now: Timestamp, _ reading: ClockReading
  ) -> ReadStep {
    let payload = core.payload(slot)
    guard let value = payload.decoded else {
      guard let bytes = payload.bytes else {
        preconditionFailure("a memory resident without its value")
      }
      return .decode(encoded(bytes, slot))
    }
    return .answer(memoryHit(value, slot, now, reading))
  }

  private mutating func memoryHit(
    _ value: DecodedValue, _ slot: Slot, _ now: Timestamp, _ reading: ClockReading
  ) -> RawLookup {
    counters.hits.memory += 1
    if opened.accessLog == .lookups {
      record(.origin(core.origin(of: slot)), .memoryHit, at: now, reading)
    } else {
      core.touch(slot)
    }
    return hit(value, .memory, slot, now)
  }

  private mutating func adopt(
    _ value: DecodedValue, _ key: CacheKey, _ slot: Slot, _ now: Timestamp,
    _ reading: ClockReading, _ isPromoting: inout Bool
  ) -> RawLookup {
    if core.isLive(slot, in: .memory, at: now) {
      core.updatePayload(slot) { if $0.decoded == nil { $0.set(value) } }
      return memoryHit(value, slot, now, reading)
    }
    guard core.isLive(slot, in: .store, at: now) else {
      expire(slot, at: now, reading)
      return miss(key, .expired, at: now, reading)
    }
    counters.hits.store += 1
    let answer = hit(value, .store, slot, now)
    // The lookup's own event may fill the frame: its promotion belongs to it all the same.
    let canRecord = canRecord
    if opened.accessLog == .lookups {
      record(.origin(core.origin(of: slot)), .storeHit, at: now, reading)
    }
    if canRecord { isPromoting = promote(slot, value, now, reading) }
    return answer
  }

  /// - Returns: whether a slice of the room was made only.
  private mutating func promote(
    _ slot: Slot, _ value: DecodedValue, _ now: Timestamp, _ reading: ClockReading
  ) -> Bool {
    // Its memory residency, where it has one.
    core.decideExpire(slot, at: now, into: &decision.pointee)
    let isLong = core.decidePromote(slot, at: now, into: &decision.pointee)
    absorb(reading)
    if core.isResident(slot, in: .memory) {
      core.updatePayload(slot) { $0.set(value) }
    }
    return isLong
  }

  /// Goes on with a promotion, others having had the lock meanwhile. Where the entry has changed, or the queue is
  /// full, that was it: a hit doesn't wait.
  /// - Returns: whether there is more to do.
  mutating func promoteFurther(
    _ key: CacheKey, _ value: DecodedValue, _ origin: SequenceNumber, _ reading: ClockReading
  ) -> Bool {
    guard canRecord, let slot = find(key), core.origin(of: slot) == origin else { return false }
    let now = now(reading)
    guard core.isLive(slot, in: .store, at: now), !core.isLive(slot, in: .memory, at: now) else {
      return false
    }
    return promote(slot, value, now, reading)
  }

  private mutating func expire(_ slot: Slot, at now: Timestamp, _ reading: ClockReading) {
    guard canRecord else { return }
    core.decideExpire(slot, at: now, into: &decision.pointee)
    absorb(reading)
  }

  mutating func miss(
    _ key: CacheKey, _ reason: MissReason, at now: Timestamp, _ reading: ClockReading
  ) -> RawLookup {
    counters.misses += 1
    if opened.accessLog == .lookups {
      if find(key) == nil {
        record(.key(key.bytes), .miss, at: now, reading)
      } else {
        // It can't be recorded that the entry is gone.
        counters.lookupsNotLogged += 1
      }
    }
    return .miss(reason)
  }

  private mutating func record(
    _ subject: LookupSubject, _ outcome: LookupOutcome, at now: Timestamp,
    _ reading: ClockReading
  ) {
    guard canRecord else {
      counters.lookupsNotLogged += 1
      if case .origin(let origin) = subject, let slot = core.find(origin: origin) {
        core.touch(slot)
      }
      return
    }
    core.decideLookedUp(subject, outcome, at: now, into: &decision.pointee)
    absorb(reading)
  }

  private func encoded(_ bytes: Bytes, _ slot: Slot) -> EncodedValue {
    EncodedValue(bytes: [UInt8](bytes), coder: core.coder(of: slot), origin: core.origin(of: slot))
  }

  private func hit(
    _ value: DecodedValue, _ tier: Tier, _ slot: Slot, _ now: Timestamp
  ) -> RawLookup {
    .hit(
      RawHit(
        object: value.object, tier: tier, origin: core.origin(of: slot),
        age: now.since(core.setAt(of: slot)),
        expiresIn: core.expiry(of: slot, in: tier).since(now)))
  }
}

/// That a value doesn't decode. What its error says is asked for once, without the lock: the answer is the
/// caller's code.
struct Undecodable: Error {
  /// For the event, cut to what a reason may have.
  let reason: String

  init(_ error: any Error) {
    let text = "the value does not decode: \(error)"
    guard text.utf8.count > Bounds.reasonByteCountMax else {
      reason = text
      return
    }
    let end = text.utf8.index(text.startIndex, offsetBy: Bounds.reasonByteCountMax)
    reason = String(text.unicodeScalars[..<end])
  }
}
