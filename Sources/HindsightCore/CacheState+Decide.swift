// Intent into facts (DESIGN §2). Live only: a replay has the facts already.
//
// What makes room comes before what needs it, `expired` before `evicted`, so that INV017 holds
// after each single event. `now` must not be earlier than the last event (see `Timeline`).

/// What `decideSet` is asked to do.
public struct SetCommand: Sendable {
  public var key: Bytes
  /// As `CacheState.hash(of:)` gives it; `nil`: to be computed.
  public var keyHash: UInt64?
  public var value: Bytes
  public var coder: UInt8
  /// `nil`: the cache's own TTL for that tier.
  public var memoryTTL: Microseconds?
  public var storeTTL: Microseconds?
  public var reason: String?

  public init(
    key: Bytes, keyHash: UInt64? = nil, value: Bytes, coder: UInt8, memoryTTL: Microseconds?,
    storeTTL: Microseconds?, reason: String?
  ) {
    self.key = key
    self.keyHash = keyHash
    self.value = value
    self.coder = coder
    self.memoryTTL = memoryTTL
    self.storeTTL = storeTTL
    self.reason = reason
  }

  var byteCount: UInt64 { UInt64(key.count) + UInt64(value.count) }
}

/// Why a `set` was refused before anything happened.
public enum SetRefusal: Error, Equatable, Sendable {
  /// Key and value together exceed the limit by bytes of every tier that the cache has.
  case exceedsByteLimit(byteCount: UInt64, byteCountMax: UInt64)
}

