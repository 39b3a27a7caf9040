internal import CHindsightPrefetch

/// An open-addressing table from a 32-bit tag of an entry to its slot: linear probing, deletion by
/// backward shift.
///
/// A cell takes 4 bytes, and is 0 where it is empty. Its low bits hold the slot; there is room for
/// that, because slots are handed out densely: with 2^k cells there are fewer than 2^k slots. The
/// next four bits say how far the cell is from where it belongs, so that taking one out reads no
/// entry but its own; 15, which is rare, means at least so far, and then the entry has to be asked.
/// What is left holds the high bits of the tag, so that a probe rarely goes on to a wrong entry. The
/// tag's low bits say where the cell belongs, and needn't be held.
///
/// Its order is never observable: only look-ups by tag are offered.
///
/// Proof of Sendable: it can't be copied, and the memory behind its pointers is its own until `deinit`.
struct SlotTable: ~Copyable, Sendable {
  /// What the entries are filed under.
  enum Tag {
    case key
    case origin(seed: UInt64)

    @inline(__always)
    func callAsFunction(_ entry: Entry) -> UInt32 {
      switch self {
      case .key: entry.keyTag
      case .origin(let seed): CacheState.tag(of: entry.origin, seed: seed)
      }
    }
  }

  private let tag: Tag
  nonisolated(unsafe) private var cells: UnsafeMutablePointer<UInt32>
  /// The number of cells, a power of two from 16 to 2^31, less one: the bits of the slot.
  private var mask: UInt32
  private var slotBitCount: UInt32
  /// The bits of the distance: as many of four as the slot leaves.
  private var distances: UInt32
  /// The other ones, of the tag.
  private var tagBits: UInt32
  private(set) var count = 0
  var cellCount: Int { Int(mask) + 1 }

  init(_ tag: Tag) {
    self.tag = tag
    cells = Self.allocate(16)
    (mask, slotBitCount, distances, tagBits) = Self.layout(16)
  }

  deinit { cells.deallocate() }

  /// The slot filed under `tag` for which `matches` says yes. O(1) on average.
  @inline(__always)
  func find(tag: UInt32, where matches: (Slot) -> Bool) -> Slot? {
    var at = tag & mask
    while true {
      let cell = cells[Int(at)]
      if cell == 0 { return nil }
      if (cell ^ tag) & tagBits == 0, matches(cell & mask) { return cell & mask }
      at = (at &+ 1) & mask
    }
  }

  /// Asks for the memory of the cell where `tag` belongs.
  @inline(__always)
  func prefetch(tag: UInt32) { hindsight_prefetch(cells + Int(tag & mask)) }

  /// The slot in the cell where `tag` belongs, which most often is that of the entry sought; `noSlot`
  /// where none is.
  @inline(__always)
  func candidate(tag: UInt32) -> Slot { cells[Int(tag & mask)] & mask }

  /// Where the cells are at present, for who asks for their memory without holding the table.
  var place: CellsPlace { CellsPlace(UnsafeRawPointer(cells), cellCount) }

  /// The cell where `tag` belongs.
  @inline(__always)
  func readAhead(tag: UInt32) -> UInt32 { cells[Int(tag & mask)] }

  /// Files `slot`, whose entry is not in the table yet.
  mutating func insert(_ slot: Slot, _ entries: borrowing EntryPool) {
    makeRoom(for: slot, entries)
    place(slot, tag(entries[slot]))
    count += 1
  }

  /// Files `slot`, unless one is there under its tag for whose entry `matches` says yes.
  /// - Returns: whether it was filed.
  @inline(__always)
  mutating func insert(
    _ slot: Slot, _ entries: borrowing EntryPool, unless matches: (borrowing Entry) -> Bool
  ) -> Bool {
    makeRoom(for: slot, entries)
    let tag = tag(entries[slot])
    var at = tag & mask
    var cell = tag & tagBits | slot
    while true {
      let found = cells[Int(at)]
      if found == 0 { break }
      if (found ^ tag) & tagBits == 0, matches(entries[found & mask]) { return false }
      at = (at &+ 1) & mask
      cell = further(cell)
    }
    cells[Int(at)] = cell
    count += 1
    return true
  }

  @inline(__always)
  private mutating func makeRoom(for slot: Slot, _ entries: borrowing EntryPool) {
    if !Self.holds(count + 1, cellCount) { grow(to: cellCount * 2, entries) }
    precondition(slot <= mask, "slots are handed out densely")
  }

  /// Takes `slot` out. Its entry must be there under its tag.
  mutating func remove(_ slot: Slot, _ entries: borrowing EntryPool) {
    var hole = tag(entries[slot]) & mask
    while cells[Int(hole)] & mask != slot {
      precondition(cells[Int(hole)] != 0, "slot \(slot) is not filed under its tag")
      hole = (hole &+ 1) & mask
    }
    var at = hole
    while true {
      at = (at &+ 1) & mask
      let cell = cells[Int(at)]
      if cell == 0 { break }
      let shift = (at &- hole) & mask
      let distance = distance(of: cell, at: at, entries)
      if distance >= shift {
        cells[Int(hole)] = cell & ~distances | held(distance - shift)
        hole = at
      }
    }
    cells[Int(hole)] = 0
    count -= 1
  }

