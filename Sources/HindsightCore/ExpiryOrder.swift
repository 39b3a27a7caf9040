/// The residents of one tier, soonest expiry first.
///
/// Nearly every entry expires later than all before it, since time goes on and most have the same TTL.
/// So they stand in a few runs: lists in ascending order, linked through the entries, to which an entry
/// is added at the end and of which any is taken out at once, touching no more than its neighbours. What
/// fits behind none of them, as with TTLs that are all different, goes to a heap, which takes
/// O(log n) and as many cache misses.
///
/// Ordered by (expiry, origin), a total order, so that which entry comes first never depends on
/// how the runs came about: a state rebuilt from a checkpoint decides like the one it replaces.
struct ExpiryOrder: Sendable {
  let tier: Tier
  static var runCountMax: Int { 8 }

  private struct Run: Sendable {
    var first: Slot
    var last: Slot
  }

  private var runs: [Run] = []
  private var heap: ExpiryHeap
  private(set) var count = 0

  init(tier: Tier) {
    self.tier = tier
    heap = ExpiryHeap(tier: tier)
  }

  /// Residents in no run.
  var heapCount: Int { heap.count }

  /// The resident that expires first. O(1).
  func first(_ entries: borrowing EntryPool) -> Slot? {
    var first = heap.first
    for run in runs {
      if let best = first, !entries.expires(run.first, before: best, in: tier) { continue }
      first = run.first
    }
    return first
  }

  /// Adds a slot whose expiry is set and that isn't a resident yet. O(1) where it expires later than
  /// the last of a run, else O(log n).
  mutating func insert(_ slot: Slot, _ entries: inout EntryPool) {
    count += 1
    var best: Int?
    for at in runs.indices where entries.expires(runs[at].last, before: slot, in: tier) {
      // The one that ends the latest leaves the others to those that end earlier.
      if let other = best, entries.expires(runs[at].last, before: runs[other].last, in: tier) {
        continue
      }
      best = at
    }
    guard let best else { return begin(slot, &entries) { $0.insert(slot, &$1) } }
    let last = runs[best].last
    entries.setExpiryPlace(
      ExpiryPlace(before: last, after: entries.expiryPlace(last, in: tier).after), of: slot,
      in: tier)
    entries.setExpiring(after: slot, last, in: tier)
    runs[best].last = slot
  }

  /// Adds a slot without regard to the heap's order, which `order` then makes: for many at once that
  /// come latest expiry first, or nearly so, and go in front of a run.
  mutating func append(_ slot: Slot, _ entries: inout EntryPool) {
    count += 1
    var best: Int?
    for at in 0..<runs.count where entries.expires(slot, before: runs[at].first, in: tier) {
      if let other = best, entries.expires(runs[other].first, before: runs[at].first, in: tier) {
        continue
      }
      best = at
    }
    guard let best else { return begin(slot, &entries) { $0.append(slot, &$1) } }
    let first = runs[best].first
    entries.setExpiryPlace(
      ExpiryPlace(before: entries.expiryPlace(first, in: tier).before, after: first), of: slot,
      in: tier)
    entries.setExpiring(before: slot, first, in: tier)
    runs[best].first = slot
  }

  /// Puts everything in order that `append` added. O(n).
  mutating func order(_ entries: inout EntryPool) { heap.order(&entries) }

  /// Removes a resident. O(1) where it stands in a run, else O(log n).
  mutating func remove(_ slot: Slot, _ entries: inout EntryPool) {
    count -= 1
    let place = entries.expiryPlace(slot, in: tier)
    guard !place.isInHeap else { return heap.remove(slot, &entries) }
    entries.setExpiryPlace(.none, of: slot, in: tier)
    switch (ExpiryPlace.run(place.before), ExpiryPlace.run(place.after)) {
    case (nil, nil):
      entries.setExpiring(after: place.after, place.before, in: tier)
      entries.setExpiring(before: place.before, place.after, in: tier)
    case (let run?, nil):
      precondition(runs[run].first == slot, Self.broken)
      runs[run].first = place.after
      entries.setExpiring(before: place.before, place.after, in: tier)
    case (nil, let run?):
      precondition(runs[run].last == slot, Self.broken)
      runs[run].last = place.before
      entries.setExpiring(after: place.after, place.before, in: tier)
    case (let run?, .some):
      precondition(runs[run].first == slot && runs[run].last == slot, Self.broken)
      end(run, &entries)
    }
  }

