import Hindsight
import HindsightCore

/// The cache as one would write it on a napkin, independent of the product: a list, most recent
/// first, searched from its beginning. Times are µs since 1970.
struct NapkinModel {
  struct Entry: Equatable {
    var key: String
    var value: [UInt8]
    var origin: UInt64
    var memoryExpiry: Int64?
    var storeExpiry: Int64?
    var byteCount: UInt64 { UInt64(key.utf8.count + value.count) }

    func expiry(_ tier: Tier) -> Int64? { tier == .memory ? memoryExpiry : storeExpiry }
  }

  /// What a lookup answers.
  enum Answer: Equatable {
    case hit(Tier, Entry)
    case miss
  }

  struct Limits: Equatable {
    var memory: TierLimit
    var store: TierLimit?
    var memoryTTL: Int64
    var storeTTL: Int64
  }

  var entries: [Entry] = []
  var limits: Limits

  /// What is past its expiry counts as absent.
  mutating func expire(_ now: Int64) {
    for at in entries.indices {
      if let expiry = entries[at].memoryExpiry, expiry <= now { entries[at].memoryExpiry = nil }
      if let expiry = entries[at].storeExpiry, expiry <= now { entries[at].storeExpiry = nil }
    }
    dropAbsent()
  }

  /// Whether a value of this size fits a tier at all.
  func fits(_ key: String, byteCount: Int) -> Bool {
    let count = UInt64(key.utf8.count + byteCount)
    return count <= limits.memory.byteCountMax ?? .max
      || limits.store.map { count <= $0.byteCountMax ?? .max } ?? false
  }

  mutating func set(
    _ key: String, _ value: [UInt8], ttl: (memory: Int64?, store: Int64?), origin: UInt64,
    at now: Int64
  ) {
    expire(now)
    entries.removeAll { $0.key == key }
    var entry = Entry(key: key, value: value, origin: origin)
    if entry.byteCount <= limits.memory.byteCountMax ?? .max {
      makeRoom(in: .memory, entry.byteCount, limits.memory)
      entry.memoryExpiry = now + (ttl.memory ?? min(limits.memoryTTL, ttl.store ?? .max))
    }
    if let limit = limits.store, entry.byteCount <= limit.byteCountMax ?? .max {
      makeRoom(in: .store, entry.byteCount, limit)
      entry.storeExpiry = now + (ttl.store ?? limits.storeTTL)
    }
    entries.insert(entry, at: 0)
    dropAbsent()
  }

  /// What a lookup answers at a time, without being one.
  func answer(_ key: String, at now: Int64) -> Answer {
    guard let entry = entries.first(where: { $0.key == key }) else { return .miss }
    if let expiry = entry.memoryExpiry, expiry > now { return .hit(.memory, entry) }
    if let expiry = entry.storeExpiry, expiry > now { return .hit(.store, entry) }
    return .miss
  }

  /// All answers that a lookup may give at some time in a bracket.
  func answers(_ key: String, between least: Int64, and most: Int64) -> [Answer] {
    var answers = [answer(key, at: least)]
    guard let entry = entries.first(where: { $0.key == key }) else { return answers }
    for time in [entry.memoryExpiry, entry.storeExpiry, most].compactMap(\.self)
    where time > least && time <= most {
      answers.append(answer(key, at: time))
    }
    return answers
  }

  /// The entry was used.
  mutating func use(_ key: String) {
    guard let at = entries.firstIndex(where: { $0.key == key }) else { return }
    entries.insert(entries.remove(at: at), at: 0)
  }

  /// A store hit enters memory, for no longer than the store has it.
  mutating func promote(_ key: String, at now: Int64) {
    expire(now)
    guard let at = entries.firstIndex(where: { $0.key == key }) else { return }
    var entry = entries.remove(at: at)
    if entry.byteCount <= limits.memory.byteCountMax ?? .max, let storeExpiry = entry.storeExpiry {
      makeRoom(in: .memory, entry.byteCount, limits.memory)
      entry.memoryExpiry = min(now + limits.memoryTTL, storeExpiry)
    }
    entries.insert(entry, at: 0)
    dropAbsent()
  }

  mutating func invalidate(_ key: String, at now: Int64) -> Bool {
    expire(now)
    let count = entries.count
    entries.removeAll { $0.key == key }
    return entries.count < count
  }

