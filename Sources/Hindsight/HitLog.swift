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
struct HitLog: ~Copyable, @unchecked Sendable {
  // Proof of Sendable: the memory behind the pointer belongs to this value alone.
  static let capacity = 2_048
  /// So many entries are moved at a time.
  private static let batchCount = 32

  private let slots = UnsafeMutablePointer<Slot>.allocate(capacity: HitLog.capacity)
  private(set) var count = 0
  /// By slot: the last settling that met it. What isn't as long as the index counts as 0.
  private var marks: [UInt32] = []
  private var settling: UInt32 = 0
  /// What reading ahead came to: of no meaning.
  private var read: Slot = 0

  deinit { slots.deallocate() }

  var isFull: Bool { count == Self.capacity }

  @inline(__always)
  mutating func append(_ slot: Slot) {
    assert(!isFull)
    slots[count] = slot
    count &+= 1
  }

  /// Empties the log: moves each entry in it once, in the order of their last hits.
  mutating func settle(_ core: inout CacheState) {
    let first = count > 1 ? compact(core.slotEnd) : 0
    for start in stride(from: first, to: count, by: Self.batchCount) {
      let batch = UnsafeBufferPointer(
        start: slots + start, count: min(Self.batchCount, count - start))
      read = core.readAhead(batch)
      for slot in batch { core.touch(slot) }
    }
    count = 0
  }

  /// Moves the last hits of all entries to the end of the log, in order.
  /// - Returns: the first one's place.
  private mutating func compact(_ slotEnd: Slot) -> Int {
    if marks.count < Int(slotEnd) {
      marks.append(contentsOf: repeatElement(0, count: Int(slotEnd) - marks.count))
    }
    if settling == .max {
      for slot in marks.indices { marks[slot] = 0 }
      settling = 0
    }
    settling += 1
    var first = count
    for place in stride(from: count - 1, through: 0, by: -1) {
      let slot = slots[place]
      guard marks[Int(slot)] != settling else { continue }
      marks[Int(slot)] = settling
      first -= 1
      slots[first] = slot
    }
    return first
  }
}
