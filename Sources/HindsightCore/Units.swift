// Distinct types for what off-by-one errors like to mix: sequence, instant, duration, tier.

/// The position of an event in the journal: contiguous from 1; 0 means "before the first event".
public struct SequenceNumber: RawRepresentable, Hashable, Comparable, Sendable,
  CustomStringConvertible
{
  public var rawValue: UInt64

  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// Before the first event.
  @inlinable
  public static var zero: SequenceNumber { SequenceNumber(0) }

  /// The number that follows this one.
  @inlinable
  public var next: SequenceNumber { SequenceNumber(rawValue + 1) }

  @inlinable
  public static func < (a: SequenceNumber, b: SequenceNumber) -> Bool { a.rawValue < b.rawValue }

  public var description: String { String(rawValue) }
}

/// An instant in microseconds since 1970-01-01T00:00:00Z.
public struct Timestamp: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: Int64

  @inlinable
  public init(rawValue: Int64) { self.rawValue = rawValue }

  @inlinable
  public init(microseconds: Int64) { self.rawValue = microseconds }

  @inlinable
  public static var zero: Timestamp { Timestamp(rawValue: 0) }

  /// The instant `duration` later, or the last representable one where that would overflow.
  @inlinable
  public func adding(_ duration: Microseconds) -> Timestamp {
    let (sum, overflow) = rawValue.addingReportingOverflow(duration.rawValue)
    return Timestamp(rawValue: overflow ? .max : sum)
  }

  /// The time from `earlier` to this instant.
  @inlinable
  public func since(_ earlier: Timestamp) -> Microseconds {
    Microseconds(rawValue: rawValue &- earlier.rawValue)
  }

  @inlinable
  public static func < (a: Timestamp, b: Timestamp) -> Bool { a.rawValue < b.rawValue }

  public var description: String { "\(rawValue)µs" }
}

/// A length of time in microseconds. A TTL is one that is not negative.
public struct Microseconds: RawRepresentable, Hashable, Comparable, Sendable {
  public var rawValue: Int64

  @inlinable
  public init(rawValue: Int64) { self.rawValue = rawValue }

  @inlinable
  public static func seconds(_ count: Int64) -> Microseconds {
    Microseconds(rawValue: count * 1_000_000)
  }

  /// The same length in seconds, for people and for JSON.
  @inlinable
  public var seconds: Double { Double(rawValue) / 1_000_000 }

  @inlinable
  public static func < (a: Microseconds, b: Microseconds) -> Bool { a.rawValue < b.rawValue }
}

/// One of the two places in which an entry can be resident.
public enum Tier: UInt8, Sendable, Hashable, CaseIterable, CustomStringConvertible {
  /// The synchronous in-memory LRU.
  case memory = 0
  /// The asynchronous SQLite store.
  case store = 1

  public var description: String {
    switch self {
    case .memory: "memory"
    case .store: "store"
    }
  }
}

/// How much of the reading the journal records (S040).
public enum AccessLog: UInt8, Sendable, Hashable, CaseIterable, CustomStringConvertible {
  /// Nothing. The order is exact while the cache is open; a restart restores the order of the sets.
  case off = 0
  /// The order of use, exact at every eviction and at every frame's end.
  case recency = 1
  /// Every lookup with its outcome; of looks at memory alone, those that find something.
  case lookups = 2

  public var description: String {
    switch self {
    case .off: "off"
    case .recency: "recency"
    case .lookups: "lookups"
    }
  }

  public init?(_ description: String) {
    guard let match = Self.allCases.first(where: { $0.description == description }) else {
      return nil
    }
    self = match
  }
}

/// How many entries, and optionally how many bytes (keys plus encoded values), one tier may hold.
public struct TierLimit: Hashable, Sendable {
  /// At least 1.
  public var entryCountMax: UInt64
  /// `nil`: no limit by bytes.
  public var byteCountMax: UInt64?

  public init(entryCountMax: UInt64, byteCountMax: UInt64? = nil) {
    self.entryCountMax = entryCountMax
    self.byteCountMax = byteCountMax
  }
}

/// A run of bytes that may share the buffer it was read from.
public typealias Bytes = ArraySlice<UInt8>
