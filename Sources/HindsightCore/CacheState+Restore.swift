extension CacheState {
  /// Begins a restore from a checkpoint. The state must be empty.
  public mutating func restore(_ head: StateHead) {
    restore(head, orderIsTold: head.tellsOrder)
  }

  /// Begins a restore of entries whose order is known from elsewhere, or isn't.
  public mutating func restore(_ head: StateHead, orderIsTold: Bool) {
    precondition(entryCount == 0, "a restore needs an empty state")
    self.head = head
    self.orderIsTold = orderIsTold
    if let opened = head.opened {
      rules = Rules(opened)
      reserve(opened)
    }
  }

  /// Restores the next entry; entries come most recent first.
  /// - Returns: its slot.
  /// - Throws: `StateError` where the entry can't be part of this state.
  @discardableResult
  public mutating func restore(_ image: EntryImage) throws(StateError) -> Slot {
    try image.key.withUnsafeBytes { key in
      Result { () throws(StateError) in
        try restore(LentImage(key: key, keyHash: hash(of: key), numbers: image.numbers))
      }
    }.get()
  }

  /// The same with a key that is lent.
  @discardableResult
  public mutating func restore(_ image: LentImage) throws(StateError) -> Slot {
    let (key, numbers) = (image.key, image.numbers)
    guard (1...Bounds.keyByteCountMax).contains(key.count) else { throw .keyLength(key.count) }
    guard head.hasOpened, numbers.memoryExpiry != nil || numbers.storeExpiry != nil,
      numbers.storeExpiry == nil || rules.storeLimit != nil,
      numbers.valueByteCount <= UInt32(Bounds.valueByteCountMax),
      numbers.origin > .zero, numbers.setAt >= .zero, numbers.setAt <= head.at
    else { throw .impossibleResidency(numbers.origin) }
    assert(image.keyHash == hash(of: key))
    guard numbers.origin <= head.sequence else { throw .duplicateKey(numbers.origin) }
    try checkRoom()
    let fact = SetFact(
      sequence: numbers.origin, at: numbers.setAt, coder: numbers.coder,
      memoryExpiry: numbers.memoryExpiry, storeExpiry: numbers.storeExpiry)
    let value = LentValue(
      key: key, keyHash: image.keyHash, coder: numbers.coder,
      valueByteCount: numbers.valueByteCount, valueHash: numbers.valueHash)
    guard let slot = insertAtBack(fact, value) else { throw .duplicateKey(numbers.origin) }
    if fact.memoryExpiry != nil { try checkLimit(.memory) }
    if fact.storeExpiry != nil { try checkLimit(.store) }
    return slot
  }

  /// Ends a restore: nothing else may be done with the state before.
  public mutating func finishRestore() {
    expiries.memory.order(&entries)
    expiries.store.order(&entries)
  }

  /// Ends a restore, and compares digests.
  /// - Throws: `StateError.digestMismatch`.
  public mutating func finishRestore(digest stated: UInt64) throws(StateError) {
    finishRestore()
    try check(digest: stated)
  }

  /// Ends a restore, and compares the stated digest with that of all the entries as they were
  /// restored, which the caller has computed meanwhile (`StateDigest`). The order must be told.
  /// - Throws: `StateError.digestMismatch`.
  public mutating func finishRestore(
    digest stated: UInt64, computed: UInt64
  ) throws(StateError) {
    finishRestore()
    assert(orderIsTold && computed == digest)
    guard computed == stated else {
      throw .digestMismatch(head.sequence, stated: stated, computed: computed)
    }
  }

  /// Reads where some entries will be filed that are about to be restored: reads that don't depend
  /// on each other wait for memory together, where each restoring would wait for its own.
  /// - Returns: something that depends on all of them, so that the compiler keeps them.
  public func readAhead(_ filings: borrowing Span<Filing>) -> UInt32 {
    var read: UInt32 = 0
    for at in filings.indices {
      let filing = filings[at]
      read &+= keys.readAhead(tag: UInt32(truncatingIfNeeded: filing.keyHash))
      read &+= origins.readAhead(tag: tag(of: filing.origin))
    }
    return read
  }

  /// - Throws: `StateError.digestMismatch`, where the state's digest is another one. O(entries).
  public func check(digest stated: UInt64) throws(StateError) {
    let computed = digest
    guard computed == stated else {
      throw .digestMismatch(head.sequence, stated: stated, computed: computed)
    }
  }

  /// The digest of everything observable: see `StateDigest`. O(entries).
  public var digest: UInt64 {
    var digest = StateDigest(head, orderIsTold: orderIsTold)
    if orderIsTold {
      forEachSlot { digest.add(key: entries[$0].keyBytes, entries.numbers(of: $0)) }
    } else {
      var slots: [Slot] = []
      slots.reserveCapacity(entryCount)
      forEachSlot { slots.append($0) }
      slots.sort { entries[$0].origin < entries[$1].origin }
      for slot in slots { digest.add(key: entries[slot].keyBytes, entries.numbers(of: slot)) }
    }
    return digest.value
  }

  /// Traps unless index, list, expiries and byte counts agree. O(entries). For tests and tools.
  public func checkInvariants() {
    var counts = (entries: 0, memory: 0, store: 0)
    var bytes = (memory: UInt64(0), store: UInt64(0))
    var last: (memory: Slot?, store: Slot?) = (nil, nil)
    forEachSlot { slot in
      let entry = entries[slot]
      counts.entries += 1
      precondition(entries.isResident(slot))
      precondition(find(entry.keyBytes, hash: hash(of: entry.keyBytes)) == slot)
      precondition(find(origin: entry.origin) == slot)
      if entries.isResident(slot, in: .memory) {
        counts.memory += 1
        bytes.memory += entry.byteCount
        last.memory = slot
      }
      if entries.isResident(slot, in: .store) {
        counts.store += 1
        bytes.store += entry.byteCount
        last.store = slot
      }
    }
    precondition(counts == (keys.count, expiries.memory.count, expiries.store.count))
    precondition(origins.count == keys.count)
    keys.checkInvariants(entries)
    origins.checkInvariants(entries)
    precondition(bytes == byteCounts)
    precondition(recency.leastRecent(in: .memory) == last.memory)
    precondition(recency.leastRecent(in: .store) == last.store)
    expiries.memory.checkInvariants(entries)
    expiries.store.checkInvariants(entries)
    for tier in Tier.allCases {  // INV017
      if let limit = head.opened?.limit(of: tier) {
        precondition(
          limit.holds(
            entryCount: UInt64(residentCount(in: tier)), byteCount: byteCount(in: tier)))
      }
    }
  }
}

/// Where an entry belongs in the index.
public struct Filing: Sendable {
  public var keyHash: UInt64
  public var origin: SequenceNumber

  public init(keyHash: UInt64, origin: SequenceNumber) {
    self.keyHash = keyHash
    self.origin = origin
  }
}
