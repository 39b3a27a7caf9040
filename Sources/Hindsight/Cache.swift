public import HindsightCore
public import Logging

/// A two-tier cache that keeps its whole history (S040).
///
/// A synchronous in-memory LRU over an asynchronous SQLite store, both of them projections of one
/// compressed write-ahead journal. It survives an unclean shutdown, replays deterministically, and
/// answers what the cache knew, when, and why.
///
///     try await withCache(at: "/var/cache/lookups", of: Package.self) { cache in
///       let key = try CacheKey(registry: "pypi", package: "flask")
///       if let known = try await cache.get(key) { return known }
///       let fresh = try await fetch("flask")
///       try await cache.set(fresh, for: key, reason: "first lookup")
///       return fresh
///     }
///
/// - INV016: a TTL is honoured; stale data is never returned, also not after a promotion, a
///   restart, or a clock that steps back.
/// - INV017: the size limits hold after every operation.
///
/// Every method may be called from any task or thread. A cache that is dropped without `close` is
/// closed in the background.
public final class Cache<Value: Sendable>: Sendable {
  @usableFromInline let engine: Engine
  @usableFromInline let coder: ValueCoder<Value>

  init(engine: Engine, coder: ValueCoder<Value>) {
    self.engine = engine
    self.coder = coder
  }

  deinit { engine.requestClose() }

  /// Opens the cache in a directory, which is created where it is missing (what it is in must exist), or in
  /// memory only.
  ///
  /// After an unclean shutdown this recovers: nothing acknowledged as durable is lost, nothing
  /// torn is served. `recovery` then says what was found.
  /// - Parameters:
  ///   - directory: holds journal, store and lock; `nil`: memory only, without history.
  ///   - coder: how values become bytes.
  /// - Throws: `CacheError`: `.locked` (it names the process that has it open),
  ///   `.journalCorrupt` (it names segment and offset; the journal was not changed, but a damaged store
  ///   may have been put aside),
  ///   `.invalidConfiguration`, `.invalidTTL`, `.system`, `.outOfSpace`, `.storeUnavailable`.
  public nonisolated(nonsending) static func open(
    at directory: String?, coder: ValueCoder<Value>,
    configuration: CacheConfiguration = CacheConfiguration(),
    logger: Logger = Logger(label: "hindsight")
  ) async throws(CacheError) -> Cache {
    let place = directory.map { Place.directory($0) } ?? .memory
    return try await open(at: place, coder: coder, configuration: configuration, logger: logger)
  }

  package nonisolated(nonsending) static func open(
    at place: Place, coder: ValueCoder<Value>, configuration: CacheConfiguration, logger: Logger
  ) async throws(CacheError) -> Cache {
    let engine = try await Engine.open(at: place, configuration: configuration, logger: logger)
    return Cache(engine: engine, coder: coder)
  }

  /// Closes the cache: everything becomes durable, the store catches up, files and threads end.
  /// Closing it again does nothing, and throws what the first time threw.
  /// - Throws: whatever kept the journal from being written to its end; without a journal, whatever
  ///   kept the store from it.
  public nonisolated(nonsending) func close() async throws(CacheError) { try await engine.close() }

  // MARK: Reading

  /// The value of `key`, from memory or from the store; `nil` where there is none that is not past
  /// its expiry (S041). A store hit is promoted into memory. A memory hit never suspends and makes
  /// no query.
  /// - Throws: `.closed`; `.storeUnavailable` where the store can't be read.
  @inlinable
  public nonisolated(nonsending) func get(_ key: CacheKey) async throws(CacheError) -> Value? {
    if let value = hit(key) { return value }
    return try await getSlowly(key)
  }

  @usableFromInline
  nonisolated(nonsending) func getSlowly(_ key: CacheKey) async throws(CacheError) -> Value? {
    var failedReads = FailedReads()
    var progress = try engine.lookupInPlace(key, decode: decode, &failedReads)
    if case .needsThread = progress {
      progress = .answer(
        try await engine.lookup(key, decode: decode, from: progress, failedReads))
    }
    guard case .answer(.hit(let hit)) = progress else { return nil }
    return value(hit)
  }

