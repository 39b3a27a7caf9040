// Intent into facts. Live only: a replay has the facts already.
//
// What makes room comes before what needs it, `expired` before `evicted`, so that INV017 holds
// after each single event. `now` must not be earlier than the last event (see `Timeline`).

/// A value to be set, as it is lent to `decideSet`: the index copies the key, and knows the value by
/// its length and its hash only.
public struct LentValue {
  /// 1 to 1,024 bytes, valid during the call.
  public var key: UnsafeRawBufferPointer
  /// As `CacheState.hash(of:)` gives it.
  public var keyHash: UInt64
  public var coder: UInt8
  public var valueByteCount: UInt32
  /// XXH64 of the encoded value, seed 0.
  public var valueHash: UInt64

  public init(
    key: UnsafeRawBufferPointer, keyHash: UInt64, coder: UInt8, valueByteCount: UInt32,
    valueHash: UInt64
  ) {
    self.key = key
    self.keyHash = keyHash
    self.coder = coder
    self.valueByteCount = valueByteCount
    self.valueHash = valueHash
  }

  var byteCount: UInt64 { UInt64(key.count) + UInt64(valueByteCount) }
}

/// A set that is in force, without what its caller knows: all that its event says besides.
public struct SetFact: Sendable {
  public var sequence: SequenceNumber
  public var at: Timestamp
  public var coder: UInt8
  public var memoryExpiry: Timestamp?
  public var storeExpiry: Timestamp?

  public init(
    sequence: SequenceNumber, at: Timestamp, coder: UInt8, memoryExpiry: Timestamp?,
    storeExpiry: Timestamp?
  ) {
    self.sequence = sequence
    self.at = at
    self.coder = coder
    self.memoryExpiry = memoryExpiry
    self.storeExpiry = storeExpiry
  }
}

/// Why a `set` was refused before anything happened.
public enum SetRefusal: Error, Equatable, Sendable {
  /// Key and value together exceed the limit by bytes of every tier that the cache has.
  case exceedsByteLimit(byteCount: UInt64, byteCountMax: UInt64)
}

extension CacheState {
  /// S042: sets a value. It enters each tier whose limit by bytes it fits.
  ///
  /// The decision's records tell what comes before it. Its own event isn't among them: a record would
  /// hold key and value, retained and released a dozen times on their way.
  ///
  /// Where more must leave than one decision may tell of, it decides a slice of that only: what is decided by
  /// then is a decision of its own, and the set is to be decided again once that is absorbed.
  /// - Parameters:
  ///   - memoryTTL, storeTTL: `nil`: the cache's own.
  /// - Returns: `nil` where it made a slice of the room only; nothing is set then.
  /// - Throws: `SetRefusal` where it fits none; nothing has happened then.
  public mutating func decideSet(
    _ value: LentValue, memoryTTL: Microseconds?, storeTTL: Microseconds?, at now: Timestamp,
    into decision: inout Decision
  ) throws(SetRefusal) -> SetFact? {
    let rules = rulesInForce
    let fits = try tiersThatFit(value.byteCount, rules)
    var old = find(value.key, hash: value.keyHash)
    if let slot = old {
      prefetchNeighbours(slot)
      if !decideExpire(slot, at: now, into: &decision) { old = nil }
    }
    if fits.memory,
      !makeRoom(in: .memory, for: value.byteCount, replacing: old, at: now, into: &decision)
    {
      return nil
    }
    if fits.store,
      !makeRoom(in: .store, for: value.byteCount, replacing: old, at: now, into: &decision)
    {
      return nil
    }
    let fact = SetFact(
      sequence: head.sequence.next, at: now, coder: value.coder,
      memoryExpiry: fits.memory
        ? now.adding(memoryTTL ?? min(rules.memoryTTL, storeTTL ?? rules.memoryTTL)) : nil,
      storeExpiry: fits.store ? now.adding(storeTTL ?? rules.storeTTL) : nil)
    do {
      try apply(fact, value, into: &decision.effects)
    } catch {
      preconditionFailure("our own decision can't be applied: \(error)")
    }
    return fact
  }

