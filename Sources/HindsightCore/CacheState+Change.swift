// The few ways in which the index changes. Everything that `apply` and a restore do goes through
// these, so that index, list, expiries and byte counts can't disagree.

extension CacheState {
  /// Makes an entry at the front. The caller has made sure that neither its key nor its origin is there.
  mutating func insert(_ fact: SetFact, _ value: LentValue) -> Slot {
    let slot = make(fact, value)
    capture?.inserted(slot)
    keys.insert(slot, entries)
    origins.insert(slot, entries)
    recency.insertAtFront(slot, &entries)
    recency.noteArrival()
    if fact.memoryExpiry != nil { beginResidency(slot, .memory) }
    if fact.storeExpiry != nil { beginResidency(slot, .store) }
    return slot
  }

  /// Makes an entry at the back, for a restore.
  /// - Returns: `nil` where its key or its origin is there already; nothing has changed then.
  mutating func insertAtBack(_ fact: SetFact, _ value: LentValue) -> Slot? {
    let slot = make(fact, value)
    let isNewKey = keys.insert(
      slot, entries, unless: { $0.keyBytes.elementsAreEqual(to: value.key) })
    guard
      isNewKey,
      origins.insert(slot, entries, unless: { $0.origin == fact.sequence })
    else {
      if isNewKey { keys.remove(slot, entries) }
      keyArena.release(entries[slot].keyBlock, byteCount: value.key.count)
      entries.release(slot)
      return nil
    }
    recency.insertAtBack(slot, &entries)
    if fact.memoryExpiry != nil { restoreResidency(slot, .memory) }
    if fact.storeExpiry != nil { restoreResidency(slot, .store) }
    return slot
  }

  /// Makes an entry that stands nowhere yet.
  @inline(__always)
  private mutating func make(_ fact: SetFact, _ value: LentValue) -> Slot {
    let slot = entries.allocate()
    entries[slot] = Entry(
      fact, value, key: keyArena.allocate(value.key), attachment: entries[slot].attachment)
    if let expiry = fact.storeExpiry { entries.setExpiry(expiry, of: slot, in: .store) }
    return slot
  }

  /// Makes the entry at the front resident in `tier`, its expiry there set already.
  mutating func beginResidency(_ slot: Slot, _ tier: Tier) {
    addExpiry(slot, tier, inOrder: true)
    recency.began(slot, in: tier)
  }

  /// The same for the entry at the back.
  private mutating func restoreResidency(_ slot: Slot, _ tier: Tier) {
    addExpiry(slot, tier, inOrder: false)
    recency.beganAtBack(slot, in: tier)
  }

  /// Ends one residency; an entry that has none left is gone.
  mutating func endResidency(
    _ slot: Slot, _ tier: Tier, _ ending: Ending, _ effects: inout [Effect]
  ) {
    let other: Tier = tier == .memory ? .store : .memory
    guard entries.isResident(slot, in: other) else { return remove(slot, ending, &effects) }
    capture?.willChange(slot, entries)
    recency.willEnd(slot, in: tier, entries)
    removeExpiry(slot, tier)
    switch tier {
    case .memory: effects.append(.memoryEnded(slot, ending))
    case .store: effects.append(.storeEnded(slot, entries[slot].origin, ending))
    }
  }

  /// Removes an entry with all its residencies.
  mutating func remove(_ slot: Slot, _ ending: Ending, _ effects: inout [Effect]) {
    let entry = entries[slot]
    capture?.willLeave(slot, entries)
    recency.remove(slot, &entries)
    if entries.isResident(slot, in: .memory) {
      removeExpiry(slot, .memory)
      effects.append(.memoryEnded(slot, ending))
    }
    if entries.isResident(slot, in: .store) {
      removeExpiry(slot, .store)
      effects.append(.storeEnded(slot, entry.origin, ending))
    }
    keys.remove(slot, entries)
    origins.remove(slot, entries)
    effects.append(.removed(slot, keyHash: hash(of: entry.keyBytes), ending))
    keyArena.release(entry.keyBlock, byteCount: entry.keyByteCount)
    entries.release(slot)
  }

  /// Makes room in the tables for all that the limits allow, so that growing never pauses a set.
  mutating func reserve(_ opened: Opened) {
    let room = IndexRoom(opened)
    keys.reserve(room.entryCount, entries)
    origins.reserve(room.entryCount, entries)
  }
}
