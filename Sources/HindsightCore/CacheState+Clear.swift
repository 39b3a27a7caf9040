// Clearing: slot by slot, or everything at once.

/// What a clear removes, and how many residencies of that are live.
struct ToClear {
  /// `nil`: everything, at once.
  var slots: [Slot]?
  var live: (memory: UInt64, store: UInt64)
}

extension CacheState {
  /// What a clear would remove. O(entries) with a prefix; O(entries past their expiry) without.
  func toClear(prefix: Bytes, at now: Timestamp) -> ToClear {
    guard prefix.isEmpty, isClearedAtOnce else { return matching(prefix: prefix, at: now) }
    return ToClear(
      slots: nil,
      live: (UInt64(liveCount(in: .memory, at: now)), UInt64(liveCount(in: .store, at: now))))
  }

  private func matching(prefix: Bytes, at now: Timestamp) -> ToClear {
    var found = ToClear(slots: [], live: (0, 0))
    prefix.withUnsafeBytes { prefix in
      // In the order of the slots, in which they lie in memory: following the list costs a cache miss an
      // entry. But there may be few of them left.
      if Int(entries.end) <= Bounds.slotsPerEntry * keys.count {
        for slot in 1..<entries.end where isOccupied(slot) { add(slot, prefix, now, &found) }
      } else {
        forEachSlot { add($0, prefix, now, &found) }
        found.slots?.sort()
      }
    }
    return found
  }

  /// Adds an entry whose key begins with `prefix`.
  @inline(__always)
  private func add(
    _ slot: Slot, _ prefix: UnsafeRawBufferPointer, _ now: Timestamp, _ found: inout ToClear
  ) {
    guard entries[slot].keyBytes.hasPrefix(prefix) else { return }
    found.slots?.append(slot)
    if isLive(slot, in: .memory, at: now) { found.live.memory += 1 }
    if isLive(slot, in: .store, at: now) { found.live.store += 1 }
  }

  /// Removes every entry at once: the index changes places with an empty one.
  mutating func removeAll(_ effects: inout [Effect]) {
    let empty = spare ?? DetachedIndex(hashSeed: hashSeed)
    precondition(empty.hashSeed == hashSeed, "an index that hashes otherwise finds nothing")
    swap(&entries, &empty.entries)
    swap(&keyArena, &empty.keyArena)
    swap(&keys, &empty.keys)
    swap(&origins, &empty.origins)
    swap(&recency, &empty.recency)
    swap(&expiries, &empty.expiries)
    byteCounts = (0, 0)
    effects.append(.removedAll)
    if spare == nil, let opened = head.opened { reserve(opened) }
  }

  /// Whether clearing everything would put another index in the place of this one, which takes less than emptying
  /// it.
  public var isClearedAtOnce: Bool {
    capture == nil && keys.count > 0 && keys.count >= keys.cellCount / Bounds.cellsPerRemoval
  }
}
