/// An open-addressing table from a 32-bit tag of an entry to its slot: linear probing, deletion by
/// backward shift.
///
/// A cell takes 4 bytes. Its low bits hold the slot, 0 where the cell is empty; its high bits hold
/// those of the tag, so that a probe rarely goes on to a wrong entry. The tag's low bits say where
/// the cell belongs, and needn't be held: who has to know them asks the entry. There is room for
/// the slot, because slots are handed out densely: with 2^k cells there are fewer than 2^k slots.
///
/// Its order is never observable: only look-ups by tag are offered.
///
/// Proof of Sendable: it can't be copied, and the memory behind its pointers is its own until `deinit`.
struct SlotTable: ~Copyable, @unchecked Sendable {
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
  private var cells: UnsafeMutablePointer<UInt32>
  /// The number of cells, a power of two, less one.
  private var mask: UInt32
  private(set) var count = 0
  var cellCount: Int { Int(mask) + 1 }

  init(_ tag: Tag) {
    self.tag = tag
    cells = Self.allocate(16)
    mask = 15
  }

  deinit { cells.deallocate() }

  /// The slot filed under `tag` for which `matches` says yes. O(1) on average.
  @inline(__always)
  func find(tag: UInt32, where matches: (Slot) -> Bool) -> Slot? {
    var at = tag & mask
    while true {
      let cell = cells[Int(at)]
      if cell == 0 { return nil }
      if (cell ^ tag) & ~mask == 0, matches(cell & mask) { return cell & mask }
      at = (at &+ 1) & mask
    }
  }

  /// The cell where `tag` belongs.
  @inline(__always)
  func readAhead(tag: UInt32) -> UInt32 { cells[Int(tag & mask)] }

  /// Files `slot`, whose entry is not in the table yet.
  mutating func insert(_ slot: Slot, _ entries: borrowing EntryPool) {
    if (count + 1) * 16 > (Int(mask) + 1) * 13 { grow(to: (Int(mask) + 1) * 2, entries) }
    precondition(slot <= mask, "slots are handed out densely")
    place(slot, tag(entries[slot]))
    count += 1
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
      let home = tag(entries[cell & mask]) & mask
      if (at &- home) & mask >= (at &- hole) & mask {
        cells[Int(hole)] = cell
        hole = at
      }
    }
    cells[Int(hole)] = 0
    count -= 1
  }

  /// Makes room for `capacity` entries at once, so that no later insertion pauses to grow.
  mutating func reserve(_ capacity: Int, _ entries: borrowing EntryPool) {
    var wanted = Int(mask) + 1
    while capacity * 16 > wanted * 13 { wanted *= 2 }
    if wanted > Int(mask) + 1 { grow(to: wanted, entries) }
  }

  /// Traps unless every cell holds its entry's tag and is reached from where that belongs. For tests.
  func checkInvariants(_ entries: borrowing EntryPool) {
    var filed = 0
    for at in 0...mask where cells[Int(at)] != 0 {
      let tag = tag(entries[cells[Int(at)] & mask])
      precondition((cells[Int(at)] ^ tag) & ~mask == 0)
      var probe = tag & mask
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
    while cells[Int(at)] != 0 { at = (at &+ 1) & mask }
    cells[Int(at)] = tag & ~mask | slot
  }

  private mutating func grow(to capacity: Int, _ entries: borrowing EntryPool) {
    let (old, oldMask) = (cells, mask)
    cells = Self.allocate(capacity)
    mask = UInt32(capacity - 1)
    for at in 0...oldMask where old[Int(at)] != 0 {
      let slot = old[Int(at)] & oldMask
      place(slot, tag(entries[slot]))
    }
    old.deallocate()
  }

  private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<UInt32> {
    let cells = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity)
    cells.initialize(repeating: 0, count: capacity)
    return cells
  }
}
