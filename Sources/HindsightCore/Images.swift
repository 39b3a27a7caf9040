/// What the index knows of an entry besides its key and its place.
public struct EntryNumbers: Equatable, Sendable {
  /// The sequence number of the `set` that made the entry.
  public var origin: SequenceNumber
  /// When that `set` happened.
  public var setAt: Timestamp
  public var coder: UInt8
  public var valueByteCount: UInt32
  /// XXH64 of the encoded value, seed 0.
  public var valueHash: UInt64
  /// `nil`: not resident in memory.
  public var memoryExpiry: Timestamp?
  /// `nil`: not resident in the store.
  public var storeExpiry: Timestamp?

  public init(
    origin: SequenceNumber, setAt: Timestamp, coder: UInt8, valueByteCount: UInt32,
    valueHash: UInt64, memoryExpiry: Timestamp?, storeExpiry: Timestamp?
  ) {
    self.origin = origin
    self.setAt = setAt
    self.coder = coder
    self.valueByteCount = valueByteCount
    self.valueHash = valueHash
    self.memoryExpiry = memoryExpiry
    self.storeExpiry = storeExpiry
  }
}

/// One entry as a checkpoint holds it: everything the index knows of it but its place.
public struct EntryImage: Equatable, Sendable {
  /// 1 to 1,024 UTF-8 bytes.
  public var key: Bytes
  public var numbers: EntryNumbers

  public init(key: Bytes, numbers: EntryNumbers) {
    self.key = key
    self.numbers = numbers
  }

  public var origin: SequenceNumber { numbers.origin }
  public var setAt: Timestamp { numbers.setAt }
  public var coder: UInt8 { numbers.coder }
  public var valueByteCount: UInt32 { numbers.valueByteCount }
  public var valueHash: UInt64 { numbers.valueHash }
  public var memoryExpiry: Timestamp? { numbers.memoryExpiry }
  public var storeExpiry: Timestamp? { numbers.storeExpiry }
}

/// The same with its key lent: nothing of it has to be retained, which for two threads that hand entries over
/// took a third of their time.
public struct LentImage {
  /// 1 to 1,024 bytes, valid during the call.
  public var key: UnsafeRawBufferPointer
  /// As `CacheState.hash(of:)` gives it.
  public var keyHash: UInt64
  public var numbers: EntryNumbers

  public init(key: UnsafeRawBufferPointer, keyHash: UInt64, numbers: EntryNumbers) {
    self.key = key
    self.keyHash = keyHash
    self.numbers = numbers
  }
}

/// What a state is apart from its entries.
public struct StateHead: Equatable, Sendable {
  /// The last event that the state contains.
  public var sequence: SequenceNumber
  /// When that event happened.
  public var at: Timestamp
  /// The configuration in force; `nil` before the first `opened`.
  public var opened: Opened?
  /// Whether the last `opened` was followed by a `closed`.
  public var isClosed: Bool

  public init(sequence: SequenceNumber, at: Timestamp, opened: Opened?, isClosed: Bool) {
    self.sequence = sequence
    self.at = at
    self.opened = opened
    self.isClosed = isClosed
  }

  /// Whether the journal tells the order of use, as far as is known.
  public var tellsOrder: Bool { opened?.accessLog != .off }

  /// Whether a configuration has been in force. Asked of every event: comparing `opened` with `nil` copies it,
  /// and retains what is in it.
  var hasOpened: Bool { if case .none = opened { false } else { true } }
}

/// Identifies one journal, so that a store can tell whose projection it is. 128 random bits.
public struct JournalID: Hashable, Sendable, CustomStringConvertible {
  public var high: UInt64
  public var low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// Of no journal: in a store's mark, that its rows are no journal's projection.
  public static let nobody = JournalID(high: 0, low: 0)

  /// 32 hexadecimal digits.
  public var description: String {
    [high, low].map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }
}
