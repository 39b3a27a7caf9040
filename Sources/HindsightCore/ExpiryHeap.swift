/// Residents of one tier that fit in no run of `ExpiryOrder`, soonest expiry first: a heap of slots whose
/// entries know their place in it.
///
/// Each has four children: half as many levels as with two, and the cache misses of comparing four
/// entries overlap, where those of two levels wait for each other.
struct ExpiryHeap: Sendable {
  let tier: Tier
  private static var childCount: Int { 4 }

  private var slots: [Slot] = []

  init(tier: Tier) { self.tier = tier }

  var count: Int { slots.count }

  /// The resident that expires first.
  var first: Slot? { slots.first }

  /// Adds a slot whose expiry is set and that has no place. O(log n), O(1) where it expires last.
  mutating func insert(_ slot: Slot, _ entries: inout EntryPool) {
    slots.append(slot)
    siftUp(slots.count - 1, &entries)
  }

  /// Adds a slot without regard to the order, which `order` then makes: for many at once, which
  /// would otherwise each rise to the top where they come latest expiry first.
  mutating func append(_ slot: Slot, _ entries: inout EntryPool) {
    slots.append(slot)
    entries.setExpiryPlace(.heap(UInt32(slots.count)), of: slot, in: tier)
  }

  /// Puts everything in order. O(n).
  mutating func order(_ entries: inout EntryPool) {
    guard slots.count > 1 else { return }
    // Restored, they come nearly latest expiry first: the other way round little has to move.
    slots.reverse()
    for at in slots.indices {
      entries.setExpiryPlace(.heap(UInt32(at + 1)), of: slots[at], in: tier)
    }
    for at in stride(from: Self.parent(slots.count - 1), through: 0, by: -1) {
      siftDown(at, &entries)
    }
  }

  /// Removes a slot that is in the heap. O(log n).
  mutating func remove(_ slot: Slot, _ entries: inout EntryPool) {
    let at = Int(entries.expiryPlace(slot, in: tier).after) - 1
    precondition(slots[at] == slot, "an entry's place in the expiry heap is wrong")
    entries.setExpiryPlace(.none, of: slot, in: tier)
    let last = slots.removeLast()
    guard last != slot else { return }
    slots[at] = last
    entries.setExpiryPlace(.heap(UInt32(at + 1)), of: last, in: tier)
    siftUp(at, &entries)
    siftDown(Int(entries.expiryPlace(last, in: tier).after) - 1, &entries)
  }

  /// Calls `body` for every resident that is past its expiry. O(number of those).
  func forEachExpired(at now: Timestamp, _ entries: borrowing EntryPool, _ body: (Slot) -> Void) {
    guard !slots.isEmpty else { return }
    var pending = [0]
    while let at = pending.popLast() {
      guard at < slots.count, entries.expiry(slots[at], in: tier) <= now else { continue }
      body(slots[at])
      pending.append(contentsOf: Self.children(at))
    }
  }

  /// Traps unless the heap's order and its entries' places are right. For tests.
  func checkInvariants(_ entries: borrowing EntryPool) {
    for at in slots.indices {
      let place = entries.expiryPlace(slots[at], in: tier)
      precondition(place.isInHeap && place.after == UInt32(at + 1))
      guard at > 0 else { continue }
      precondition(!entries.expires(slots[at], before: slots[Self.parent(at)], in: tier))
    }
  }

  @inline(__always)
  private static func parent(_ at: Int) -> Int { (at - 1) / childCount }

  @inline(__always)
  private static func children(_ at: Int) -> Range<Int> {
    childCount * at + 1..<childCount * at + 1 + childCount
  }

  private mutating func siftUp(_ start: Int, _ entries: inout EntryPool) {
    let slot = slots[start]
    var at = start
    while at > 0 {
      let parent = Self.parent(at)
      guard entries.expires(slot, before: slots[parent], in: tier) else { break }
      put(slots[parent], at, &entries)
      at = parent
    }
    put(slot, at, &entries)
  }

  private mutating func siftDown(_ start: Int, _ entries: inout EntryPool) {
    let slot = slots[start]
    var at = start
    while true {
      let children = Self.children(at)
      var child = children.lowerBound
      guard child < slots.count else { break }
      for other in child + 1..<min(children.upperBound, slots.count)
      where entries.expires(slots[other], before: slots[child], in: tier) {
        child = other
      }
      guard entries.expires(slots[child], before: slot, in: tier) else { break }
      put(slots[child], at, &entries)
      at = child
    }
    put(slot, at, &entries)
  }

  private mutating func put(_ slot: Slot, _ at: Int, _ entries: inout EntryPool) {
    slots[at] = slot
    entries.setExpiryPlace(.heap(UInt32(at + 1)), of: slot, in: tier)
  }
}
