/// A place in the index. Slots are reused; an origin is not.
public typealias Slot = UInt32

/// No slot: the head of the recency ring, and "not in this heap".
let noSlot: Slot = 0

/// One key and what the index knows of it. 80 bytes, trivially copyable; the key is a block of the
/// state's arena.
struct Entry: @unchecked Sendable {
  // Proof of Sendable: an entry is used by the holder of the state that owns it, never by two.

  // What a hit reads and writes comes first, so that it often is in one cache line.
  var key: UnsafeMutableRawPointer?
  var memoryExpiry: Timestamp
  /// A number of the shell's that stays with the slot; see `CacheState.attachment`.
  var attachment: UInt32
  /// One-based places in the expiry heaps; 0 where the entry isn't resident in that tier.
  var memoryHeapPlace: UInt32
  var storeHeapPlace: UInt32
  /// Neighbours in the recency ring: `newer` towards the front, `older` towards the back.
  var newer: Slot
  var older: Slot
  var keyByteCount: UInt16
  var coder: UInt8
  /// The telling in which `RecencyRing` counts the entry as untold.
  var telling: UInt8 = 0
  /// The low half of the key's hash: where the key index files the entry.
  var keyTag: UInt32
  var valueByteCount: UInt32
  var origin: SequenceNumber
  var setAt: Timestamp
  var storeExpiry: Timestamp
  var valueHash: UInt64

  /// What a slot holds that was never used, and the head of the recency ring.
  static let none = Entry(
    key: nil, memoryExpiry: .zero, attachment: 0, memoryHeapPlace: 0, storeHeapPlace: 0,
    newer: noSlot, older: noSlot, keyByteCount: 0, coder: 0, keyTag: 0, valueByteCount: 0,
    origin: .zero, setAt: .zero, storeExpiry: .zero, valueHash: 0)

  var keyBytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: key, count: Int(keyByteCount))
  }

  /// What the entry counts for against a limit by bytes: its key and its encoded value.
  var byteCount: UInt64 { UInt64(keyByteCount) + UInt64(valueByteCount) }

  func isResident(in tier: Tier) -> Bool { heapPlace(in: tier) != 0 }

  func heapPlace(in tier: Tier) -> UInt32 {
    switch tier {
    case .memory: memoryHeapPlace
    case .store: storeHeapPlace
    }
  }

  func expiry(in tier: Tier) -> Timestamp {
    switch tier {
    case .memory: memoryExpiry
    case .store: storeExpiry
    }
  }

  /// INV016: expired means now ≥ expiry, and what is expired counts as absent.
  func isLive(in tier: Tier, at now: Timestamp) -> Bool {
    isResident(in: tier) && now < expiry(in: tier)
  }

  mutating func setHeapPlace(_ place: UInt32, in tier: Tier) {
    switch tier {
    case .memory: memoryHeapPlace = place
    case .store: storeHeapPlace = place
    }
  }
}

/// The entries by slot. Slot 0 is the head of the recency ring.
typealias EntryPool = ChunkedPool<Entry>
