extension CacheState {
  /// Takes one fact into the state.
  ///
  /// Live, in recovery, in the verifier and in every replay this is the same code. On a throw the
  /// state is unspecified and must not be used further.
  /// - Throws: `StateError` where the event can't follow from this state, or breaks INV016 or
  ///   INV017.
  public mutating func apply(_ record: Record, into effects: inout [Effect]) throws(StateError) {
    try order.check(record)
    switch record.event {
    case .opened(let opened): try applyOpened(opened, record.sequence)
    case .closed: head.isClosed = true
    case .set(let value): try applySet(value, record, &effects)
    case .invalidated(let it): try applyInvalidated(it, record.at, &effects)
    case .cleared(let it): try applyCleared(it, record.at, &effects)
    case .expired(let origin, let tier): try applyExpired(origin, tier, record.at, &effects)
    case .evicted(let origin, let tier, let cause):
      try applyEvicted(origin, tier, cause, record.at, &effects)
    case .promoted(let origin, let expiry):
      try applyPromoted(origin, expiry, record.at, &effects)
    case .touched(let touched): try applyTouched(touched)
    case .lookedUp(let subject, let outcome): try applyLookedUp(subject, outcome, record.at)
    case .recovered, .gap: break
    }
    advance(to: record.sequence, record.at)
  }

  /// The same with an empty index that takes the place of the state's where all of it is cleared at once:
  /// what the state had is in it then.
  /// - Throws: as the other one.
  public mutating func apply(
    _ record: Record, spare: DetachedIndex?, into effects: inout [Effect]
  ) throws(StateError) {
    guard let spare else { return try apply(record, into: &effects) }
    self.spare = spare
    defer { self.spare = nil }
    try apply(record, into: &effects)
  }

  /// Takes a set into the state, its key and value lent.
  /// - Throws: as the other one.
  public mutating func apply(
    _ fact: SetFact, _ value: LentValue, into effects: inout [Effect]
  ) throws(StateError) {
    try order.check(fact.sequence, fact.at, needsOpen: true)
    try applySet(fact, value, &effects)
    advance(to: fact.sequence, fact.at)
  }

  /// Takes a clear into the state, whose entries have been looked for already.
  /// - Throws: as the other one.
  mutating func apply(
    _ cleared: Cleared, _ found: ToClear, _ sequence: SequenceNumber, _ at: Timestamp,
    into effects: inout [Effect]
  ) throws(StateError) {
    try order.check(sequence, at, needsOpen: true)
    try applyCleared(cleared, found, &effects)
    advance(to: sequence, at)
  }

  /// Takes an order of use into the state that it has already: a `touched` of its most recent
  /// entries, oldest first, which would move each to where it stands once those from `next` on are told, too.
  /// - Throws: as the other one.
  mutating func apply(
    toldCount count: Int, before next: Slot, _ sequence: SequenceNumber, _ at: Timestamp
  ) throws(StateError) {
    try order.check(sequence, at, needsOpen: !head.hasOpened)
    noteTold(count)
    recency.leaveUntold(from: next)
    advance(to: sequence, at)
  }

  @inline(__always)
  private var order: EventOrder {
    var order = EventOrder(sequence: head.sequence, at: head.at)
    (order.hasOpened, order.isClosed) = (head.hasOpened, head.isClosed)
    return order
  }

  private mutating func advance(to sequence: SequenceNumber, _ at: Timestamp) {
    head.sequence = sequence
    head.at = at
  }

  private mutating func applyOpened(
    _ opened: Opened, _ sequence: SequenceNumber
  ) throws(StateError) {
    if opened.storeLimit == nil, expiries.store.count > 0 { throw .limitExceeded(.store) }
    head.opened = opened
    rules = Rules(opened)
    head.isClosed = false
    for tier in Tier.allCases { try checkLimit(tier) }
    if entryCount == 0 { orderIsTold = true }
    if opened.accessLog == .off { orderIsTold = false }
    toldCount = 0
    reserve(opened)
  }

