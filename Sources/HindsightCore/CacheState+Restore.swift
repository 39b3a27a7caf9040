extension CacheState {
  /// Begins a restore from a checkpoint. The state must be empty.
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
    try restore(image, keyHash: image.key.withUnsafeBytes { hash(of: $0) })
  }

  /// The same with the hash of the key, as `hash(of:)` gives it.
  @discardableResult
  public mutating func restore(
    _ image: EntryImage, keyHash hash: UInt64
  ) throws(StateError) -> Slot {
    guard (1...Bounds.keyByteCountMax).contains(image.key.count) else {
      throw .keyLength(image.key.count)
    }
    guard image.memoryExpiry != nil || image.storeExpiry != nil,
      image.storeExpiry == nil || rules.storeLimit != nil,
      image.valueByteCount <= UInt32(Bounds.valueByteCountMax),
      image.origin > .zero, image.setAt >= .zero, image.setAt <= head.at
    else { throw .impossibleResidency(image.origin) }
    assert(hash == image.key.withUnsafeBytes { self.hash(of: $0) })
    guard image.key.withUnsafeBytes({ find($0, hash: hash) }) == nil,
      find(origin: image.origin) == nil, image.origin <= head.sequence
    else { throw .duplicateKey(image.origin) }
    try checkRoom()
    let fact = SetFact(
      sequence: image.origin, at: image.setAt, coder: image.coder,
      memoryExpiry: image.memoryExpiry, storeExpiry: image.storeExpiry)
    let slot = image.key.withUnsafeBytes { key in
      let value = LentValue(
        key: key, keyHash: hash, coder: image.coder, valueByteCount: image.valueByteCount,
        valueHash: image.valueHash)
      return insert(fact, value, atFront: false)
    }
    for tier in Tier.allCases { try checkLimit(tier) }
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
      forEachSlot { digest.add(entries[$0]) }
    } else {
      var slots: [Slot] = []
      slots.reserveCapacity(entryCount)
      forEachSlot { slots.append($0) }
      slots.sort { entries[$0].origin < entries[$1].origin }
      for slot in slots { digest.add(entries[slot]) }
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
      precondition(entry.isResident)
      precondition(find(entry.keyBytes, hash: hash(of: entry.keyBytes)) == slot)
      precondition(find(origin: entry.origin) == slot)
      if entry.isResident(in: .memory) {
        counts.memory += 1
        bytes.memory += entry.byteCount
        last.memory = slot
      }
      if entry.isResident(in: .store) {
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
