import HindsightCore
import HindsightStore

/// A hit before its value has its type back.
struct RawHit: Sendable {
  var object: HeldObject
  var tier: Tier
  var origin: SequenceNumber
  var age: Microseconds
  var expiresIn: Microseconds
}

/// The answer to a lookup before its value has its type back.
enum RawLookup: Sendable {
  case hit(RawHit)
  case miss(MissReason)
}

/// An encoded value on its way to a reader.
struct EncodedValue: Sendable {
  var bytes: [UInt8]
  var coder: UInt8
  var origin: SequenceNumber
}

/// What a lookup needs next.
enum ReadStep: Sendable {
  case answer(RawLookup)
  /// The value is at hand, encoded.
  case decode(EncodedValue)
  /// The value has to be read.
  case stored(StoredValue)
}

/// Where a value is that only the store has, and how it is known again.
struct StoredValue: Sendable {
  /// Of its row.
  var origin: SequenceNumber
  var coder: UInt8
  var hash: UInt64
  /// The store lacks the row yet; the journal has the `set`.
  var isInJournal: Bool
}

/// How far a lookup gets without waiting.
enum LookupProgress: Sendable {
  case answer(RawLookup)
  /// The reader thread has to read this.
  case needsThread(StoredValue)
}

/// How often a lookup has found no row for an entry. One that replaces it has another origin: its rows are looked
/// for anew.
struct FailedReads: Sendable {
  private var origin = SequenceNumber.zero
  private var count = 0

  init() {}

  /// - Returns: how many there have been, this one included.
  mutating func note(_ origin: SequenceNumber) -> Int {
    count = origin == self.origin ? count + 1 : 1
    self.origin = origin
    return count
  }
}

/// Decodes a value. Runs outside the lock.
typealias Decode = (EncodedValue) throws -> DecodedValue

extension Engine {
  /// S041, the synchronous part where `withHit` finds nothing: the value, restored by a recovery,
  /// may have yet to be decoded, and `.lookups` records the hit. Never suspends.
  func memoryHit(_ key: CacheKey, decode: Decode) -> RawHit? {
    let reading = clock.coarseReading()
    let (step, wantsCut) = locked { state in
      (state.planMemory(key, reading), state.wantsTimedCut())
    }
    if wantsCut { signalJournal() }
    switch step {
    case .answer(.hit(let hit)): return hit
    case .decode(let value):
      guard case .hit(let hit)? = finish(key, value, decode, inMemory: true) else { return nil }
      return hit
    case .answer(.miss), .stored: return nil
    }
  }

  /// S041: two tiers, with promotion.
  ///
  /// After every read the whole lookup is done again with a fresh now: if the origin
  /// has changed it starts over, so that no stale, expired or half-invalidated value is returned
  /// or promoted.
  ///
  /// - Parameter begun: how far `lookupInPlace` got, and after how many failed reads.
  nonisolated(nonsending) func lookup(
    _ key: CacheKey, decode: Decode, from begun: LookupProgress? = nil,
    _ failedReads: FailedReads = FailedReads()
  ) async throws(CacheError) -> RawLookup {
    var failedReads = failedReads
    var progress =
      if let begun { begun } else { try lookupInPlace(key, decode: decode, &failedReads) }
    while true {
      switch progress {
      case .answer(let answer): return answer
      case .needsThread(let stored):
        let read = try await readOnThread(stored)
        if let answer = try finish(key, stored, read, decode, &failedReads) { return answer }
        progress = try lookupInPlace(key, decode: decode, &failedReads)
      }
    }
  }

  /// As `lookup`, as far as that needs no waiting. It nearly never does, and is no asynchronous call then.
  func lookupInPlace(
    _ key: CacheKey, decode: Decode, _ failedReads: inout FailedReads
  ) throws(CacheError) -> LookupProgress {
    while true {
      switch try plan(key) {
      case .answer(let answer): return .answer(answer)
      case .decode(let value):
        if let answer = finish(key, value, decode) { return .answer(answer) }
      case .stored(let stored):
        if stored.isInJournal { return .needsThread(stored) }
        let read = try readInPlace(stored.origin)
        if case .wouldBlock = read { return .needsThread(stored) }
        if let answer = try finish(key, stored, read, decode, &failedReads) {
          return .answer(answer)
        }
      }
    }
  }

