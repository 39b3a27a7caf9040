import HindsightCore

/// The cache as one would write it on a napkin: a list, most recent first, searched from its
/// beginning. What is past its expiry is dropped before anything else happens.
struct Model {
  struct Entry: Equatable {
    var key: Bytes
    var value: Bytes
    var origin: SequenceNumber
    var memoryExpiry: Timestamp?
    var storeExpiry: Timestamp?
    var byteCount: UInt64 { UInt64(key.count + value.count) }
  }

  var entries: [Entry] = []
  var opened: Opened

  mutating func expire(_ now: Timestamp) {
    for at in entries.indices {
      if let expiry = entries[at].memoryExpiry, expiry <= now { entries[at].memoryExpiry = nil }
      if let expiry = entries[at].storeExpiry, expiry <= now { entries[at].storeExpiry = nil }
    }
    dropAbsent()
  }

  mutating func set(_ command: SetCommand, at now: Timestamp, origin: SequenceNumber) {
    expire(now)
    entries.removeAll { $0.key == command.key }
    let byteCount = UInt64(command.key.count + command.value.count)
    var entry = Entry(key: command.key, value: command.value, origin: origin)
    if byteCount <= opened.memoryLimit.byteCountMax ?? .max {
      makeRoom(in: .memory, byteCount, opened.memoryLimit)
      // A life that is shortened for the store is no longer in memory, unless one says so.
      let inherited = min(opened.memoryTTL, command.storeTTL ?? opened.memoryTTL)
      entry.memoryExpiry = now.adding(command.memoryTTL ?? inherited)
    }
    if let limit = opened.storeLimit, byteCount <= limit.byteCountMax ?? .max {
      makeRoom(in: .store, byteCount, limit)
      entry.storeExpiry = now.adding(command.storeTTL ?? opened.storeTTL)
    }
    entries.insert(entry, at: 0)
    dropAbsent()
  }

  mutating func get(_ key: Bytes, at now: Timestamp) -> (Tier, Bytes)? {
    expire(now)
    guard let at = entries.firstIndex(where: { $0.key == key }) else { return nil }
    var entry = entries.remove(at: at)
    guard entry.memoryExpiry == nil, let storeExpiry = entry.storeExpiry else {
      entries.insert(entry, at: 0)
      return (.memory, entry.value)
    }
    if entry.byteCount <= opened.memoryLimit.byteCountMax ?? .max {
      makeRoom(in: .memory, entry.byteCount, opened.memoryLimit)
      entry.memoryExpiry = min(now.adding(opened.memoryTTL), storeExpiry)
    }
    entries.insert(entry, at: 0)
    dropAbsent()
    return (.store, entry.value)
  }

  mutating func invalidate(_ key: Bytes, at now: Timestamp) -> Bool {
    expire(now)
    let count = entries.count
    entries.removeAll { $0.key == key }
    return entries.count < count
  }

  mutating func clear(_ prefix: Bytes, at now: Timestamp) -> (memory: UInt64, store: UInt64) {
    expire(now)
    let gone = entries.filter { $0.key.starts(with: prefix) }
    entries.removeAll { $0.key.starts(with: prefix) }
    return (
      UInt64(gone.count { $0.memoryExpiry != nil }), UInt64(gone.count { $0.storeExpiry != nil })
    )
  }

  mutating func reopen(_ opened: Opened, at now: Timestamp) {
    expire(now)
    self.opened = opened
    for tier in Tier.allCases {
      makeRoom(in: tier, entryCount: 0, 0, opened.limit(of: tier) ?? TierLimit(entryCountMax: 0))
    }
    dropAbsent()
  }

  mutating func lose(_ key: Bytes, _ tier: Tier, at now: Timestamp) {
    expire(now)
    guard let at = entries.firstIndex(where: { $0.key == key }) else { return }
    if tier == .memory { entries[at].memoryExpiry = nil } else { entries[at].storeExpiry = nil }
    dropAbsent()
  }

  func count(_ tier: Tier) -> Int {
    entries.count { tier == .memory ? $0.memoryExpiry != nil : $0.storeExpiry != nil }
  }

  private mutating func makeRoom(
    in tier: Tier, entryCount: UInt64 = 1, _ byteCount: UInt64, _ limit: TierLimit
  ) {
    func isIn(_ entry: Entry) -> Bool {
      tier == .memory ? entry.memoryExpiry != nil : entry.storeExpiry != nil
    }
    while true {
      let residents = entries.filter(isIn)
      let bytes = residents.reduce(byteCount) { $0 + $1.byteCount }
      if UInt64(residents.count) + entryCount <= limit.entryCountMax,
        bytes <= limit.byteCountMax ?? .max
      {
        return
      }
      let victim = entries.lastIndex(where: isIn)!
      if tier == .memory {
        entries[victim].memoryExpiry = nil
      } else {
        entries[victim].storeExpiry = nil
      }
    }
  }

  private mutating func dropAbsent() {
    entries.removeAll { $0.memoryExpiry == nil && $0.storeExpiry == nil }
  }
}