extension CacheState {
  /// S042: sets a value. It enters each tier whose limit by bytes it fits.
  /// - Throws: `SetRefusal` where it fits none; nothing has happened then.
  public mutating func decideSet(
    _ command: SetCommand, at now: Timestamp, into decision: inout Decision
  ) throws(SetRefusal) {
    let rules = rulesInForce
    let fits = try tiersThatFit(command.byteCount, rules)
    let hash = command.keyHash ?? command.key.withUnsafeBytes { self.hash(of: $0) }
    var old = command.key.withUnsafeBytes { find($0, hash: hash) }
    if let slot = old, !decideExpire(slot, at: now, into: &decision) { old = nil }
    if fits.memory {
      makeRoom(in: .memory, for: command.byteCount, replacing: old, at: now, into: &decision)
    }
    if fits.store {
      makeRoom(in: .store, for: command.byteCount, replacing: old, at: now, into: &decision)
    }
    let event = ValueSet(
      key: command.key, value: command.value, coder: command.coder,
      memoryExpiry: fits.memory ? now.adding(command.memoryTTL ?? rules.memoryTTL) : nil,
      storeExpiry: fits.store ? now.adding(command.storeTTL ?? rules.storeTTL) : nil,
      reason: command.reason)
    emit(.set(event), keyHash: hash, at: now, into: &decision)
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
  /// - Returns: how many live residencies ended, per tier.
  public mutating func decideClear(
    prefix: Bytes, reason: String?, at now: Timestamp, into decision: inout Decision
  ) -> (memory: UInt64, store: UInt64) {
    let live = matching(prefix: prefix, at: now).live
    let cleared = Cleared(
      prefix: prefix, reason: reason, memoryCount: live.memory, storeCount: live.store)
    emit(.cleared(cleared), at: now, into: &decision)
    return live
  }

  /// Ends the residencies of one entry that are past their expiry.
  /// - Returns: whether the entry is still there.
  @discardableResult
  public mutating func decideExpire(
    _ slot: Slot, at now: Timestamp, into decision: inout Decision
  ) -> Bool {
    let entry = entries[slot]
    var left = 0
    for tier in Tier.allCases where entry.isResident(in: tier) {
      if now < entry.expiry(in: tier) {
        left += 1
      } else {
        emit(.expired(origin: entry.origin, tier: tier), at: now, into: &decision)
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
  /// An entry over the memory tier's limit by bytes stays where it is.
  /// - Precondition: the entry is live in the store and not resident in memory.
  public mutating func decidePromote(
    _ slot: Slot, at now: Timestamp, into decision: inout Decision
  ) {
    let rules = rulesInForce
    let entry = entries[slot]
    guard entry.byteCount <= rules.memoryLimit.byteCountMax ?? .max else {
      return touch(slot)
    }
    makeRoom(in: .memory, for: entry.byteCount, replacing: nil, at: now, into: &decision)
    let expiry = min(now.adding(rules.memoryTTL), entry.storeExpiry)  // INV016
    emit(.promoted(origin: entry.origin, memoryExpiry: expiry), at: now, into: &decision)
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
    guard entries[noSlot].older != slot else { return }
    moveToFront(slot)
    recency.markUntold(slot, &entries)
  }

  /// Tells the order of use since the last time, where the access log records it.
  public mutating func decideTouches(at now: Timestamp, into decision: inout Decision) {
    guard recency.untold != noSlot else { return }
    guard head.opened?.accessLog != .off else { return recency.allTold() }
    tellOrder(from: recency.untold, at: now, into: &decision)
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

  /// Opens the cache with a configuration that the entries fit (see `decideShrink`).
  public mutating func decideOpen(
    _ opened: Opened, at now: Timestamp, into decision: inout Decision
  ) {
    emit(.opened(opened), at: now, into: &decision)
    if !orderIsTold, opened.accessLog != .off {
      tellOrder(from: entries[noSlot].newer, at: now, into: &decision)
    }
  }

  /// Closes the cache cleanly.
  public mutating func decideClose(at now: Timestamp, into decision: inout Decision) {
    decideTouches(at: now, into: &decision)
    emit(.closed(clean: true), at: now, into: &decision)
  }

  /// Tells what a recovery found, or which numbers the journal lacks.
  public mutating func decideRecovered(
    _ recovered: Recovered, at now: Timestamp, into decision: inout Decision
  ) {
    emit(.recovered(recovered), at: now, into: &decision)
  }

  /// Records that the events from the last one on up to `last` are not in the journal.
  public mutating func decideGap(
    upTo last: SequenceNumber, cause: Gap.Cause, at now: Timestamp, into decision: inout Decision
  ) {
    let gap = Gap(first: head.sequence.next, last: last, cause: cause)
    emit(.gap(gap), sequence: last.next, at: now, into: &decision)
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
    if let slot = heaps.memory.first, entries[slot].memoryExpiry <= now { return slot }
    if let slot = heaps.store.first, entries[slot].storeExpiry <= now { return slot }
    return nil
  }

  private mutating func makeRoom(
    in tier: Tier, for byteCount: UInt64, replacing old: Slot?, at now: Timestamp,
    into decision: inout Decision
  ) {
    guard let limit = rules.limit(of: tier) else { return }
    while true {
      let replaced = old.flatMap { entries[$0].isResident(in: tier) ? entries[$0].byteCount : nil }
      let count = UInt64(residentCount(in: tier)) + (replaced == nil ? 1 : 0)
      let bytes = self.byteCount(in: tier) - (replaced ?? 0) + byteCount
      if limit.holds(entryCount: count, byteCount: bytes) { return }
      endOne(in: tier, keeping: old, at: now, into: &decision)
    }
  }

  /// Ends one residency to make room: one past its expiry, else the least recent one.
  private mutating func endOne(
    in tier: Tier, keeping old: Slot?, at now: Timestamp, into decision: inout Decision
  ) {
    let soonest = tier == .memory ? heaps.memory.first : heaps.store.first
    if let soonest, entries[soonest].expiry(in: tier) <= now {
      return emit(
        .expired(origin: entries[soonest].origin, tier: tier), at: now, into: &decision)
    }
    // The entry about to be replaced is about to be the most recent one: it is no victim.
    if let old { touch(old) }
    decideTouches(at: now, into: &decision)
    guard let victim = recency.leastRecent(in: tier), victim != old else {
      preconditionFailure("INV017: the \(tier) tier is over its limit, and nothing can leave")
    }
    emit(
      .evicted(origin: entries[victim].origin, tier: tier, cause: .limit), at: now,
      into: &decision)
  }

  private mutating func tellOrder(
    from oldest: Slot, at now: Timestamp, into decision: inout Decision
  ) {
    var origins: [SequenceNumber] = []
    var slot = oldest
    while slot != noSlot {
      origins.append(entries[slot].origin)
      slot = entries[slot].newer
    }
    emit(.touched(origins), at: now, into: &decision)
  }

  private mutating func emit(
    _ event: consuming Event, sequence: SequenceNumber? = nil, keyHash: UInt64? = nil,
    at now: Timestamp,
    into decision: inout Decision
  ) {
    let record = Record(sequence: sequence ?? head.sequence.next, at: now, event: event)
    do {
      try apply(record, keyHash: keyHash, into: &decision.effects)
    } catch {
      preconditionFailure("our own decision can't be applied: \(error)")
    }
    decision.records.append(record)
  }
}
