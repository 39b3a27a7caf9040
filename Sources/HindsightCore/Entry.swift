/// A place in the index. Slots are reused; an origin is not.
public typealias Slot = UInt32

/// No slot: the head of the recency ring.
let noSlot: Slot = 0

/// One key and what the index knows of it. 88 bytes, trivially copyable; the key is a block of the
/// state's arena.
/// Its key lies in the arena of the state that owns it, and is read by who holds that state only.
struct Entry: Sendable {
  // What a hit reads comes first, so that it often is in one cache line.
  var memoryExpiry: Timestamp
  private let key: PackedKey
  /// A number of the shell's that stays with the slot; see `CacheState.attachment`.
  var attachment: UInt64
  private var memoryPlace: ExpiryPlace
  /// Neighbours in the recency ring: `newer` towards the front, `older` towards the back.
  var newer: Slot
  var older: Slot
  /// The low half of the key's hash: where the key index files the entry.
  var keyTag: UInt32
  /// The length of the value in the low bits, above it the telling.
  private var countAndTelling: UInt32
  var origin: SequenceNumber
  var setAt: Timestamp
  var storeExpiry: Timestamp
  private var storePlace: ExpiryPlace
  var valueHash: UInt64

  /// Where `newer` and `older` lie in it.
  static var linksOffset: Int { 32 }
  private static let valueBits: UInt32 = 25

  /// An entry with its key in `block`, in no list and no tier.
  init(
    _ fact: SetFact, _ value: LentValue, key block: UnsafeMutableRawPointer, attachment: UInt64
  ) {
    precondition(value.valueByteCount >> Self.valueBits == 0, "a value of over 16 MiB")
    memoryExpiry = fact.memoryExpiry ?? .zero
    key = PackedKey(block, byteCount: value.key.count, coder: fact.coder)
    self.attachment = attachment
    (memoryPlace, storePlace, newer, older) = (.none, .none, noSlot, noSlot)
    keyTag = UInt32(truncatingIfNeeded: value.keyHash)
    countAndTelling = value.valueByteCount
    origin = fact.sequence
    setAt = fact.at
    storeExpiry = fact.storeExpiry ?? .zero
    valueHash = value.valueHash
  }

  private init() {
    (memoryExpiry, key, attachment, memoryPlace, storePlace) = (.zero, .none, 0, .none, .none)
    (newer, older, keyTag, countAndTelling, origin) = (noSlot, noSlot, 0, 0, .zero)
    (setAt, storeExpiry, valueHash) = (.zero, .zero, 0)
  }

  /// What a slot holds that was never used, and the head of the recency ring.
  static let none = Entry()

  @inline(__always)
  var keyBytes: UnsafeRawBufferPointer { key.bytes }
  var keyByteCount: Int { key.byteCount }
  var keyBlock: UnsafeMutableRawPointer { key.block }
  var coder: UInt8 { key.coder }

  var valueByteCount: UInt32 { countAndTelling & (1 << Self.valueBits - 1) }

  /// The telling in which `RecencyRing` counts the entry as untold: 0 to 127.
  var telling: UInt8 {
    get { UInt8(truncatingIfNeeded: countAndTelling >> Self.valueBits) }
    set { countAndTelling = valueByteCount | UInt32(newValue) << Self.valueBits }
  }

  /// What the entry counts for against a limit by bytes: its key and its encoded value.
  var byteCount: UInt64 { UInt64(keyByteCount) + UInt64(valueByteCount) }

  func isResident(in tier: Tier) -> Bool { expiryPlace(in: tier).isResident }

  /// Whether it is resident in any tier.
  var isResident: Bool { memoryPlace.isResident || storePlace.isResident }

  /// Where the entry stands in the tier's `ExpiryOrder`.
  func expiryPlace(in tier: Tier) -> ExpiryPlace {
    switch tier {
    case .memory: memoryPlace
    case .store: storePlace
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

  mutating func setExpiryPlace(_ place: ExpiryPlace, in tier: Tier) {
    switch tier {
    case .memory: memoryPlace = place
    case .store: storePlace = place
    }
  }
}

/// Where a key lies, how long it is, and the coder of its value, in 8 bytes.
///
/// A block begins at a multiple of 8 and below 2^48, as all memory of a process does on x86-64 and
/// ARM64 that doesn't ask for higher addresses; `init` checks it.
private struct PackedKey {
  private let bits: UInt64
  private static let addressBits: UInt64 = 45
  private static let countBits: UInt64 = 11

  static let none = PackedKey()
  private init() { bits = 0 }

  init(_ block: UnsafeMutableRawPointer, byteCount: Int, coder: UInt8) {
    let address = UInt64(UInt(bitPattern: block))
    precondition(address & 7 == 0 && address >> 48 == 0, "a key's block where none can be")
    precondition(byteCount >> Int(Self.countBits) == 0)
    bits =
      address >> 3 | UInt64(byteCount) << Self.addressBits
      | UInt64(coder) << (Self.addressBits + Self.countBits)
  }

  @inline(__always)
  var block: UnsafeMutableRawPointer {
    // `init` took the address from a pointer that is not null.
    UnsafeMutableRawPointer(
      bitPattern: UInt(truncatingIfNeeded: (bits & (1 << Self.addressBits - 1)) << 3)
    ).unsafelyUnwrapped
  }

  @inline(__always)
  var byteCount: Int {
    Int(truncatingIfNeeded: bits >> Self.addressBits & (1 << Self.countBits - 1))
  }

  var coder: UInt8 { UInt8(truncatingIfNeeded: bits >> (Self.addressBits + Self.countBits)) }

  @inline(__always)
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: block, count: byteCount) }
}

/// The entries by slot. Slot 0 is the head of the recency ring.
typealias EntryPool = ChunkedPool<Entry>

extension EntryPool {
  func forEachAttachment(_ body: (UInt64) -> Void) {
    for slot in 1..<end where self[slot].attachment != 0 { body(self[slot].attachment) }
  }
}