  /// S043: invalidates a key. What is past its expiry counts as absent.
  /// - Returns: whether something was there.
  public mutating func decideInvalidate(
    _ key: Bytes, reason: String?, at now: Timestamp, into decision: inout Decision
  ) -> Bool {
    if let slot = find(key), decideExpire(slot, at: now, into: &decision) {
      let subject = LookupSubject.origin(entries[slot].origin)
      emit(
        .invalidated(Invalidated(subject: subject, reason: reason)), at: now, into: &decision)
      return true
    }
    emit(
      .invalidated(Invalidated(subject: .key(key), reason: reason)), at: now, into: &decision)
    return false
  }

  /// Removes every key that starts with `prefix`.
  /// - Parameter spare: an empty index that takes the place of the state's where everything goes, and
  ///   then holds what has gone; `nil`: one is made, and let go of.
  /// - Returns: how many live residencies ended, per tier.
  public mutating func decideClear(
    prefix: Bytes, reason: String?, spare: DetachedIndex? = nil, at now: Timestamp,
    into decision: inout Decision
  ) -> (memory: UInt64, store: UInt64) {
    self.spare = spare
    defer { self.spare = nil }
    let found = toClear(prefix: prefix, at: now)
    let live = found.live
    let cleared = Cleared(
      prefix: prefix, reason: reason, memoryCount: live.memory, storeCount: live.store)
    let sequence = head.sequence.next
    do {
      try apply(cleared, found, sequence, now, into: &decision.effects)
    } catch {
      preconditionFailure("our own decision can't be applied: \(error)")
    }
    decision.records.append(Record(sequence: sequence, at: now, event: .cleared(cleared)))
    return live
  }

  /// Ends the residencies of one entry that are past their expiry.
  /// - Returns: whether the entry is still there.
  @discardableResult
  public mutating func decideExpire(
    _ slot: Slot, at now: Timestamp, into decision: inout Decision
  ) -> Bool {
    let origin = entries[slot].origin
    var left = 0
    for tier in Tier.allCases where entries.isResident(slot, in: tier) {
      if now < entries.expiry(slot, in: tier) {
        left += 1
      } else {
        emit(.expired(origin: origin, tier: tier), at: now, into: &decision)
      }
    }
    return left > 0
  }

  /// A slice of the sweep: ends residencies past their expiry, those that expired first first.
  /// - Returns: how many entries lost something; 0 when nothing is left to sweep.
  public mutating func decideSweep(
    at now: Timestamp, entryCountMax: Int = Bounds.eventsPerSlice, into decision: inout Decision
  ) -> Int {
    var swept = 0
    while swept < entryCountMax, let slot = firstExpired(at: now) {
      decideExpire(slot, at: now, into: &decision)
      swept += 1
    }
    return swept
  }

  /// A store hit enters memory, until the memory TTL or the store's own expiry, whichever is first.
  /// An entry over the memory tier's limit by bytes stays where it is. Room is made in slices, as for a set.
  /// - Precondition: the entry is live in the store and not resident in memory.
  /// - Returns: whether there is more to do, once what is decided is absorbed.
  public mutating func decidePromote(
    _ slot: Slot, at now: Timestamp, into decision: inout Decision
  ) -> Bool {
    let rules = rulesInForce
    let (entry, storeExpiry) = (entries[slot], entries.expiry(slot, in: .store))
    guard entry.byteCount <= rules.memoryLimit.byteCountMax ?? .max else {
      touch(slot)
      return false
    }
    guard makeRoom(in: .memory, for: entry.byteCount, replacing: nil, at: now, into: &decision)
    else { return true }
    let expiry = min(now.adding(rules.memoryTTL), storeExpiry)  // INV016
    emit(.promoted(origin: entry.origin, memoryExpiry: expiry), at: now, into: &decision)
    return false
  }