  /// S040: whether a live entry is there. Doesn't move it; removes what is past its expiry.
  func contains(_ key: CacheKey) -> Bool {
    let reading = clock.reading()
    let (isThere, wantsCut) = locked { state in
      (state.contains(key, reading), state.wantsTimedCut())
    }
    if wantsCut { signalJournal() }
    return isThere
  }

  private func plan(_ key: CacheKey) throws(CacheError) -> ReadStep {
    let reading = clock.coarseReading()
    // A closure would copy the key, which takes longer than finding it.
    let (step, wantsCut) = try withUnsafePointer(to: key) { (key) throws(CacheError) in
      try locked { (state) throws(CacheError) in
        try state.checkOpen()
        return (state.plan(key.pointee, reading), state.wantsTimedCut())
      }
    }
    if wantsCut { signalJournal() }
    return step
  }

  /// Checks what was read, and goes on with it. `nil`: start over.
  private func finish(
    _ key: CacheKey, _ stored: StoredValue, _ read: StoreReadResult, _ decode: Decode,
    _ failedReads: inout FailedReads
  ) throws(CacheError) -> RawLookup? {
    if case .row(let bytes) = read, XXH64.hash(bytes[...]) == stored.hash {
      return finish(
        key, EncodedValue(bytes: bytes, coder: stored.coder, origin: stored.origin), decode)
    }
    guard !stored.isInJournal else {
      // The entry may be another one meanwhile, or its row have come to the store.
      guard locked({ state in state.isInJournal(key, stored.origin) }) else { return nil }
      throw CacheError(
        .storeUnavailable,
        "the journal doesn't give the value of \(key), set as event \(stored.origin), just now; try "
          + "again")
    }
    let count = failedReads.note(stored.origin)
    // A row that isn't there may be in a newer snapshot; a wrong one stays wrong.
    if read != .missing || count >= EngineBounds.missingRowReadCountMax {
      lose(key, stored.origin)
    }
    guard count > EngineBounds.missingRowReadCountMax else { return nil }
    // That can't be recorded now: the value is absent all the same.
    let reading = clock.reading()
    return locked { state in state.miss(key, .lost, at: state.now(reading), reading) }
  }

  /// Decodes, looks up again, promotes, answers. `nil`: the entry changed meanwhile, start over.
  private func finish(
    _ key: CacheKey, _ value: EncodedValue, _ decode: Decode, inMemory: Bool = false
  ) -> RawLookup? {
    let decoded = Result { try decode(value) }.mapError { Undecodable($0) }
    if case .failure(let error) = decoded { log(error, key) }
    let reading = clock.reading()
    var isPromoting = false
    let (answer, wantsCut) = withUnsafePointer(to: key) { key in
      locked { state in
        (
          state.finishRead(
            key.pointee, value, decoded, inMemory: inMemory, reading, &isPromoting),
          state.wantsTimedCut()
        )
      }
    }
    if wantsCut { signalJournal() }
    if isPromoting, case .success(let decoded) = decoded {
      promoteFurther(key, decoded, value.origin)
    }
    return answer
  }

  /// More has to leave for a promotion than one decision tells of: others come in between.
  @inline(never)
  private func promoteFurther(
    _ key: CacheKey, _ value: DecodedValue, _ origin: SequenceNumber
  ) {
    var isLong = true
    while isLong {
      let reading = clock.reading()
      let isFull: Bool
      (isLong, isFull) = locked { state in
        (
          state.promoteFurther(key, value, origin, reading),
          state.frame.byteCount >= EngineBounds.frameByteCount
        )
      }
      if isFull { signalJournal() }
    }
  }

  /// A value that doesn't decode goes for good. That may be so with every one, as after a change of their
  /// type: only the first one is a warning.
  @inline(never)
  private func log(_ error: Undecodable, _ key: CacheKey) {
    let isFirst = !hasMetUndecodable.exchange(true, ordering: .relaxed)
    logger.log(
      level: isFirst ? .warning : .debug, "an entry is invalidated",
      metadata: ["key": "\(key)", "reason": "\(error.reason)"])
  }

  /// The row of a store resident can't be found although its origin stands and the store should
  /// have it: it is lost, and says so.
  private func lose(_ key: CacheKey, _ origin: SequenceNumber) {
    let reading = clock.reading()
    let (isLost, wantsCut) = locked { state in
      (state.lose(key, origin, reading), state.wantsTimedCut())
    }
    if wantsCut { signalJournal() }
    if isLost {
      logger.error(
        "the store has lost a value", metadata: ["key": "\(key)", "origin": "\(origin)"])
    }
  }
}
