/// The ONE recency list: a ring through the entries, its head in slot 0.
///
/// Each tier's victim is found through a cursor on its least recent resident. What the cursor
/// passes over lies behind it for good, or is moved to the front, so finding the next victim costs
/// O(1) amortized although the list is shared.
struct RecencyRing: Sendable {
  private var cursors: (memory: Slot, store: Slot) = (noSlot, noSlot)
  /// The oldest entry whose place in the list no event tells yet; everything newer is told with it.
  private(set) var untold: Slot = noSlot
  /// How many different entries were moved since the last telling, and how many came in since the first
  /// of them was: a telling names about so many. A number for each telling, kept with an entry, counts
  /// it once. That there are 127 of them leaves out one in so many; they follow each other
  /// irregularly, so that no regular use meets the same number each time.
  private(set) var untoldCount = 0
  /// 1 to 127; an entry that was never touched has 0.
  private var telling: UInt8 = 1
  private var tellingCount: UInt64 = 0

  /// The least recent resident of `tier`; `nil` where there is none.
  func leastRecent(in tier: Tier) -> Slot? {
    let cursor = tier == .memory ? cursors.memory : cursors.store
    return cursor == noSlot ? nil : cursor
  }

  /// Puts an entry that isn't in the list to its front.
  mutating func insertAtFront(_ slot: Slot, _ entries: inout EntryPool) {
    let front = entries.older(than: noSlot)
    entries.setNewer(noSlot, than: slot)
    entries.setOlder(front, than: slot)
    entries.setNewer(slot, than: front)
    entries.setOlder(slot, than: noSlot)
  }

  /// Puts an entry that isn't in the list to its back: for a checkpoint, read most recent first.
  mutating func insertAtBack(_ slot: Slot, _ entries: inout EntryPool) {
    let back = entries.newer(than: noSlot)
    entries.setOlder(noSlot, than: slot)
    entries.setNewer(back, than: slot)
    entries.setOlder(slot, than: back)
    entries.setNewer(slot, than: noSlot)
  }

  mutating func remove(_ slot: Slot, _ entries: inout EntryPool) {
    leave(slot, entries)
    let (newer, older) = (entries.newer(than: slot), entries.older(than: slot))
    entries.setOlder(older, than: newer)
    entries.setNewer(newer, than: older)
  }

  mutating func moveToFront(_ slot: Slot, _ entries: inout EntryPool) {
    guard entries.older(than: noSlot) != slot else { return }
    remove(slot, &entries)
    insertAtFront(slot, &entries)
    for tier in Tier.allCases
    where leastRecent(in: tier) == nil && entries.isResident(slot, in: tier) {
      setCursor(slot, tier)
    }
  }

  /// The entry at the front has become resident in `tier`.
  mutating func began(_ slot: Slot, in tier: Tier) { arrive(slot, tier) }

  /// An entry restored at the back is resident in `tier`: it is the least recent one so far.
  mutating func beganAtBack(_ slot: Slot, in tier: Tier) { setCursor(slot, tier) }

  /// The entry is about to lose its residency in `tier`, its place in the list unchanged.
  mutating func willEnd(_ slot: Slot, in tier: Tier, _ entries: borrowing EntryPool) {
    if leastRecent(in: tier) == slot { advance(tier, from: slot, entries) }
  }

  /// The entry was moved to the front and no event says so yet.
  mutating func markUntold(_ slot: Slot, _ entries: inout EntryPool) {
    if untold == noSlot { untold = slot }
    guard entries[slot].telling != telling else { return }
    entries[slot].telling = telling
    untoldCount += 1
  }

  /// An entry has come to the front by an event of its own.
  mutating func noteArrival() {
    if untold != noSlot { untoldCount += 1 }
  }

  mutating func allTold() {
    untold = noSlot
    untoldCount = 0
    tellingCount &+= 1
    let next = UInt8(((tellingCount &* 0x9E37_79B9_7F4A_7C15) >> 32) % 127) + 1
    telling = next == telling ? next % 127 + 1 : next
  }

  /// The entries from this one on are still to be told; `noSlot`: none.
  mutating func leaveUntold(from slot: Slot) { untold = slot }

  private mutating func leave(_ slot: Slot, _ entries: borrowing EntryPool) {
    if slot == untold { untold = entries.newer(than: slot) }
    for tier in Tier.allCases where leastRecent(in: tier) == slot {
      advance(tier, from: slot, entries)
    }
  }

  private mutating func arrive(_ slot: Slot, _ tier: Tier) {
    if leastRecent(in: tier) == nil { setCursor(slot, tier) }
  }

  private mutating func advance(
    _ tier: Tier, from slot: Slot, _ entries: borrowing EntryPool
  ) {
    var next = entries.newer(than: slot)
    while next != noSlot, !entries.isResident(next, in: tier) { next = entries.newer(than: next) }
    setCursor(next, tier)
  }

  private mutating func setCursor(_ slot: Slot, _ tier: Tier) {
    switch tier {
    case .memory: cursors.memory = slot
    case .store: cursors.store = slot
    }
  }
}
