/// Numbers about a cache, counted since it was opened unless they say otherwise (T040.18, T010.23).
public struct CacheStatistics: Sendable, Hashable, Codable {
  /// Lookups that a tier answered.
  public var hits = TierCounts(memory: 0, store: 0)
  public var misses = 0
  public var sets = 0
  public var invalidations = 0
  public var promotions = 0
  public var evictions = TierCounts(memory: 0, store: 0)
  public var expiries = TierCounts(memory: 0, store: 0)
  /// Entries now, per tier.
  public var entries = TierCounts(memory: 0, store: 0)
  /// Bytes of keys and encoded values now, per tier.
  public var bytes = TierCounts(memory: 0, store: 0)
  /// Entries and bytes per registry, each entry counted once; keys without `:` under "".
  public var registries: [String: RegistryStatistics] = [:]
  /// The last event, the last one on its way to survive a killed process, a power loss, and the
  /// last one that the store has.
  public var lastSequence: UInt64 = 0
  public var writtenSequence: UInt64 = 0
  public var durableSequence: UInt64 = 0
  public var appliedSequence: UInt64 = 0
  /// Durable events that the store hasn't applied yet.
  public var projectionLag: UInt64 = 0
  /// Values kept in memory until the store has them.
  public var pinnedByteCount: UInt64 = 0
  /// Bytes of frames kept in memory since they are written but not durable.
  public var unsyncedByteCount: UInt64 = 0
  /// Bytes of the store's write-ahead log in use. A checkpoint empties it at 16 MiB, unless a
  /// reader of another process holds a snapshot: it then grows for as long as that does.
  public var storeLogByteCount: UInt64 = 0
  /// Whether such a reader held part of the log back at the last checkpoint.
  public var isStoreLogHeld = false
  /// Bytes of all segments on disk.
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

/// What one registry holds.
public struct RegistryStatistics: Sendable, Hashable, Codable {
  public var entries = 0
  public var bytes = 0
}