  /// Like `get`, with the value's provenance or the reason of the miss.
  /// - Throws: as `get`.
  public nonisolated(nonsending) func lookup(
    _ key: CacheKey
  ) async throws(CacheError) -> Lookup<Value> {
    switch try await engine.lookup(key, decode: decode) {
    case .miss(let reason): return .miss(reason)
    case .hit(let hit):
      return .hit(
        Hit(
          value: value(hit), tier: hit.tier, origin: hit.origin, age: hit.age.duration,
          expiresIn: hit.expiresIn.duration))
    }
  }

  /// The value of `key` if memory holds it: synchronous, never asks the store. `nil` once the cache is closed.
  @inlinable
  public func memoryValue(for key: CacheKey) -> Value? {
    hit(key) ?? decodedMemoryValue(for: key)
  }

  @usableFromInline
  func decodedMemoryValue(for key: CacheKey) -> Value? {
    engine.memoryHit(key, decode: decode).map(value)
  }

  @inlinable
  @inline(__always)
  func hit(_ key: CacheKey) -> Value? {
    engine.withHit(key) { value($0) }
  }

  /// Whether a value is there, in either tier. Not a use: the order stays. What is past its expiry
  /// is absent, and is removed. `false` once the cache is closed.
  public func contains(_ key: CacheKey) -> Bool { engine.contains(key) }

  // MARK: Writing

  /// Sets a value in both tiers (S042).
  /// - Parameters:
  ///   - memoryTTL, storeTTL: how long each tier may answer with it; 0 is past at once; `nil`: the
  ///     cache's own, and in memory no longer than a `storeTTL` that is given, also where there is no store.
  ///     What limits a value's life is `storeTTL`, unless `memoryTTL` is longer: a store hit brings it to memory
  ///     anew, for the cache's own memory TTL, at most until the store's expiry.
  ///   - reason: kept in the history; at most 256 UTF-8 bytes.
  ///   - acknowledgement: what to wait for; `nil`: as configured.
  /// - Returns: its place in the history: the origin of the entry.
  /// - Throws: `.invalidValue`, `.invalidTTL`, `.invalidReason`, `.closed`, `.outOfSpace`,
  ///   `.journalUnavailable`, `.backpressure`, `.storeUnavailable`, `.cancelled`: nothing has
  ///   happened, but that a set for which more than 1,024 entries have to leave may have made some of that room.
  ///   `.outcomeUnknown`: it is in force, and may or may not survive a crash.
  @inlinable
  @discardableResult
  public nonisolated(nonsending) func set(
    _ value: Value, for key: CacheKey, memoryTTL: Duration? = nil, storeTTL: Duration? = nil,
    reason: String? = nil, acknowledgement: Acknowledgement? = nil
  ) async throws(CacheError) -> SequenceNumber {
    let bytes = try encode(value)
    let decoded = isPlain ? DecodedValue(bytes: bytes) : DecodedValue(Box(value, bytes))
    let begun = try engine.beginSet(
      decoded, bytes: bytes, coder: coder.id, for: key, memoryTTL: memoryTTL, storeTTL: storeTTL,
      reason: reason, acknowledgement)
    if case .done(let sequence) = begun { return sequence }
    return try await engine.endSet(
      begun, decoded, bytes: bytes, coder: coder.id, for: key, memoryTTL: memoryTTL,
      storeTTL: storeTTL, reason: reason, acknowledgement)
  }

  /// Invalidates a key in both tiers (S043).
  /// - Returns: whether a value was there; what is past its expiry counts as absent.
  /// - Throws: as `set`.
  @discardableResult
  public nonisolated(nonsending) func invalidate(
    _ key: CacheKey, reason: String? = nil, acknowledgement: Acknowledgement? = nil
  ) async throws(CacheError) -> Bool {
    try await engine.invalidate(key, reason: try reason.checked(), acknowledgement ?? level)
  }

