extension CacheState {
  /// Begins a restore from a checkpoint. The state must be empty.
  public mutating func restore(_ head: StateHead, orderIsTold: Bool) {
    precondition(entryCount == 0, "a restore needs an empty state")
    self.head = head
    self.orderIsTold = orderIsTold
    if let opened = head.opened { reserve(opened) }
  }

  /// Restores the next entry; entries come most recent first.
  /// - Returns: its slot.
  /// - Throws: `StateError` where the entry can't be part of this state.
  @discardableResult
  public mutating func restore(_ image: EntryImage) throws(StateError) -> Slot {
    guard (1...Bounds.keyByteCountMax).contains(image.key.count) else {
      throw .keyLength(image.key.count)
    }
    guard image.memoryExpiry != nil || image.storeExpiry != nil,
      image.storeExpiry == nil || head.opened?.storeLimit != nil,
      image.valueByteCount <= UInt32(Bounds.valueByteCountMax)
    else { throw .impossibleResidency(image.origin) }
    let hash = image.key.withUnsafeBytes { self.hash(of: $0) }
    guard image.key.withUnsafeBytes({ find($0, hash: hash) }) == nil,
      find(origin: image.origin) == nil, image.origin <= head.sequence
    else { throw .duplicateKey(image.origin) }
    let slot = insert(image, keyTag: UInt32(truncatingIfNeeded: hash), atFront: false)
    for tier in Tier.allCases { try checkLimit(tier) }
    return slot
  }

  /// Ends a restore by comparing digests.
  /// - Throws: `StateError.digestMismatch`.
  public func finishRestore(digest stated: UInt64) throws(StateError) {
    let computed = digest
    guard computed == stated else {
      throw .digestMismatch(head.sequence, stated: stated, computed: computed)
    }
  }

  /// The digest of everything observable: sequence, time, configuration, every entry with a hash
  /// of its value, and the order of use where the events tell it. O(entries).
  ///
  /// XXH64, each entry's bytes seeded with the digest so far. All numbers little-endian; without a
  /// told order the entries come in the order of their origins.
  public var digest: UInt64 {
    var writer = DigestWriter()
    writer.add(head.sequence.rawValue)
    writer.add(UInt64(bitPattern: head.at.rawValue))
    writer.add(head.isClosed ? 1 : 0)
    writer.add(orderIsTold ? 1 : 0)
    if let opened = head.opened { writer.add(opened) }
    writer.endPart()
    var slots: [Slot] = []
    slots.reserveCapacity(entryCount)
    forEachSlot { slots.append($0) }
    if !orderIsTold { slots.sort { entries[$0].origin < entries[$1].origin } }
    for slot in slots {
      writer.add(entries[slot])
      writer.endPart()
    }
    return writer.digest
  }

  /// Traps unless index, list, heaps and byte counts agree. O(entries). For tests and tools.
  public func checkInvariants() {
    var counts = (entries: 0, memory: 0, store: 0)
    var bytes = (memory: UInt64(0), store: UInt64(0))
    var last: (memory: Slot?, store: Slot?) = (nil, nil)
    forEachSlot { slot in
      let entry = entries[slot]
      counts.entries += 1
      precondition(entry.memoryHeapPlace != 0 || entry.storeHeapPlace != 0)
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
    precondition(counts == (keys.count, heaps.memory.count, heaps.store.count))
    precondition(origins.count == keys.count)
    precondition(bytes == byteCounts)
    precondition(recency.leastRecent(in: .memory) == last.memory)
    precondition(recency.leastRecent(in: .store) == last.store)
    heaps.memory.checkInvariants(entries)
    heaps.store.checkInvariants(entries)
    for tier in Tier.allCases {  // INV017
      if let limit = head.opened?.limit(of: tier) {
        precondition(
          limit.holds(
            entryCount: UInt64(residentCount(in: tier)), byteCount: byteCount(in: tier)))
      }
    }
  }
}

/// Collects the bytes of one part at a time and chains their hashes.
private struct DigestWriter {
  private(set) var digest: UInt64 = 0
  private var part: [UInt8] = []

  mutating func add(_ word: UInt64) {
    withUnsafeBytes(of: word.littleEndian) { part.append(contentsOf: $0) }
  }

  mutating func add(_ opened: Opened) {
    for limit in [opened.memoryLimit, opened.storeLimit] {
      add(limit?.entryCountMax ?? .max)
      add(limit?.byteCountMax ?? .max)
    }
    add(UInt64(bitPattern: opened.memoryTTL.rawValue))
    add(UInt64(bitPattern: opened.storeTTL.rawValue))
    add(UInt64(opened.accessLog.rawValue))
  }

  mutating func add(_ entry: Entry) {
    add(UInt64(entry.keyByteCount))
    part.append(contentsOf: entry.keyBytes)
    add(entry.origin.rawValue)
    add(UInt64(bitPattern: entry.setAt.rawValue))
    add(UInt64(entry.coder))
    add(UInt64(entry.valueByteCount))
    add(entry.valueHash)
    add(entry.memoryHeapPlace == 0 ? .max : UInt64(bitPattern: entry.memoryExpiry.rawValue))
    add(entry.storeHeapPlace == 0 ? .max : UInt64(bitPattern: entry.storeExpiry.rawValue))
  }

  mutating func endPart() {
    digest = part.withUnsafeBytes { XXH64.hash($0, seed: digest) }
    part.removeAll(keepingCapacity: true)
  }
}
