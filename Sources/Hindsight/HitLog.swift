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
///
/// While the lock is shared each lane has a log of its own. One after the other, after the common one, they
/// make an order in which each thread's hits keep theirs; there is no other between two threads that do
/// nothing but hit.
///
/// Proof of Sendable: the memory behind the pointers is this value's alone, from `init` to `deinit`. It is
/// touched by the holder of the lock; a lane's log while the lock is shared by who is in the lane.
struct HitLog: ~Copyable, Sendable {
  static let capacity = 2_048
  /// In a small index nearly every hit falls on an entry that is in the log already: the longer the log, the
  /// fewer moves a hit.
  static let smallCapacity = 8_192
  static let smallEntryCount = 4_096
  /// In a large index, where few hits fall on an entry that is in the log already and each takes longest
  /// to move, so that nobody waits long for the settling.
  static let largeCapacity = 128
  private static let largeEntryCount = 1 << 16
  /// Hits that one lane's log holds in a small index. In a larger one all lanes together hold as many as the
  /// common log.
  static let laneCapacity = 4_096
  /// So many hits in a row, and the lock may be shared.
  private static let streakMin = 64
  /// So many entries are moved at a time.
  private static let batchCount = 32

  nonisolated(unsafe) private var slots = UnsafeMutablePointer<Slot>.allocate(
    capacity: HitLog.smallCapacity)
  private(set) var count = 0
  private var countMax = HitLog.capacity
  /// With how many entries the limits hold.
  private var entryCountMax = 0
  /// Each lane's hits, their number in front; none before the lane is opened.
  nonisolated(unsafe) private let lanes = UnsafeMutablePointer<UnsafeMutablePointer<Slot>?>
    .allocate(
      capacity: Int(Lane.count))
  private var openedLaneCount = 0
  private var laneCountMax = 0
  /// Whether hits may have come by the lanes since the last settling.
  private(set) var isShared = false
  /// Hits since the lock was last taken for anything else.
  private(set) var streak = 0
  /// Which entries the settling at hand has met: a hash table of at least twice as many cells as logs can have
  /// different entries, each a slot and above it the number of the settling.
  nonisolated(unsafe) private let met = UnsafeMutablePointer<UInt64>.allocate(
    capacity: HitLog.cellCount)
  private static let cellCount = 2 * max(smallEntryCount, 2 * capacity)
  private static let fewCellCount = 1_024
  private var settling: UInt32 = 0

  init() {
    met.initialize(repeating: 0, count: Self.cellCount)
    lanes.initialize(repeating: nil, count: Int(Lane.count))
  }

  deinit {
    slots.deallocate()
    met.deallocate()
    for lane in 0..<Int(Lane.count) { lanes[lane]?.deallocate() }
    lanes.deallocate()
  }

  var isFull: Bool { count >= countMax }

  /// Whether the index is a large one.
  @inline(__always)
  var isShort: Bool { countMax == Self.largeCapacity }

  /// Whether there is nothing to settle.
  var isEmpty: Bool { count == 0 && !isShared }

  @inline(__always)
  mutating func append(_ slot: Slot) {
    assert(count < Self.smallCapacity)
    slots[count] = slot
    count &+= 1
    streak &+= 1
  }

  // MARK: Lanes

  /// Whether there was nothing but hits for so long that the lock may be shared.
  var isLongStreak: Bool { streak >= Self.streakMin && countMax > 0 }

  /// Something else than a hit happens.
  mutating func endStreak() { streak = 0 }

  /// The lock is about to be shared, and the lane about to be used.
  mutating func share(_ lane: Lane) {
    isShared = true
    guard lanes[Int(lane.number)] == nil else { return }
    let log = UnsafeMutablePointer<Slot>.allocate(capacity: 1 + Self.laneCapacity)
    log.initialize(to: 0)
    lanes[Int(lane.number)] = log
    openedLaneCount += 1
    makeRoom(Self.smallCapacity + openedLaneCount * Self.laneCapacity)
    laneCountMax = 0
  }

  /// Notes a hit in the lane's log, which is the caller's as long as it is in the lane.
  /// - Returns: whether there was room.
  @inline(__always)
  func note(_ slot: Slot, _ lane: Lane) -> Bool {
    guard let log = lanes[Int(lane.number)] else { return false }
    let count = log[0]
    guard count < laneCountMax else { return false }
    log[Int(count) + 1] = slot
    log[0] = count + 1
    return true
  }

