import HindsightCore

/// Why keys were removed: the last 10,000 of them, by the hash of the key.
///
/// A ring of what was removed, and an open-addressing table from a hash to its latest place there.
/// Written by every eviction, so it is flat: a `Dictionary` cost a tenth of a `set`. And a removal is noted in the
/// ring only, and filed with others: where one hash is filed is no matter for the next one's place, so that
/// they needn't wait for memory one after the other.
struct MissMemory: Sendable {
  static let keyCountMax = 10_000
  private static let batchCount = 64
  /// The last ones, those that aren't filed yet, and a batch that is to be overwritten.
  private static let ringCount = (keyCountMax / batchCount + 2) * batchCount
  private static let cellCount = 1 << 15

  private var ring: [(keyHash: UInt64, reason: MissReason)] = []
  private var next = 0
  /// How many of those before `next` aren't filed.
  private var unfiledCount = 0
  /// Whether every place was used.
  private var isFull = false
  /// Linear probing, deletion by backward shift.
  private var cells: [Cell] = []

  private struct Cell {
    /// One-based place in the ring; 0 where nothing is.
    var place: UInt16 = 0
    /// The low bits of the hash, which tell the cell's home: a probe rarely needs the ring.
    var tag: UInt16 = 0
  }

  /// Remembers why the key with this hash is gone; forgets the oldest one over the limit.
  mutating func remember(_ keyHash: UInt64, _ ending: Ending) {
    guard let reason = MissReason(ending) else { return }
    if ring.isEmpty { begin() }
    ring[next] = (keyHash, reason)
    next += 1
    unfiledCount += 1
    if next % Self.batchCount == 0 { endBatch() }
  }

  /// Why the key with this hash is gone: where that is among the last 10,000 that were removed.
  mutating func reason(_ keyHash: UInt64) -> MissReason {
    guard !cells.isEmpty else { return .unknown }
    file()
    let place = Int(cells[find(keyHash)].place) - 1
    return place >= 0 && isRemembered(place) ? ring[place].reason : .unknown
  }

  /// How many keys are remembered.
  mutating func keyCount() -> Int {
    file()
    return cells.count { $0.place != 0 && isRemembered(Int($0.place) - 1) }
  }

  /// Whether the removal in `place`, which is filed, is one of the last ones.
  private func isRemembered(_ place: Int) -> Bool {
    let age = next > place ? next - place : next - place + Self.ringCount
    return age <= Self.keyCountMax
  }

  private mutating func begin() {
    ring = Array(repeating: (0, .unknown), count: Self.ringCount)
    cells = Array(repeating: Cell(), count: Self.cellCount)
  }

  /// Files what was noted, and frees the places of the next batch.
  private mutating func endBatch() {
    file()
    if next == Self.ringCount {
      next = 0
      isFull = true
    }
    guard isFull else { return }
    for place in next..<next + Self.batchCount { forget(place) }
  }

  private mutating func file() {
    for place in next - unfiledCount..<next {
      let keyHash = ring[place].keyHash
      cells[find(keyHash)] = Cell(
        place: UInt16(place + 1), tag: UInt16(truncatingIfNeeded: keyHash))
    }
    unfiledCount = 0
  }

  /// Where the hash is filed, or the empty cell where it would be.
  private func find(_ keyHash: UInt64) -> Int {
    let tag = UInt16(truncatingIfNeeded: keyHash)
    var at = Self.home(tag)
    while cells[at].place != 0 {
      if cells[at].tag == tag, ring[Int(cells[at].place) - 1].keyHash == keyHash { break }
      at = Self.after(at)
    }
    return at
  }

  /// Takes out what the ring has in `place`, unless the same key was removed again since.
  private mutating func forget(_ place: Int) {
    var hole = find(ring[place].keyHash)
    guard cells[hole].place == UInt16(place + 1) else { return }
    var at = Self.after(hole)
    while cells[at].place != 0 {
      let distance = (at - Self.home(cells[at].tag)) & (Self.cellCount - 1)
      if distance >= (at - hole) & (Self.cellCount - 1) {
        cells[hole] = cells[at]
        hole = at
      }
      at = Self.after(at)
    }
    cells[hole] = Cell()
  }

  private static func home(_ tag: UInt16) -> Int { Int(tag) & (cellCount - 1) }

  private static func after(_ at: Int) -> Int { (at + 1) & (cellCount - 1) }
}

extension MissReason {
  /// `nil`: a key that was replaced is there.
  fileprivate init?(_ ending: Ending) {
    switch ending {
    case .expired: self = .expired
    case .evicted: self = .evicted
    case .invalidated: self = .invalidated
    case .cleared: self = .cleared
    case .lost: self = .lost
    case .replaced: return nil
    }
  }
}
