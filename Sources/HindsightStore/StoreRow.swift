public import HindsightCore

/// One row as the writer inserts it.
public struct StoredRow: Equatable, Sendable {
  /// The sequence number of the `set` that made the entry; at most 2^63 − 1. The row's key.
  public var origin: SequenceNumber
  /// 1 to 1,024 UTF-8 bytes.
  public var key: Bytes
  /// The encoded value, at most 16 MiB.
  public var value: Bytes
  /// Which `ValueCoder` encoded the value.
  public var coder: UInt8
  /// When the `set` happened.
  public var createdAt: Timestamp
  /// When the row expires: the store tier's expiry.
  public var expiry: Timestamp

  public init(
    origin: SequenceNumber, key: Bytes, value: Bytes, coder: UInt8, createdAt: Timestamp,
    expiry: Timestamp
  ) {
    self.origin = origin
    self.key = key
    self.value = value
    self.coder = coder
    self.createdAt = createdAt
    self.expiry = expiry
  }
}

/// One change of one row.
public enum RowOperation: Equatable, Sendable {
  /// The row must not be there yet.
  case insert(StoredRow)
  /// A row that is not there is no error: it may have come and gone within one batch.
  case delete(origin: SequenceNumber)
  /// Every row that is there.
  case deleteAll
}

/// Up to which event the rows are the projection of which journal.
public struct StoreMark: Hashable, Sendable {
  public var journalID: JournalID
  /// The last event whose effect the rows contain.
  public var applied: SequenceNumber

  public init(journalID: JournalID, applied: SequenceNumber) {
    self.journalID = journalID
    self.applied = applied
  }
}

/// How much of each row a scan brings.
public enum RowDetail: Sendable, Hashable {
  /// The value's length, without reading the value.
  case lengths
  /// The value's length and hash, without keeping the value.
  case hashes
  /// The value too.
  case values
}

/// One row as a scan sees it.
public struct RowImage: Equatable, Sendable {
  public var origin: SequenceNumber
  public var key: Bytes
  public var coder: UInt8
  public var createdAt: Timestamp
  public var expiry: Timestamp
  public var valueByteCount: UInt32
  /// XXH64 of the value, seed 0; `nil` with `RowDetail.lengths`.
  public var valueHash: UInt64?
  /// `nil` but with `RowDetail.values`.
  public var value: Bytes?

  public init(
    origin: SequenceNumber, key: Bytes, coder: UInt8, createdAt: Timestamp, expiry: Timestamp,
    valueByteCount: UInt32, valueHash: UInt64?, value: Bytes?
  ) {
    self.origin = origin
    self.key = key
    self.coder = coder
    self.createdAt = createdAt
    self.expiry = expiry
    self.valueByteCount = valueByteCount
    self.valueHash = valueHash
    self.value = value
  }
}

extension EntryImage {
  /// Whether a row, read with its value's hash, is exactly what this entry's row should be.
  package func matches(_ row: RowImage) -> Bool {
    hasKeyAndValue(of: row) && coder == row.coder && setAt == row.createdAt
      && storeExpiry == row.expiry
  }

  /// Whether a row, read with its value's hash, is of this entry, and its key and value are whole.
  package func hasKeyAndValue(of row: RowImage) -> Bool {
    origin == row.origin && key == row.key && valueByteCount == row.valueByteCount
      && valueHash == row.valueHash
  }
}