  mutating func clear(_ prefix: String, at now: Int64) -> TierCounts {
    expire(now)
    let gone = entries.filter { $0.key.hasPrefix(prefix) }
    entries.removeAll { $0.key.hasPrefix(prefix) }
    return TierCounts(
      memory: gone.count { $0.memoryExpiry != nil }, store: gone.count { $0.storeExpiry != nil })
  }

  /// The value couldn't be found where it should have been.
  mutating func lose(_ key: String, _ tier: Tier) {
    guard let at = entries.firstIndex(where: { $0.key == key }) else { return }
    end(at: at, in: tier)
    dropAbsent()
  }

  /// Opened with other limits: what doesn't fit leaves, the least recent first.
  mutating func reopen(_ new: Limits, at now: Int64) {
    expire(now)
    limits = new
    shrink(.memory, new.memory)
    shrink(.store, new.store ?? TierLimit(entryCountMax: 0))
    dropAbsent()
  }

  /// A row that an opening found, behind those before it; left out where it doesn't fit.
  mutating func restore(_ entry: Entry) {
    guard let limit = limits.store, !isOver(.store, count: 1, byteCount: entry.byteCount, limit)
    else { return }
    entries.append(entry)
  }

  /// What is there after an opening: an entry, and whether it is resident in a tier.
  typealias Seen = (origin: UInt64, isResident: (Tier) -> Bool)

  /// As `reopen`, where the order of use has not survived, so that what is seen must tell who had to
  /// leave. Some order must explain it: who has left a tier and is there still, stands behind all
  /// that are left in it; and one left last, when it still was too much: the largest, if any.
  /// - Parameter seen: all entries that are there, the most recent first.
  /// - Returns: whether an order explains it.
  mutating func reopen(_ new: Limits, at now: Int64, to seen: [Seen]) -> Bool {
    expire(now)
    limits = new
    var isExplained = true
    for tier in Tier.allCases {
      let kept = Set(seen.filter { $0.isResident(tier) }.map(\.origin))
      let leaving = entries.filter { $0.expiry(tier) != nil && !kept.contains($0.origin) }
        .sorted { $0.byteCount < $1.byteCount }
      guard let last = leaving.last else { continue }
      for entry in leaving.dropLast() { end(entry.origin, in: tier) }
      let limit = tier == .memory ? new.memory : new.store ?? TierLimit(entryCountMax: 0)
      let wasTooMuch = isOver(tier, count: 0, byteCount: 0, limit)
      end(last.origin, in: tier)
      let behind = seen.drop { seen in !leaving.contains { $0.origin == seen.origin } }
      if !wasTooMuch || behind.contains(where: { $0.isResident(tier) }) { isExplained = false }
    }
    dropAbsent()
    return isExplained
  }

  func count(_ tier: Tier, at now: Int64) -> Int {
    entries.count { $0.expiry(tier).map { $0 > now } ?? false }
  }

  private mutating func shrink(_ tier: Tier, _ limit: TierLimit) {
    while isOver(tier, count: 0, byteCount: 0, limit) { endLeastRecent(in: tier) }
  }

  private mutating func makeRoom(in tier: Tier, _ byteCount: UInt64, _ limit: TierLimit) {
    while isOver(tier, count: 1, byteCount: byteCount, limit) { endLeastRecent(in: tier) }
  }

  private func isOver(
    _ tier: Tier, count: UInt64, byteCount: UInt64, _ limit: TierLimit
  ) -> Bool {
    let residents = entries.filter { $0.expiry(tier) != nil }
    return UInt64(residents.count) + count > limit.entryCountMax
      || residents.reduce(byteCount) { $0 + $1.byteCount } > limit.byteCountMax ?? .max
  }

  private mutating func endLeastRecent(in tier: Tier) {
    guard let victim = entries.lastIndex(where: { $0.expiry(tier) != nil }) else {
      preconditionFailure("nothing is left to make room, and it still is too much")
    }
    end(at: victim, in: tier)
  }

  private mutating func end(_ origin: UInt64, in tier: Tier) {
    if let at = entries.firstIndex(where: { $0.origin == origin }) { end(at: at, in: tier) }
  }

  private mutating func end(at place: Int, in tier: Tier) {
    if tier == .memory {
      entries[place].memoryExpiry = nil
    } else {
      entries[place].storeExpiry = nil
    }
  }

  private mutating func dropAbsent() {
    entries.removeAll { $0.memoryExpiry == nil && $0.storeExpiry == nil }
  }
}