  /// Calls `body` for every resident that is past its expiry. O(number of those).
  func forEachExpired(at now: Timestamp, _ entries: borrowing EntryPool, _ body: (Slot) -> Void) {
    for run in runs {
      var slot = run.first
      while entries.expiry(slot, in: tier) <= now {
        body(slot)
        let after = entries.expiryPlace(slot, in: tier).after
        guard ExpiryPlace.run(after) == nil else { break }
        slot = after
      }
    }
    heap.forEachExpired(at: now, entries, body)
  }

  /// Traps unless runs, heap and entries agree, and everything is in order. For tests.
  func checkInvariants(_ entries: borrowing EntryPool) {
    var found = heap.count
    heap.checkInvariants(entries)
    precondition(runs.count <= Self.runCountMax)
    for (number, run) in runs.enumerated() {
      var slot = run.first
      precondition(ExpiryPlace.run(entries.expiryPlace(slot, in: tier).before) == number)
      while true {
        found += 1
        let after = entries.expiryPlace(slot, in: tier).after
        if let end = ExpiryPlace.run(after) {
          precondition(end == number && slot == run.last)
          break
        }
        precondition(entries.expiryPlace(after, in: tier).before == slot)
        precondition(entries.expires(slot, before: after, in: tier))
        slot = after
      }
    }
    precondition(found == count)
  }

  private static var broken: String { "an entry's place in a run is wrong" }

  /// A new run of one slot, or, where there are enough, its place in the heap.
  private mutating func begin(
    _ slot: Slot, _ entries: inout EntryPool,
    orElse: (inout ExpiryHeap, inout EntryPool) -> Void
  ) {
    guard runs.count < Self.runCountMax else { return orElse(&heap, &entries) }
    let end = ExpiryPlace.end(of: runs.count)
    entries.setExpiryPlace(ExpiryPlace(before: end, after: end), of: slot, in: tier)
    runs.append(Run(first: slot, last: slot))
  }

  /// Drops an empty run; the last one takes its number.
  private mutating func end(_ run: Int, _ entries: inout EntryPool) {
    let moved = runs.removeLast()
    guard run < runs.count else { return }
    runs[run] = moved
    let end = ExpiryPlace.end(of: run)
    entries.setExpiring(before: end, moved.first, in: tier)
    entries.setExpiring(after: end, moved.last, in: tier)
  }
}

/// Where an entry stands among the residents of a tier: its neighbours in a run, or its place in the
/// heap. 8 bytes.
struct ExpiryPlace {
  /// 0: it is no resident.
  var before: UInt32
  var after: UInt32

  static let none = ExpiryPlace(before: 0, after: 0)

  /// A place in the heap, from 1.
  static func heap(_ place: UInt32) -> ExpiryPlace { ExpiryPlace(before: .max, after: place) }

  var isResident: Bool { before != 0 }
  var isInHeap: Bool { before == .max }

  /// What stands for the neighbour at both ends of a run. Slots are below 2^31: that many entries
  /// take more than 200 GB.
  static func end(of run: Int) -> UInt32 { 1 << 31 | UInt32(run) }

  /// The number of the run whose end `neighbour` is; `nil`: it is a slot.
  static func run(_ neighbour: UInt32) -> Int? {
    neighbour >> 31 == 0 ? nil : Int(neighbour & 0x7FFF_FFFF)
  }
}

extension EntryPool {
  /// The order of both runs and heap: by expiry, and by origin where that is the same.
  @inline(__always)
  func expires(_ a: Slot, before b: Slot, in tier: Tier) -> Bool {
    let (x, y) = (expiry(a, in: tier), expiry(b, in: tier))
    return x == y ? self[a].origin < self[b].origin : x < y
  }
}
