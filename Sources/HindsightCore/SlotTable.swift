/// An open-addressing table from a 32-bit tag to a slot: linear probing, deletion by backward
/// shift. Each cell holds tag and slot side by side, so that a probe rarely leaves the cache line.
///
/// Its order is never observable: only look-ups by tag are offered.
struct SlotTable: ~Copyable, @unchecked Sendable {
  // Proof of Sendable: the memory behind the pointer belongs to this value alone.
  private struct Cell {
    var tag: UInt32
    var slot: Slot
  }

  private var cells: UnsafeMutablePointer<Cell>
  private var mask: Int
  private(set) var count = 0

  init(minimumCapacity: Int = 16) {
    let capacity = Self.cellCount(for: minimumCapacity)
    cells = Self.allocate(capacity)
    mask = capacity - 1
  }

  deinit { cells.deallocate() }

  /// The slot filed under `tag` for which `matches` says yes. O(1) on average.
  @inline(__always)
  func find(tag: UInt32, where matches: (Slot) -> Bool) -> Slot? {
    var at = Int(tag) & mask
    while true {
      let cell = cells[at]
      if cell.slot == noSlot { return nil }
      if cell.tag == tag, matches(cell.slot) { return cell.slot }
      at = (at + 1) & mask
    }
  }

  /// Files `slot`, which is not in the table yet, under `tag`.
  mutating func insert(_ slot: Slot, tag: UInt32) {
    if (count + 1) * 16 > (mask + 1) * 13 { grow(to: (mask + 1) * 2) }
    place(Cell(tag: tag, slot: slot))
    count += 1
  }

  /// Takes `slot` out. It must be there under that tag.
  mutating func remove(_ slot: Slot, tag: UInt32) {
    var hole = Int(tag) & mask
    while cells[hole].slot != slot {
      precondition(cells[hole].slot != noSlot, "slot \(slot) is not filed under its tag")
      hole = (hole + 1) & mask
    }
    var at = hole
    while true {
      at = (at + 1) & mask
      let cell = cells[at]
      if cell.slot == noSlot { break }
      let home = Int(cell.tag) & mask
      if (at - home) & mask >= (at - hole) & mask {
        cells[hole] = cell
        hole = at
      }
    }
    cells[hole] = Cell(tag: 0, slot: noSlot)
    count -= 1
  }

  /// Makes room for `capacity` entries at once, so that no later insertion pauses to grow.
  mutating func reserve(_ capacity: Int) {
    let wanted = Self.cellCount(for: capacity)
    if wanted > mask + 1 { grow(to: wanted) }
  }

  private mutating func place(_ cell: Cell) {
    var at = Int(cell.tag) & mask
    while cells[at].slot != noSlot { at = (at + 1) & mask }
    cells[at] = cell
  }

  private mutating func grow(to capacity: Int) {
    let old = cells
    let oldCount = mask + 1
    cells = Self.allocate(capacity)
    mask = capacity - 1
    for at in 0..<oldCount where old[at].slot != noSlot { place(old[at]) }
    old.deallocate()
  }

  private static func cellCount(for entries: Int) -> Int {
    var capacity = 16
    while entries * 16 > capacity * 13 { capacity *= 2 }
    return capacity
  }

  private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<Cell> {
    let cells = UnsafeMutablePointer<Cell>.allocate(capacity: capacity)
    cells.initialize(repeating: Cell(tag: 0, slot: noSlot), count: capacity)
    return cells
  }
}
