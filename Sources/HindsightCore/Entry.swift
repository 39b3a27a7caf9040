/// A place in the index. Slots are reused; an origin is not.
public typealias Slot = UInt32

/// No slot: the head of the recency ring.
let noSlot: Slot = 0

/// One key and what the index knows of it, but for its links in the recency ring and its residency in the
/// store (see `EntryPool`). 64 bytes, one line of the processor's cache; trivially copyable.
/// Its key lies in the arena of the state that owns it, and is read by who holds that state only.
struct Entry: Sendable {
  var memoryExpiry: Timestamp
  private let key: PackedKey
  /// A number of the shell's that stays with the slot; see `CacheState.attachment`.
  var attachment: UInt64
  var memoryPlace: ExpiryPlace
  var origin: SequenceNumber
  var setAt: Timestamp
  var valueHash: UInt64
  /// The low half of the key's hash: where the key index files the entry.
  var keyTag: UInt32
  /// The length of the value in the low bits, above it the telling.
  private var countAndTelling: UInt32

  /// How many bytes a line of the processor's cache has, on x86-64 and nearly all of ARM64.
  static var lineByteCount: Int { 64 }
  private static let valueBits: UInt32 = 25

  /// An entry with its key in `block`, in no list and no tier.
  init(
    _ fact: SetFact, _ value: LentValue, key block: UnsafeMutableRawPointer, attachment: UInt64
  ) {
    precondition(value.valueByteCount >> Self.valueBits == 0, "a value of over 16 MiB")
    memoryExpiry = fact.memoryExpiry ?? .zero
    key = PackedKey(block, byteCount: value.key.count, coder: fact.coder)
    self.attachment = attachment
    memoryPlace = .none
    keyTag = UInt32(truncatingIfNeeded: value.keyHash)
    countAndTelling = value.valueByteCount
    origin = fact.sequence
    setAt = fact.at
    valueHash = value.valueHash
  }

  private init() {
    (memoryExpiry, key, attachment, memoryPlace) = (.zero, .none, 0, .none)
    (origin, setAt, valueHash, keyTag, countAndTelling) = (.zero, .zero, 0, 0, 0)
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