  /// Puts the lanes' hits behind the others.
  private mutating func gather() {
    isShared = false
    for lane in 0..<Int(Lane.count) {
      guard let log = lanes[lane], log[0] > 0 else { continue }
      (slots + count).update(from: log + 1, count: Int(log[0]))
      count += Int(log[0])
      log[0] = 0
    }
  }

  /// Room for the hits of all logs together. Those that there are stay.
  private mutating func makeRoom(_ capacity: Int) {
    let larger = UnsafeMutablePointer<Slot>.allocate(capacity: capacity)
    larger.update(from: slots, count: count)
    slots.deallocate()
    slots = larger
  }

  // MARK: Settling

  /// Empties the log: moves each entry in it once, in the order of their last hits.
  /// - Returns: how many hits there were.
  @discardableResult
  mutating func settle(_ core: inout CacheState) -> Int {
    if isShared { gather() }
    let hitCount = count
    let first = count > 1 ? compact(core.entryCount) : 0
    for start in stride(from: first, to: count, by: Self.batchCount) {
      let batch = UnsafeBufferPointer(
        start: slots + start, count: min(Self.batchCount, count - start))
      core.prefetchForTouch(batch)
      for slot in batch { core.touch(slot) }
    }
    count = 0
    setLimits(core)
    return hitCount
  }

  /// Whether the index has become too large for the log's limits, which a settling sets.
  @inline(__always)
  func isOutgrown(_ core: borrowing CacheState) -> Bool { core.entryCount > entryCountMax }

  /// How many hits the logs hold, by how large the index is.
  mutating func setLimits(_ core: borrowing CacheState) {
    switch core.entryCount {
    case ...Self.smallEntryCount:
      entryCountMax = Self.smallEntryCount
      (countMax, laneCountMax) = (Self.smallCapacity, Self.laneCapacity)
    case ...Self.largeEntryCount:
      entryCountMax = Self.largeEntryCount
      (countMax, laneCountMax) = (Self.capacity, Self.capacity / max(1, openedLaneCount))
    default:
      entryCountMax = .max
      (countMax, laneCountMax) = (
        Self.largeCapacity, min(Self.largeCapacity, Self.capacity / max(1, openedLaneCount))
      )
    }
    // Whoever has settled it: the next hit sees to a telling.
    if core.hasManyUntoldTouches { (countMax, laneCountMax) = (0, 0) }
  }

  /// Moves the last hits of all entries to the end of the log, in order.
  /// - Returns: the first one's place.
  private mutating func compact(_ entryCount: Int) -> Int {
    // The table has room for all that limits allow which fit the index. Moving an entry for each of its hits
    // gives the same list.
    guard min(count, entryCount) <= Self.cellCount / 4 * 3 else { return 0 }
    if settling == .max {
      met.update(repeating: 0, count: Self.cellCount)
      settling = 0
    }
    settling += 1
    let number = UInt64(settling) << 32
    // A short log needs few cells, which stay in the processor's first cache.
    let mask = (count <= Self.fewCellCount / 4 ? Self.fewCellCount : Self.cellCount) - 1
    let (slots, met) = (slots, met)
    var first = count
    var place = count
    while place > 0 {
      place &-= 1
      let slot = slots[place]
      // Whether it is kept can't be foretold: it is written in any case, over one that was looked at.
      slots[first &- 1] = slot
      first &-= Self.meet(slot, number, met, mask) ? 1 : 0
    }
    return first
  }

  /// Whether the settling of this number (in the high half) meets the entry for the first time.
  @inline(__always)
  private static func meet(
    _ slot: Slot, _ number: UInt64, _ met: UnsafeMutablePointer<UInt64>, _ mask: Int
  ) -> Bool {
    let cell = number | UInt64(slot)
    // Slots are dense: those of a small index each have a cell of their own.
    var at = Int(truncatingIfNeeded: slot ^ slot &>> 12) & mask
    while met[at] >= number, met[at] != cell { at = (at &+ 1) & mask }
    let isFirst = met[at] != cell
    met[at] = cell
    return isFirst
  }
}