  /// Makes room for `capacity` entries at once, so that no later insertion pauses to grow.
  mutating func reserve(_ capacity: Int, _ entries: borrowing EntryPool) {
    var wanted = Int(mask) + 1
    while !Self.holds(capacity, wanted) { wanted *= 2 }
    if wanted > Int(mask) + 1 { grow(to: wanted, entries) }
  }

  /// Traps unless every cell holds its entry's tag and is reached from where that belongs. For tests.
  func checkInvariants(_ entries: borrowing EntryPool) {
    var filed = 0
    for at in 0...mask where cells[Int(at)] != 0 {
      let tag = tag(entries[cells[Int(at)] & mask])
      var probe = tag & mask
      precondition(
        cells[Int(at)] == tag & tagBits | held((at &- probe) & mask)
          | cells[Int(at)] & mask)
      while probe != at {
        precondition(cells[Int(probe)] != 0)
        probe = (probe &+ 1) & mask
      }
      filed += 1
    }
    precondition(filed == count)
  }

  private mutating func place(_ slot: Slot, _ tag: UInt32) {
    var at = tag & mask
    var cell = tag & tagBits | slot
    while cells[Int(at)] != 0 {
      at = (at &+ 1) & mask
      cell = further(cell)
    }
    cells[Int(at)] = cell
  }

  /// What `cell` is one cell further from where it belongs.
  @inline(__always)
  private func further(_ cell: UInt32) -> UInt32 {
    cell & distances == distances ? cell : cell &+ 1 &<< slotBitCount
  }

  /// A distance as a cell holds it.
  @inline(__always)
  private func held(_ distance: UInt32) -> UInt32 {
    min(distance, distances &>> slotBitCount) &<< slotBitCount
  }

  /// How far `cell` is from where it belongs.
  @inline(__always)
  private func distance(
    of cell: UInt32, at place: UInt32, _ entries: borrowing EntryPool
  ) -> UInt32 {
    let held = cell & distances
    if held < distances { return held &>> slotBitCount }
    return (place &- tag(entries[cell & mask])) & mask
  }

  private mutating func grow(to capacity: Int, _ entries: borrowing EntryPool) {
    let (old, oldMask) = (cells, mask)
    cells = Self.allocate(capacity)
    (mask, slotBitCount, distances, tagBits) = Self.layout(capacity)
    for at in 0...oldMask where old[Int(at)] != 0 {
      let slot = old[Int(at)] & oldMask
      place(slot, tag(entries[slot]))
    }
    old.deallocate()
  }

  /// Whether so many entries are few enough: thirteen for sixteen cells. In a small table, which costs little,
  /// one for four: then most lie where they belong, with nothing behind, and whether one has to look on, which
  /// the processor can't foretell, is seldom asked.
  @inline(__always)
  private static func holds(_ entryCount: Int, _ cellCount: Int) -> Bool {
    entryCount * 16 <= cellCount * (cellCount <= smallCellCount ? 4 : 13)
  }

  private static var smallCellCount: Int { 8_192 }

  private static func layout(
    _ capacity: Int
  ) -> (mask: UInt32, slotBitCount: UInt32, distances: UInt32, tagBits: UInt32) {
    let mask = UInt32(capacity - 1)
    let either = mask << 4 | 15
    return (mask, UInt32(capacity.trailingZeroBitCount), either & ~mask, ~either)
  }

  private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<UInt32> {
    let cells = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity)
    cells.initialize(repeating: 0, count: capacity)
    return cells
  }
}

/// Where the cells of a `SlotTable` are, or were, as a word. Whoever has it can't read them, but may
/// ask for their memory, which never fails, whatever is there by now.
public struct CellsPlace: RawRepresentable, Equatable, Sendable {
  /// The address in the low 56 bits, above it the binary logarithm of the number of cells.
  public let rawValue: UInt64

  public init(rawValue: UInt64) { self.rawValue = rawValue }

  fileprivate init(_ cells: UnsafeRawPointer, _ count: Int) {
    rawValue =
      UInt64(UInt(bitPattern: cells)) & (1 << 56 - 1)
      | UInt64(count.trailingZeroBitCount) << 56
  }

  /// Whether the table is for so many entries that the processor's caches hardly hold them.
  @inline(__always)
  public var isLarge: Bool { rawValue >> 56 > 14 }

  /// Asks for the memory of the cell where a key with this hash belongs.
  @inline(__always)
  public func prefetch(_ keyHash: UInt64) {
    let mask = UInt32(truncatingIfNeeded: (1 as UInt64) &<< (rawValue >> 56) &- 1)
    let offset = UInt(UInt32(truncatingIfNeeded: keyHash) & mask) * 4
    hindsight_prefetch(
      UnsafeRawPointer(bitPattern: UInt(truncatingIfNeeded: rawValue & (1 << 56 - 1)) &+ offset))
  }
}
