// What the public API is made of, so that importing Hindsight is enough, also with MemberImportVisibility.
@_exported public import enum HindsightCore.AccessLog
@_exported public import struct HindsightCore.ClockReading
@_exported public import struct HindsightCore.Microseconds
@_exported public import struct HindsightCore.SequenceNumber
@_exported public import enum HindsightCore.Tier
@_exported public import struct HindsightCore.TierLimit
@_exported public import struct HindsightCore.Timestamp

/// The answer to a lookup, with where it came from or why there is none.
public enum Lookup<Value: Sendable>: Sendable {
  case hit(Hit<Value>)
  case miss(MissReason)

  /// The value, where there is one.
  public var value: Value? {
    switch self {
    case .hit(let hit): hit.value
    case .miss: nil
    }
  }
}

/// A value and its provenance.
public struct Hit<Value: Sendable>: Sendable {
  public var value: Value
  /// Which tier answered.
  public var tier: Tier
  /// The sequence number of the `set` that the value comes from: its place in the journal.
  public var origin: SequenceNumber
  /// Since that `set`.
  public var age: Duration
  /// Until the answering tier's expiry.
  public var expiresIn: Duration
}

/// Why there is no value. Known for the last 10,000 keys that were removed since the cache was opened; else
/// `unknown`, and the history tells (`hindsight events DIR --key KEY`).
public enum MissReason: String, Sendable, Hashable, CaseIterable, Codable {
  /// It was past its expiry.
  case expired
  /// A tier's limit pushed it out.
  case evicted
  /// `invalidate` removed it, or it no longer decoded.
  case invalidated
  /// `clear` removed it.
  case cleared
  /// It could not be found where it should have been.
  case lost
  /// There never was one, or it is not known why it is gone.
  case unknown
}

/// A number for each tier.
public struct TierCounts: Hashable, Sendable, Codable {
  public var memory: Int
  public var store: Int

  public init(memory: Int, store: Int) {
    self.memory = memory
    self.store = store
  }
}

public typealias SequenceNumber = HindsightCore.SequenceNumber
public typealias Timestamp = HindsightCore.Timestamp
public typealias Microseconds = HindsightCore.Microseconds
public typealias Tier = HindsightCore.Tier
public typealias TierLimit = HindsightCore.TierLimit
public typealias AccessLog = HindsightCore.AccessLog

extension Microseconds {
  var duration: Duration { .microseconds(rawValue) }
}