  /// The value of a resident can't be found: it leaves the tier.
  public mutating func decideLost(
    _ slot: Slot, _ tier: Tier, at now: Timestamp, into decision: inout Decision
  ) {
    emit(.evicted(origin: entries[slot].origin, tier: tier, cause: .lost), at: now, into: &decision)
  }

  /// Records one lookup: for access log `.lookups`.
  public mutating func decideLookedUp(
    _ subject: LookupSubject, _ outcome: LookupOutcome, at now: Timestamp,
    into decision: inout Decision
  ) {
    emit(.lookedUp(subject, outcome), at: now, into: &decision)
  }

  /// A memory hit: the entry is now the most recent one. No event tells it yet.
  @inline(__always)
  public mutating func touch(_ slot: Slot) {
    guard entries.older(than: noSlot) != slot else { return }
    moveToFront(slot)
    recency.markUntold(slot, &entries)
  }

  /// Tells the order of use since the last time, where the access log records it.
  /// - Parameter entryCountMax: of how many entries one event does.
  public mutating func decideTouches(
    at now: Timestamp, entryCountMax: Int = Bounds.originsPerEvent, into decision: inout Decision
  ) {
    guard recency.untold != noSlot else { return }
    guard head.tellsOrder else { return recency.allTold() }
    guard orderIsTold else { return }  // `decideOrder` tells it.
    while recency.untold != noSlot {
      tellOrder(from: recency.untold, entryCountMax: entryCountMax, at: now, into: &decision)
    }
  }

  /// A slice of what must leave before `opened` can be in force.
  /// - Returns: whether there is more to do.
  public mutating func decideShrink(
    to opened: Opened, at now: Timestamp, into decision: inout Decision
  ) -> Bool {
    for tier in Tier.allCases {
      let limit = opened.limit(of: tier) ?? TierLimit(entryCountMax: 0)
      while !limit.holds(
        entryCount: UInt64(residentCount(in: tier)), byteCount: byteCount(in: tier))
      {
        if decision.records.count >= Bounds.eventsPerSlice { return true }
        endOne(in: tier, keeping: nil, at: now, into: &decision)
      }
    }
    return false
  }

  /// Opens the cache with a configuration that the entries fit (see `decideShrink`). Where the order of use
  /// isn't told yet and the access log records it, the first entries' is told; `decideOrder` goes on.
  public mutating func decideOpen(
    _ opened: Opened, at now: Timestamp, entryCountMax: Int = Bounds.originsPerEvent,
    into decision: inout Decision
  ) {
    emit(.opened(opened), at: now, into: &decision)
    if !orderIsTold, opened.accessLog != .off {
      tellOrder(
        from: entries.newer(than: noSlot), entryCountMax: entryCountMax, at: now, into: &decision)
    }
  }

  /// A slice of the order of use that `decideOpen` has begun to tell.
  /// - Returns: whether something was left to tell.
  public mutating func decideOrder(
    at now: Timestamp, entryCountMax: Int = Bounds.originsPerEvent, into decision: inout Decision
  ) -> Bool {
    guard !orderIsTold, recency.untold != noSlot else { return false }
    tellOrder(from: recency.untold, entryCountMax: entryCountMax, at: now, into: &decision)
    return true
  }

  /// Closes the cache cleanly.
  public mutating func decideClose(at now: Timestamp, into decision: inout Decision) {
    decideTouches(at: now, into: &decision)
    emit(.closed(clean: true), at: now, into: &decision)
  }

  /// Tells what a recovery found.
  public mutating func decideRecovered(
    _ recovered: Recovered, at now: Timestamp, into decision: inout Decision
  ) {
    emit(.recovered(recovered), at: now, into: &decision)
  }

  /// Records that the events from `first` on up to the last one, which this state has gone through,
  /// are not in the journal.
  public mutating func decideGap(
    from first: SequenceNumber, at now: Timestamp, into decision: inout Decision
  ) {
    let gap = Gap(first: first, last: head.sequence, cause: .writeFailed)
    emit(.gap(gap), at: now, into: &decision)
  }

  // MARK: Steps

  private var rulesInForce: Rules {
    precondition(!head.isClosed, "a decision before the cache was opened, or after it was closed")
    return rules
  }

