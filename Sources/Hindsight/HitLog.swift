import HindsightCore

/// Memory hits that the recency list doesn't know of yet, in their order.
///
/// Moving an entry to the front of a list writes to four entries: four cache misses in a large
/// cache, and four cache lines that another core wants to read in a small one. Noting its slot
/// writes to one line, and to none of the entry's own. Whoever takes the lock for anything else
/// than a hit settles the log first: it moves the noted entries to the front, in order, as if each
/// hit had done so itself. So nothing but hits ever happens between a hit and its move, the list is
/// exact whenever somebody looks at it, and a noted slot can't have been reused. An entry that was
/// hit repeatedly is moved once, by its last hit: that gives the same list.
struct HitLog: ~Copyable, @unchecked Sendable {  // owns the memory behind its pointers
  static let capacity = 2_048
  /// In a large index, where few hits fall on an entry that is in the log already and each takes longest
  /// to move, so that nobody waits long for the settling.
  static let largeCapacity = 128
  private static let largeEntryCount = 1 << 16
  /// So many entries are moved at a time.
  private static let batchCount = 32

  private let slots = UnsafeMutablePointer<Slot>.allocate(capacity: HitLog.capacity)
  private(set) var count = 0
  private var countMax = HitLog.capacity
  /// Which entries the settling at hand has met: a hash table of twice the log's length, each cell a
  /// slot and above it the number of the settling.
  private let met = UnsafeMutablePointer<UInt64>.allocate(capacity: HitLog.cellCount)
  private static var cellCount: Int { 2 * capacity }
  private var settling: UInt32 = 0
  /// What reading ahead came to: of no meaning.
  private var read: Slot = 0

  init() { met.initialize(repeating: 0, count: Self.cellCount) }

  deinit {
    slots.deallocate()
    met.deallocate()
  }

  var isFull: Bool { count >= countMax }

  @inline(__always)
  mutating func append(_ slot: Slot) {
    assert(count < Self.capacity)
    slots[count] = slot
    count &+= 1
  }

  /// Empties the log: moves each entry in it once, in the order of their last hits.
  mutating func settle(_ core: inout CacheState) {
    let first = count > 1 ? compact() : 0
    for start in stride(from: first, to: count, by: Self.batchCount) {
      let batch = UnsafeBufferPointer(
        start: slots + start, count: min(Self.batchCount, count - start))
      read = core.readAhead(batch)
      for slot in batch { core.touch(slot) }
    }
    count = 0
    countMax = core.entryCount > Self.largeEntryCount ? Self.largeCapacity : Self.capacity
    // Whoever has settled it: the next hit sees to a telling.
    if core.hasManyUntoldTouches { countMax = 0 }
  }

  /// Moves the last hits of all entries to the end of the log, in order.
  /// - Returns: the first one's place.
  private mutating func compact() -> Int {
    if settling == .max {
      met.update(repeating: 0, count: Self.cellCount)
      settling = 0
    }
    settling += 1
    let number = UInt64(settling) << 32
    let (slots, met) = (slots, met)
    var first = count
    var place = count
    while place > 0 {
      place &-= 1
      let slot = slots[place]
      guard Self.meet(slot, number, met) else { continue }
      first &-= 1
      slots[first] = slot
    }
    return first
  }

  /// Whether the settling of this number (in the high half) meets the entry for the first time.
  @inline(__always)
  private static func meet(
    _ slot: Slot, _ number: UInt64, _ met: UnsafeMutablePointer<UInt64>
  ) -> Bool {
    let cell = number | UInt64(slot)
    // Slots are dense: those of a small index each have a cell of their own.
    var at = Int(truncatingIfNeeded: slot ^ slot &>> 12) & (cellCount - 1)
    while met[at] >= number {
      if met[at] == cell { return false }
      at = (at &+ 1) & (cellCount - 1)
    }
    met[at] = cell
    return true
  }
}