  /// Removes everything whose key starts with `prefix`, as UTF-8 bytes; everything where it is empty.
  /// - Returns: how many values each tier lost; what is past its expiry doesn't count.
  /// - Throws: as `set`; `.invalidKey` if the prefix is over 1,024 UTF-8 bytes.
  @discardableResult
  public nonisolated(nonsending) func clear(
    prefix: String = "", reason: String? = nil, acknowledgement: Acknowledgement? = nil
  ) async throws(CacheError) -> TierCounts {
    guard prefix.utf8.count <= Bounds.keyByteCountMax else {
      throw CacheError(.invalidKey, "a prefix has at most \(Bounds.keyByteCountMax) UTF-8 bytes")
    }
    return try await engine.clear(
      prefix: Bytes(prefix.utf8), reason: try reason.checked(), acknowledgement ?? level)
  }

  /// Removes everything of one registry (T010.22; ids as S041 and T010.22 are those of the origin system's
  /// specification and tests, see Fixtures/scenarios): all keys that begin with it and a colon, as
  /// `CacheKey(registry:package:)` writes it.
  /// - Returns, Throws: as `clear(prefix:)`.
  @discardableResult
  public nonisolated(nonsending) func clear(
    registry: String, reason: String? = nil, acknowledgement: Acknowledgement? = nil
  ) async throws(CacheError) -> TierCounts {
    try await clear(
      prefix: CacheKey.fold(registry: registry) + ":", reason: reason,
      acknowledgement: acknowledgement)
  }

  /// Removes everything past its expiry from both tiers.
  /// - Returns: how many entries lost something.
  /// - Throws: as `set`; what was removed before the error stays removed.
  @discardableResult
  public nonisolated(nonsending) func cleanupExpired() async throws(CacheError) -> Int {
    try await engine.cleanup(level)
  }

  /// Waits until everything done so far, the order of use included, has this acknowledgement. Without a
  /// journal it does nothing.
  /// - Returns: the last event that has it.
  /// - Throws: `.closed`, `.outcomeUnknown`.
  @discardableResult
  public nonisolated(nonsending) func flush(
    to level: Acknowledgement = .durable
  ) async throws(CacheError) -> SequenceNumber {
    try await engine.flush(level)
  }

  /// Makes everything so far durable, and waits until the store has it too. Without a journal it waits
  /// until SQLite has committed it, which a power loss can undo for some seconds; only `close` syncs then.
  /// - Returns: the last event that is.
  /// - Throws: `.closed`, `.outcomeUnknown`, `.cancelled`; `.storeUnavailable` where the store can't
  ///   be written, at a second try either: the journal has it, and the store will as soon as it can.
  @discardableResult
  public nonisolated(nonsending) func settle() async throws(CacheError) -> SequenceNumber {
    try await engine.settle()
  }

  // MARK: Numbers

  /// Values per tier that are not past their expiry; of a closed cache, of those that it was closed with.
  public var count: TierCounts { engine.count }

  /// Numbers about the cache. O(1).
  public var statistics: CacheStatistics { engine.statistics }

  /// Entries and bytes per registry now, each entry counted once, also where it is past its expiry and not yet
  /// removed; keys without `:` under "".
  ///
  /// O(entries), in slices: what changes meanwhile may be counted or not.
  public func registryStatistics() -> [String: RegistryStatistics] { engine.registryStatistics() }

  /// What opening found and did.
  public var recovery: RecoverySummary { engine.recovery }

  /// The last event, and the digest of the state after it, as 16 hexadecimal digits.
  package var stateDigest: (sequence: UInt64, digest: String) {
    engine.locked { state in
      (state.core.head.sequence.rawValue, hexadecimal(state.core.digest))
    }
  }

  // MARK: Inside