  private func tiersThatFit(
    _ byteCount: UInt64, _ rules: Rules
  ) throws(SetRefusal) -> (memory: Bool, store: Bool) {
    let memory = byteCount <= rules.memoryLimit.byteCountMax ?? .max
    let store = rules.storeLimit.map { byteCount <= $0.byteCountMax ?? .max } ?? false
    guard memory || store else {
      let most = max(rules.memoryLimit.byteCountMax ?? 0, rules.storeLimit?.byteCountMax ?? 0)
      throw .exceedsByteLimit(byteCount: byteCount, byteCountMax: most)
    }
    return (memory, store)
  }

  private func firstExpired(at now: Timestamp) -> Slot? {
    if let slot = expiries.memory.first(entries), entries.expiry(slot, in: .memory) <= now {
      return slot
    }
    if let slot = expiries.store.first(entries), entries.expiry(slot, in: .store) <= now {
      return slot
    }
    return nil
  }

  /// - Returns: `false` where the decision is as long as a slice, and there is no room yet.
  private mutating func makeRoom(
    in tier: Tier, for byteCount: UInt64, replacing old: Slot?, at now: Timestamp,
    into decision: inout Decision
  ) -> Bool {
    guard let limit = rules.limit(of: tier) else { return true }
    while true {
      let replaced = old.flatMap { entries.isResident($0, in: tier) ? entries[$0].byteCount : nil }
      let count = UInt64(residentCount(in: tier)) + (replaced == nil ? 1 : 0)
      let bytes = self.byteCount(in: tier) - (replaced ?? 0) + byteCount
      if limit.holds(entryCount: count, byteCount: bytes) { return true }
      if decision.records.count >= Bounds.eventsPerSlice { return false }
      endOne(in: tier, keeping: old, at: now, into: &decision)
    }
  }

  /// Ends one residency to make room: one past its expiry, else the least recent one.
  private mutating func endOne(
    in tier: Tier, keeping old: Slot?, at now: Timestamp, into decision: inout Decision
  ) {
    let soonest = tier == .memory ? expiries.memory.first(entries) : expiries.store.first(entries)
    if let soonest, entries.expiry(soonest, in: tier) <= now {
      return emit(
        .expired(origin: entries[soonest].origin, tier: tier), at: now, into: &decision)
    }
    // The entry about to be replaced is about to be the most recent one: it is no victim. Only where
    // it would be one does the journal have to tell.
    if let old, recency.leastRecent(in: tier) == old { touch(old) }
    decideTouches(at: now, into: &decision)
    guard let victim = recency.leastRecent(in: tier), victim != old else {
      preconditionFailure("INV017: the \(tier) tier is over its limit, and nothing can leave")
    }
    emit(
      .evicted(origin: entries[victim].origin, tier: tier, cause: .limit), at: now,
      into: &decision)
  }

  private mutating func tellOrder(
    from oldest: Slot, entryCountMax: Int, at now: Timestamp, into decision: inout Decision
  ) {
    var origins: [SequenceNumber] = []
    swap(&origins, &decision.origins)
    origins.removeAll(keepingCapacity: true)
    origins.reserveCapacity(recency.untoldCount)
    var slot = oldest
    while slot != noSlot, origins.count < entryCountMax {
      origins.append(entries[slot].origin)
      slot = entries.newer(than: slot)
    }
    let record = Record(sequence: head.sequence.next, at: now, event: .touched(origins))
    do {
      try apply(toldCount: origins.count, before: slot, record.sequence, now)
    } catch {
      preconditionFailure("our own decision can't be applied: \(error)")
    }
    decision.records.append(record)
  }

  private mutating func emit(
    _ event: consuming Event, at now: Timestamp, into decision: inout Decision
  ) {
    let record = Record(sequence: head.sequence.next, at: now, event: event)
    do {
      try apply(record, into: &decision.effects)
    } catch {
      preconditionFailure("our own decision can't be applied: \(error)")
    }
    decision.records.append(record)
  }
}
