import HindsightCore

/// Memory hits that the recency list doesn't know of yet, in their order.
///
/// Moving an entry to the front of a list writes to four entries, which for a large cache are four
/// cache misses; noting its slot writes to one line that is in the cache already. Whoever takes the
/// lock for anything else than a hit settles the log first: it moves the noted entries to the
/// front, in order, as if each hit had done so itself. So nothing but hits ever happens between a
/// hit and its move, the list is exact whenever somebody looks at it, and a noted slot can't have
/// been reused. An entry that was hit repeatedly is moved once, by its last hit: that gives the
/// same list.
struct HitLog: ~Copyable, @unchecked Sendable {
  // Proof of Sendable: the memory behind the pointer belongs to this value alone.
  static let capacity = 1_024

  struct Hit {
    var slot: Slot
    /// Where the entry's payload is.
    var payload: UInt32
  }

  private let hits = UnsafeMutablePointer<Hit>.allocate(capacity: HitLog.capacity)
  private(set) var count = 0

  deinit { hits.deallocate() }

  var isFull: Bool { count == Self.capacity }

  /// Notes a hit.
  /// - Returns: its place, to be kept with the entry.
  @inline(__always)
  mutating func append(_ hit: Hit) -> UInt32 {
    assert(!isFull)
    hits[count] = hit
    count &+= 1
    return UInt32(truncatingIfNeeded: count &- 1)
  }

  @inline(__always)
  subscript(place: Int) -> Hit { hits[place] }

  mutating func removeAll() { count = 0 }
}
