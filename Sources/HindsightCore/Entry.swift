/// A place in the index. Slots are reused; an origin is not.
public typealias Slot = UInt32

/// No slot: the head of the recency ring, and "not in this heap".
let noSlot: Slot = 0

/// One key and what the index knows of it. 80 bytes, trivially copyable; the key is a block of its
/// own that the entry owns.
struct Entry {
  var key: UnsafeMutableRawPointer
  var origin: SequenceNumber
  var setAt: Timestamp
  var memoryExpiry: Timestamp
  var storeExpiry: Timestamp
  var valueHash: UInt64
  var valueByteCount: UInt32
  /// The low half of the key's hash: where the key index files the entry.
  var keyTag: UInt32
  /// Neighbours in the recency ring: `newer` towards the front, `older` towards the back.
  var newer: Slot
  var older: Slot
  /// One-based places in the expiry heaps; 0 where the entry isn't resident in that tier.
  var memoryHeapPlace: UInt32
  var storeHeapPlace: UInt32
  var keyByteCount: UInt16
  var coder: UInt8

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

/// The entries in chunks that never move, so that growing costs no pause and no copy.
///
/// Slot 0 is never handed out: it is the head of the recency ring.
struct EntryPool: ~Copyable, @unchecked Sendable {
  // Proof of Sendable: the memory behind the pointers belongs to this value alone.
  private static let chunkShift: Slot = 10
  private static let chunkCount = 1 << 10

  private var chunks: [UnsafeMutablePointer<Entry>] = []
  private var unused: Slot = 1
  private var free: [Slot] = []

  init() { addChunk() }

  deinit {
    for chunk in chunks { chunk.deallocate() }
  }

  /// One more than the highest slot ever handed out.
  var slotEnd: Slot { unused }

  /// The entry in `slot`. Unsafe memory: valid because slots come from `allocate` only and chunks
  /// are freed by `deinit` only.
  subscript(slot: Slot) -> Entry {
    @inline(__always)
    unsafeAddress {
      UnsafePointer(chunks[Int(slot >> Self.chunkShift)] + Int(slot) & (Self.chunkCount - 1))
    }
    @inline(__always)
    unsafeMutableAddress {
      chunks[Int(slot >> Self.chunkShift)] + Int(slot) & (Self.chunkCount - 1)
    }
  }

  /// A slot for a new entry, to be initialized by the caller at once.
  mutating func allocate() -> Slot {
    if let slot = free.popLast() { return slot }
    if Int(unused) == chunks.count << Int(Self.chunkShift) { addChunk() }
    unused += 1
    return unused - 1
  }

  mutating func release(_ slot: Slot) { free.append(slot) }

  private mutating func addChunk() {
    let chunk = UnsafeMutablePointer<Entry>.allocate(capacity: Self.chunkCount)
    // All-zero bytes are a valid, empty entry but for its key, which nobody reads before it is set.
    UnsafeMutableRawPointer(chunk).initializeMemory(
      as: UInt8.self, repeating: 0, count: Self.chunkCount * MemoryLayout<Entry>.stride)
    chunks.append(chunk)
  }
}