  /// Boxes let the engine be concrete: see `HeldObject`.
  @usableFromInline
  final class Box: ValueBox {
    @usableFromInline let value: Value
    @usableFromInline init(_ value: Value, _ bytes: [UInt8]) {
      self.value = value
      super.init(bytes)
    }
  }

  private var level: Acknowledgement { engine.configuration.acknowledgement }

  /// Whether values need no box; known to the compiler where it knows the type of the value.
  @inlinable
  var isPlain: Bool {
    @inline(__always)
    get { Value.self == [UInt8].self && coder.isPlain }
  }

  private func value(_ hit: RawHit) -> Value { value(hit.object.reference) }

  /// Every object in this cache's engine was made by `set` or `decode`: an array's storage where the
  /// coder is plain, a box where it isn't.
  @inlinable
  @inline(__always)
  func value(_ object: AnyObject) -> Value {
    isPlain ? unsafeBitCast(object, to: Value.self) : unsafeDowncast(object, to: Box.self).value
  }

  private func decode(_ encoded: EncodedValue) throws -> DecodedValue {
    guard encoded.coder == coder.id || coder.readsOthers else {
      throw CacheError(
        .invalidValue, "coder \(encoded.coder) wrote it, and this cache reads with \(coder.id)")
    }
    let bytes = encoded.bytes
    return isPlain ? DecodedValue(bytes: bytes) : DecodedValue(Box(try coder.decode(bytes), bytes))
  }

  @usableFromInline
  func encode(_ value: Value) throws(CacheError) -> [UInt8] {
    let bytes: [UInt8]
    do {
      bytes = try coder.encode(value)
    } catch {
      throw CacheError(.invalidValue, "the value does not encode: \(error)", underlying: error)
    }
    guard bytes.count <= Bounds.valueByteCountMax else {
      throw CacheError(
        .invalidValue,
        "the value has \(bytes.count) bytes encoded; at most \(Bounds.valueByteCountMax) are "
          + "possible")
    }
    return bytes
  }
}

extension Cache where Value: Codable {
  /// Opens a cache of `Codable` values, kept as JSON; see `open(at:coder:configuration:logger:)`.
  public nonisolated(nonsending) static func open(
    at directory: String?, of type: Value.Type = Value.self,
    configuration: CacheConfiguration = CacheConfiguration(),
    logger: Logger = Logger(label: "hindsight")
  ) async throws(CacheError) -> Cache {
    try await open(at: directory, coder: .json, configuration: configuration, logger: logger)
  }
}

/// Opens a cache, runs `body`, and closes it on every way out.
/// - Throws: what `Cache.open`, `body` or `Cache.close` throws; of the latter two, `body`'s.
@discardableResult
public nonisolated(nonsending) func withCache<Value: Sendable, R>(
  at directory: String?, coder: ValueCoder<Value>,
  configuration: CacheConfiguration = CacheConfiguration(),
  logger: Logger = Logger(label: "hindsight"),
  _ body: nonisolated(nonsending) (Cache<Value>) async throws -> R
) async throws -> R {
  let cache = try await Cache.open(
    at: directory, coder: coder, configuration: configuration, logger: logger)
  let result: R
  do {
    result = try await body(cache)
  } catch {
    do {
      try await cache.close()
    } catch let closing {
      cache.engine.logger.error("the cache can't be closed", metadata: ["error": "\(closing)"])
    }
    throw error
  }
  try await cache.close()
  return result
}

/// Opens a cache of `Codable` values, runs `body`, and closes it on every way out.
/// - Throws: as `withCache(at:coder:configuration:logger:_:)`.
@discardableResult
public nonisolated(nonsending) func withCache<Value: Codable & Sendable, R>(
  at directory: String?, of type: Value.Type,
  configuration: CacheConfiguration = CacheConfiguration(),
  logger: Logger = Logger(label: "hindsight"),
  _ body: nonisolated(nonsending) (Cache<Value>) async throws -> R
) async throws -> R {
  try await withCache(
    at: directory, coder: .json, configuration: configuration, logger: logger, body)
}
