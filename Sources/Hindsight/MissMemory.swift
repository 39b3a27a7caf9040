import HindsightCore

/// Why keys were removed: the last 10,000 of them, by the hash of the key.
///
/// A ring of what was removed, and an open-addressing table from a hash to its latest place there.
/// Written by every eviction, so it is flat: a `Dictionary` cost a tenth of a `set`.
struct MissMemory: Sendable {
  static let keyCountMax = 10_000
  private static let cellCount = 1 << 15

  private var ring: [(keyHash: UInt64, reason: MissReason)] = []
  private var next = 0
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
    if cells.isEmpty { cells = Array(repeating: Cell(), count: Self.cellCount) }
    if ring.count < Self.keyCountMax {
      ring.append((keyHash, reason))
    } else {
      forget(next)
      ring[next] = (keyHash, reason)
    }
    cells[find(keyHash)] = Cell(place: UInt16(next + 1), tag: UInt16(truncatingIfNeeded: keyHash))
    next = next + 1 == Self.keyCountMax ? 0 : next + 1
  }

  func reason(_ keyHash: UInt64) -> MissReason {
    guard !cells.isEmpty else { return .unknown }
    let place = Int(cells[find(keyHash)].place)
    return place == 0 ? .unknown : ring[place - 1].reason
  }

  /// How many keys are filed: those that are remembered.
  var filedCount: Int { cells.count { $0.place != 0 } }

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
