/// Numbers about a cache, counted since it was opened unless they say otherwise (T040.18, T010.23).
public struct CacheStatistics: Sendable, Hashable, Codable {
  /// Lookups that a tier answered.
  public var hits = TierCounts(memory: 0, store: 0)
  /// Lookups that no tier answered. A look at memory alone that finds nothing is none.
  public var misses = 0
  /// Values set.
  public var sets = 0
  /// Calls of `invalidate`, also where nothing was there, and values that no longer decoded.
  public var invalidations = 0
  /// Store hits that brought their value into memory.
  public var promotions = 0
  /// Values that a tier let go of, to keep its limit or since they were lost. One that leaves both tiers
  /// counts in both.
  public var evictions = TierCounts(memory: 0, store: 0)
  /// Values that a tier removed as past their expiry. One that leaves both tiers counts in both.
  public var expiries = TierCounts(memory: 0, store: 0)
  /// Entries now, per tier, with those that are past their expiry and not yet removed: `Cache.count` leaves
  /// these out.
  public var entries = TierCounts(memory: 0, store: 0)
  /// Bytes of keys and encoded values now, per tier.
  public var bytes = TierCounts(memory: 0, store: 0)
  /// The last event.
  public var lastSequence: UInt64 = 0
  /// The last event that survives a killed process.
  public var writtenSequence: UInt64 = 0
  /// The last event that survives a power loss.
  public var durableSequence: UInt64 = 0
  /// The last event that the store has.
  public var appliedSequence: UInt64 = 0
  /// Durable events that the store hasn't applied yet.
  public var projectionLag: UInt64 = 0
  /// Bytes of encoded values kept in memory until the store has them.
  public var pinnedByteCount: UInt64 = 0
  /// Bytes of events, before compression, kept in memory since they are written but not durable.
  public var unsyncedByteCount: UInt64 = 0
  /// Bytes of the store's write-ahead log in use. A checkpoint empties it at 16 MiB, unless a
  /// reader of another process holds a snapshot: it then grows for as long as that does.
  public var storeLogByteCount: UInt64 = 0
  /// Whether such a reader held part of the log back at the last checkpoint.
  public var isStoreLogHeld = false
  /// Bytes written to all segments. The space allocated ahead, up to `segmentByteCount` on disk, is not
  /// counted.
  public var journalByteCount: UInt64 = 0
  /// Queries to SQLite.
  public var storeQueries = 0
  /// Lookups that the access log should hold and, the journal being behind, does not.
  public var lookupsNotLogged = 0
  /// Events that the journal lacks since it couldn't be written (`.continueInMemory`).
  public var unjournaledEvents = 0
  /// What is wrong with journal or store at present, in words; `nil` where all is well.
  public var journalTrouble: String?
  public var storeTrouble: String?
}

/// What one registry holds: entries, and bytes of their keys and encoded values.
public struct RegistryStatistics: Sendable, Hashable, Codable {
  public var entries = 0
  public var bytes = 0
}