  private mutating func applySet(
    _ set: ValueSet, _ record: Record, _ effects: inout [Effect]
  ) throws(StateError) {
    let fact = SetFact(
      sequence: record.sequence, at: record.at, coder: set.coder, memoryExpiry: set.memoryExpiry,
      storeExpiry: set.storeExpiry)
    let valueHash = XXH64.hash(set.value)
    try set.key.withUnsafeBytes { key in
      Result { () throws(StateError) in
        let value = LentValue(
          key: key, keyHash: hash(of: key), coder: set.coder,
          valueByteCount: UInt32(set.value.count), valueHash: valueHash)
        try applySet(fact, value, &effects)
      }
    }.get()
  }

  private mutating func applySet(
    _ fact: SetFact, _ value: LentValue, _ effects: inout [Effect]
  ) throws(StateError) {
    guard (1...Bounds.keyByteCountMax).contains(value.key.count) else {
      throw .keyLength(value.key.count)
    }
    guard fact.memoryExpiry != nil || fact.storeExpiry != nil,
      fact.storeExpiry == nil || rules.storeLimit != nil
    else { throw .impossibleResidency(fact.sequence) }
    assert(value.keyHash == hash(of: value.key))
    if let old = find(value.key, hash: value.keyHash) {
      try checkNothingExpired(old, at: fact.at)
      remove(old, .replaced, &effects)
    }
    try checkRoom()
    let slot = insert(fact, value)
    effects.append(.inserted(slot))
    if fact.memoryExpiry != nil { try checkLimit(.memory) }
    if fact.storeExpiry != nil { try checkLimit(.store) }
    prefetchForSet()
  }

  private mutating func applyInvalidated(
    _ it: Invalidated, _ at: Timestamp, _ effects: inout [Effect]
  ) throws(StateError) {
    switch it.subject {
    case .origin(let origin):
      let slot = try slot(of: origin)
      try checkNothingExpired(slot, at: at)
      remove(slot, .invalidated, &effects)
    case .key(let key):
      if let slot = find(key) { throw .keyPresent(entries[slot].origin) }
    }
  }

  private mutating func applyCleared(
    _ it: Cleared, _ at: Timestamp, _ effects: inout [Effect]
  ) throws(StateError) {
    try applyCleared(it, toClear(prefix: it.prefix, at: at), &effects)
  }

  private mutating func applyCleared(
    _ it: Cleared, _ found: ToClear, _ effects: inout [Effect]
  ) throws(StateError) {
    for (tier, stated, counted) in [
      (Tier.memory, it.memoryCount, found.live.memory), (.store, it.storeCount, found.live.store),
    ] where stated != counted {
      throw .wrongClearCount(tier, stated: stated, counted: counted)
    }
    guard let slots = found.slots else { return removeAll(&effects) }
    for slot in slots { remove(slot, .cleared, &effects) }
  }

  private mutating func applyExpired(
    _ origin: SequenceNumber, _ tier: Tier, _ at: Timestamp, _ effects: inout [Effect]
  ) throws(StateError) {
    let slot = try resident(origin, tier)
    guard at >= entries.expiry(slot, in: tier) else { throw .notExpired(origin, tier) }
    endResidency(slot, tier, .expired, &effects)
  }

  private mutating func applyEvicted(
    _ origin: SequenceNumber, _ tier: Tier, _ cause: EvictionCause, _ at: Timestamp,
    _ effects: inout [Effect]
  ) throws(StateError) {
    let slot = try resident(origin, tier)
    if cause == .limit {
      guard at < entries.expiry(slot, in: tier) else { throw .expiredServed(origin, tier) }
      if orderIsTold, let due = recency.leastRecent(in: tier), due != slot {
        throw .wrongVictim(origin, tier, expected: entries[due].origin)
      }
    }
    endResidency(slot, tier, cause == .limit ? .evicted : .lost, &effects)
  }

  private mutating func applyPromoted(
    _ origin: SequenceNumber, _ expiry: Timestamp, _ at: Timestamp, _ effects: inout [Effect]
  ) throws(StateError) {
    let slot = try live(origin, .store, at: at)
    guard expiry <= entries.expiry(slot, in: .store) else { throw .promotedBeyondStore(origin) }
    guard expiry <= at.adding(rules.memoryTTL) else { throw .promotedBeyondTTL(origin) }
    if entries.isResident(slot, in: .memory) { throw .alreadyResident(origin, .memory) }
    moveToFront(slot)
    recency.noteArrival()
    entries.setExpiry(expiry, of: slot, in: .memory)
    beginResidency(slot, .memory)
    effects.append(.memoryBegan(slot))
    try checkLimit(.memory)
  }

