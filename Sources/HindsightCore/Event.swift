/// One line of history: what happened, when, at which place in the order.
public struct Record: Equatable, Sendable {
  /// Contiguous from 1, except across a `gap`.
  public var sequence: SequenceNumber
  /// Never earlier than the previous record's.
  public var at: Timestamp
  public var event: Event

  public init(sequence: SequenceNumber, at: Timestamp, event: Event) {
    self.sequence = sequence
    self.at = at
    self.event = event
  }
}

/// A fact. Facts are what `CacheState.decide` turns intent into, and all that
/// `CacheState.apply` needs.
///
/// Later events name an entry by its *origin*, the sequence number of the `set` that made it.
public enum Event: Equatable, Sendable {
  indirect case opened(Opened)
  case closed(clean: Bool)
  indirect case set(ValueSet)
  indirect case invalidated(Invalidated)
  indirect case cleared(Cleared)
  case expired(origin: SequenceNumber, tier: Tier)
  case evicted(origin: SequenceNumber, tier: Tier, cause: EvictionCause)
  case promoted(origin: SequenceNumber, memoryExpiry: Timestamp)
  /// Moved to the front since the last such event, in order: the last one is now the most recent.
  case touched([SequenceNumber])
  case lookedUp(LookupSubject, LookupOutcome)
  case recovered(Recovered)
  case gap(Gap)
}

/// The configuration that is in force from this event on.
public struct Opened: Equatable, Sendable {
  public var memoryLimit: TierLimit
  /// `nil`: the cache has no store tier.
  public var storeLimit: TierLimit?
  public var memoryTTL: Microseconds
  public var storeTTL: Microseconds
  public var accessLog: AccessLog
  public var formatVersion: UInt8
  /// At most 64 UTF-8 bytes.
  public var softwareVersion: String
  /// Identifies the boot of the machine, so that a reopening in the same boot can measure what
  /// elapsed; 0 where unknown.
  public var bootID: UInt64

  public init(
    memoryLimit: TierLimit, storeLimit: TierLimit?, memoryTTL: Microseconds,
    storeTTL: Microseconds, accessLog: AccessLog, formatVersion: UInt8, softwareVersion: String,
    bootID: UInt64
  ) {
    self.memoryLimit = memoryLimit
    self.storeLimit = storeLimit
    self.memoryTTL = memoryTTL
    self.storeTTL = storeTTL
    self.accessLog = accessLog
    self.formatVersion = formatVersion
    self.softwareVersion = softwareVersion
    self.bootID = bootID
  }

  /// The limit of one tier; `nil` where the cache has no such tier.
  public func limit(of tier: Tier) -> TierLimit? {
    switch tier {
    case .memory: memoryLimit
    case .store: storeLimit
    }
  }
}

/// What of `Opened` every decision asks for, without what would have to be retained.
struct Rules: Sendable {
  var memoryLimit = TierLimit(entryCountMax: .max)
  var storeLimit: TierLimit?
  var memoryTTL = Microseconds(rawValue: 0)
  var storeTTL = Microseconds(rawValue: 0)

  init() {}

  init(_ opened: Opened) {
    memoryLimit = opened.memoryLimit
    storeLimit = opened.storeLimit
    memoryTTL = opened.memoryTTL
    storeTTL = opened.storeTTL
  }

  func limit(of tier: Tier) -> TierLimit? { tier == .memory ? memoryLimit : storeLimit }
}

/// A value was set. An expiry of `nil` means that the entry did not enter that tier.
public struct ValueSet: Equatable, Sendable {
  /// 1 to 1,024 UTF-8 bytes.
  public var key: Bytes
  /// The encoded value, at most 16 MiB.
  public var value: Bytes
  /// Which `ValueCoder` encoded the value: 1 JSON, 2 raw bytes, 128 and above the caller's own.
  public var coder: UInt8
  public var memoryExpiry: Timestamp?
  public var storeExpiry: Timestamp?
  /// At most 256 UTF-8 bytes.
  public var reason: String?

  public init(
    key: Bytes, value: Bytes, coder: UInt8, memoryExpiry: Timestamp?, storeExpiry: Timestamp?,
    reason: String?
  ) {
    self.key = key
    self.value = value
    self.coder = coder
    self.memoryExpiry = memoryExpiry
    self.storeExpiry = storeExpiry
    self.reason = reason
  }
}

/// An invalidation: of an entry, or of a key that held nothing.
public struct Invalidated: Equatable, Sendable {
  public var subject: LookupSubject
  public var reason: String?

  public init(subject: LookupSubject, reason: String?) {
    self.subject = subject
    self.reason = reason
  }
}

/// Everything whose key starts with `prefix` was removed; an empty prefix means everything.
public struct Cleared: Equatable, Sendable {
  /// At most 1,024 bytes.
  public var prefix: Bytes
  public var reason: String?
  /// Unexpired residencies that ended, per tier.
  public var memoryCount: UInt64
  public var storeCount: UInt64

  public init(prefix: Bytes, reason: String?, memoryCount: UInt64, storeCount: UInt64) {
    self.prefix = prefix
    self.reason = reason
    self.memoryCount = memoryCount
    self.storeCount = storeCount
  }
}

public enum EvictionCause: UInt8, Sendable, Hashable {
  /// Room was needed.
  case limit = 0
  /// The value could not be found where it should have been.
  case lost = 1
}

/// What a lookup or an invalidation was about.
public enum LookupSubject: Equatable, Sendable {
  case origin(SequenceNumber)
  case key(Bytes)
}

public enum LookupOutcome: UInt8, Sendable, Hashable {
  case memoryHit = 0
  case storeHit = 1
  case miss = 2
}

/// What the recovery after an unclean shutdown found and dropped.
public struct Recovered: Equatable, Sendable {
  public enum Cause: UInt8, Sendable, Hashable {
    /// The journal ended without a `closed`; nothing was damaged.
    case unclean = 0
    /// A torn tail was quarantined and dropped.
    case tornTail = 1
    /// Damage was salvaged on request.
    case salvaged = 2
  }
  public var cause: Cause
  /// Where the journal was cut; 0 where nothing was.
  public var segment: UInt32
  public var byteOffset: UInt64
  public var byteCountDropped: UInt64

  public init(cause: Cause, segment: UInt32, byteOffset: UInt64, byteCountDropped: UInt64) {
    self.cause = cause
    self.segment = segment
    self.byteOffset = byteOffset
    self.byteCountDropped = byteCountDropped
  }
}

/// Sequence numbers that the journal does not hold, and why. The event's own sequence is
/// `last + 1`, and a checkpoint at `last` holds the state from which the journal goes on.
public struct Gap: Equatable, Sendable {
  public enum Cause: UInt8, Sendable, Hashable {
    /// The cache went on in memory while the journal could not be written.
    case writeFailed = 0
    /// The store had applied more than the journal held.
    case storeAhead = 1
    /// Damage was cut out on request.
    case salvaged = 2
  }
  public var first: SequenceNumber
  public var last: SequenceNumber
  public var cause: Cause

  public init(first: SequenceNumber, last: SequenceNumber, cause: Cause) {
    self.first = first
    self.last = last
    self.cause = cause
  }
}
