import HindsightCore

/// A hit before its value has its type back.
struct RawHit: Sendable {
  var object: any BoxedValue
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
  var bytes: Bytes
  var coder: UInt8
  var origin: SequenceNumber
}

/// What a lookup needs next.
enum ReadStep: Sendable {
  case answer(RawLookup)
  /// The value is at hand, encoded.
  case decode(EncodedValue)
  /// The value is in the row of this origin.
  case row(SequenceNumber, valueHash: UInt64)
  /// The store lacks the row yet; the journal has the `set`.
  case journal(SequenceNumber, valueHash: UInt64)
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
      guard case .hit(let hit)? = finish(key, value, decode), hit.tier == .memory else {
        return nil
      }
      return hit
    case .answer(.miss), .row, .journal: return nil
    }
  }

  /// S041: two tiers, with promotion.
  ///
  /// After every await the whole lookup is done again with a fresh now (DESIGN §1): if the origin
  /// has changed it starts over, so that no stale, expired or half-invalidated value is returned
  /// or promoted.
  nonisolated(nonsending) func lookup(
    _ key: CacheKey, decode: Decode
  ) async throws(CacheError) -> RawLookup {
    var missingReads = 0
    while true {
      switch try plan(key) {
      case .answer(let answer): return answer
      case .decode(let value):
        if let answer = finish(key, value, decode) { return answer }
      case .row(let origin, let valueHash):
        let row = try await readRow(origin)
        if let row, XXH64.hash(row.bytes) == valueHash {
          if let answer = finish(key, row, decode) { return answer }
          continue
        }
        missingReads += 1
        // A row that isn't there may be in a newer snapshot; a wrong one stays wrong.
        if row != nil || missingReads >= EngineBounds.missingRowReadCountMax { lose(key, origin) }
        // Where that can't be recorded now, the value is absent all the same.
        if missingReads > EngineBounds.missingRowReadCountMax { return .miss(.lost) }
      case .journal(let origin, let valueHash):
        guard let value = try await readJournal(origin), XXH64.hash(value.bytes) == valueHash else {
          throw CacheError(.storeUnavailable, "the journal doesn't give the value just now")
        }
        if let answer = finish(key, value, decode) { return answer }
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
    let (step, wantsCut) = try locked { (state) throws(CacheError) in
      try state.checkOpen()
      return (state.plan(key, reading), state.wantsTimedCut())
    }
    if wantsCut { signalJournal() }
    return step
  }

  /// Decodes, looks up again, promotes, answers. `nil`: the entry changed meanwhile, start over.
  private func finish(_ key: CacheKey, _ value: EncodedValue, _ decode: Decode) -> RawLookup? {
    let decoded: Result<DecodedValue, any Error> = Result { try decode(value) }
    let reading = clock.reading()
    let (answer, wantsCut) = locked { state in
      (state.finishRead(key, value, decoded, reading), state.wantsTimedCut())
    }
    if wantsCut { signalJournal() }
    return answer
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