  private mutating func applyTouched(_ origins: [SequenceNumber]) throws(StateError) {
    // Two steps, so that looking up one needn't wait until another has moved.
    var slots: [Slot] = []
    slots.reserveCapacity(origins.count)
    for start in stride(from: 0, to: origins.count, by: 64) {
      let some = origins[start..<min(start + 64, origins.count)]
      prefetch(some)
      for origin in some { slots.append(try slot(of: origin)) }
    }
    for slot in slots { moveToFront(slot) }
    noteTold(slots.count)
  }

  private mutating func noteTold(_ count: Int) {
    recency.allTold()
    guard !orderIsTold, head.tellsOrder else { return }
    toldCount += count
    orderIsTold = toldCount == entryCount
  }

  private mutating func applyLookedUp(
    _ subject: LookupSubject, _ outcome: LookupOutcome, _ at: Timestamp
  ) throws(StateError) {
    switch (subject, outcome) {
    case (.origin(let origin), .memoryHit): moveToFront(try live(origin, .memory, at: at))
    case (.origin(let origin), .storeHit):
      let slot = try live(origin, .store, at: at)
      // Memory is asked first.
      if entries.isLive(slot, in: .memory, at: at) { throw .alreadyResident(origin, .memory) }
      moveToFront(slot)
    case (.origin(let origin), .miss):
      let slot = try slot(of: origin)
      if entries.isLive(slot, in: .memory, at: at) || entries.isLive(slot, in: .store, at: at) {
        throw .keyPresent(origin)
      }
    case (.key(let key), .miss):
      // What is past its expiry leaves first.
      if let slot = find(key) { throw .keyPresent(entries[slot].origin) }
    case (.key, .memoryHit), (.key, .storeHit): throw .hitWithoutEntry
    }
  }

  // MARK: Checks

  private func slot(of origin: SequenceNumber) throws(StateError) -> Slot {
    guard let slot = find(origin: origin) else { throw .unknownOrigin(origin) }
    return slot
  }

  private func resident(_ origin: SequenceNumber, _ tier: Tier) throws(StateError) -> Slot {
    let slot = try slot(of: origin)
    guard entries.isResident(slot, in: tier) else { throw .notResident(origin, tier) }
    return slot
  }

  private func live(
    _ origin: SequenceNumber, _ tier: Tier, at now: Timestamp
  ) throws(StateError) -> Slot {
    let slot = try resident(origin, tier)
    guard entries.isLive(slot, in: tier, at: now) else { throw .expiredServed(origin, tier) }
    return slot
  }

  /// What is past its expiry leaves through `expired`, never silently with something else.
  private func checkNothingExpired(_ slot: Slot, at now: Timestamp) throws(StateError) {
    try checkNotExpired(slot, .memory, at: now)
    try checkNotExpired(slot, .store, at: now)
  }

  private func checkNotExpired(
    _ slot: Slot, _ tier: Tier, at now: Timestamp
  ) throws(StateError) {
    if entries.isResident(slot, in: tier), !entries.isLive(slot, in: tier, at: now) {
      throw .expiredServed(entries[slot].origin, tier)
    }
  }

  /// Slots are 32-bit, whatever limits a file states.
  func checkRoom() throws(StateError) {
    guard UInt64(entryCount) < Bounds.entryCountMax else { throw .tooManyEntries }
  }

  /// INV017
  func checkLimit(_ tier: Tier) throws(StateError) {
    guard let limit = rules.limit(of: tier) else { return }
    if !limit.holds(entryCount: UInt64(residentCount(in: tier)), byteCount: byteCount(in: tier)) {
      throw .limitExceeded(tier)
    }
  }
}

extension TierLimit {
  func holds(entryCount: UInt64, byteCount: UInt64) -> Bool {
    entryCount <= entryCountMax && byteCount <= byteCountMax ?? .max
  }
}
