public import HindsightCore
import HindsightJournal

extension Engine {
  /// S042, its value decoded and encoded, as far as that goes without waiting: nearly always to the end with
  /// `.enqueued`, and with `.written` where nobody else writes. It has none of what a suspension takes.
  @usableFromInline
  func beginSet(
    _ value: DecodedValue, bytes: [UInt8], coder: UInt8, for key: CacheKey,
    memoryTTL: Duration?, storeTTL: Duration?, reason: String?, _ level: Acknowledgement?
  ) throws(CacheError) -> BegunSet {
    guard
      let written = try setIfRoom(
        value, bytes: bytes, coder: coder, for: key, memoryTTL: memoryTTL, storeTTL: storeTTL,
        reason: reason, level ?? configuration.acknowledgement)
    else { return .lacksRoom }
    switch written.step {
    case .done: return .done(written.sequence)
    case .wait: return .waits(written.sequence)
    case .lead(let wantsSignal): return .leads(written.sequence, wantsSignal: wantsSignal)
    case .write(let cut):
      guard let journal, write(cut, journal) == nil else { return .waits(written.sequence) }
      return .done(written.sequence)
    }
  }

  /// The rest of a set that `beginSet` has begun, with the same arguments.
  @usableFromInline
  nonisolated(nonsending) func endSet(
    _ begun: BegunSet, _ value: DecodedValue, bytes: [UInt8], coder: UInt8, for key: CacheKey,
    memoryTTL: Duration?, storeTTL: Duration?, reason: String?, _ level: Acknowledgement?
  ) async throws(CacheError) -> SequenceNumber {
    var begun = begun
    while true {
      switch begun {
      case .done(let sequence): return sequence
      case .waits(let sequence):
        try await acknowledge(sequence, level ?? configuration.acknowledgement, .wait)
        return sequence
      case .leads(let sequence, let wantsSignal):
        try await acknowledge(sequence, .written, .lead(wantsSignal: wantsSignal))
        return sequence
      case .lacksRoom:
        try await waitForRoom()
        begun = try beginSet(
          value, bytes: bytes, coder: coder, for: key, memoryTTL: memoryTTL, storeTTL: storeTTL,
          reason: reason, level)
      }
    }
  }

  /// Decides a set.
  /// - Returns: `nil` where nothing is set yet: a queue is full, or a slice of the room that it needs was made.
  private func setIfRoom(
    _ value: DecodedValue, bytes: [UInt8], coder: UInt8, for key: CacheKey,
    memoryTTL: Duration?, storeTTL: Duration?, reason: String?, _ level: Acknowledgement
  ) throws(CacheError) -> Written<Void>? {
    let place = CellsPlace(rawValue: keyCells.load(ordering: .relaxed))
    place.prefetch(key.hash)
    let (memoryTTL, storeTTL) = (try memoryTTL?.asTTL(), try storeTTL?.asTTL())
    let reason = try reason.checked()
    // All that needn't be done with the lock held.
    let reading = clock.reading()
    if place.isLarge { prefetchEntry(key.hash) }
    let valueHash = XXH64.hash(bytes[...])
    var isCutDue = false
    var wanted = SparesWanted()
    let written = try key.withBytes { (keyBytes) throws(CacheError) -> Written<Void>? in
      let lent = LentValue(
        key: keyBytes, keyHash: key.hash, coder: coder, valueByteCount: UInt32(bytes.count),
        valueHash: valueHash)
      let state = lock()
      defer { unlock(state) }
      try state.pointee.checkWritable()
      guard state.pointee.obstacle == nil else { return nil }
      state.pointee.tellManyTouches(reading)
      let now = state.pointee.now(reading)
      let fact: SetFact
      do throws(SetRefusal) {
        guard
          let decided = try state.pointee.core.decideSet(
            lent, memoryTTL: memoryTTL, storeTTL: storeTTL, at: now,
            into: &state.pointee.decision.pointee)
        else {
          state.pointee.absorb(reading)
          isCutDue = state.pointee.wantsCut()
          return nil
        }
        fact = decided
      } catch {
        throw CacheError(refusal: error)
      }
      state.pointee.absorb(
        SetInForce(
          fact: fact, key: keyBytes, value: value, bytes: bytes, reason: reason),
        reading)
      let keyCells = state.pointee.core.keyCells.rawValue
      if self.keyCells.load(ordering: .relaxed) != keyCells {
        self.keyCells.store(keyCells, ordering: .relaxed)
      }
      wanted = state.pointee.asksForSpares()
      return state.pointee.written((), level, journal, reading)
    }
    if wanted.isAny { makeSpares(wanted) }
    if written?.wantsCut ?? isCutDue { signalJournal() }
    return written
  }

  /// Asks for the memory of the entry with a key, while the value is hashed: where it is only its cell tells.
  @inline(__always)
  private func prefetchEntry(_ keyHash: UInt64) {
    let state = state.lock()
    state.pointee.core.prefetchEntry(keyHash)
    self.state.unlock()
  }

  /// Makes what the sets to come would ask the system for with the lock held.
  @inline(never)
  private func makeSpares(_ wanted: SparesWanted) {
    let frame = wanted.frameByteCount.map { OpenFrame.Spare(byteCount: $0) }
    let rows = wanted.hasRows ? Projection.Spare() : nil
    locked { state in
      if let frame { state.frame.give(frame) }
      if let rows { state.projection.give(rows) }
    }
  }

  /// S043.
  nonisolated(nonsending) func invalidate(
    _ key: CacheKey, reason: String?, _ level: Acknowledgement
  ) async throws(CacheError) -> Bool {
    let written = try await writeWhenRoom(level) {
      (state, reading) throws(CacheError) in
      let wasThere = state.core.decideInvalidate(
        key.bytes, reason: reason, at: state.now(reading), into: &state.decision.pointee)
      state.absorb(reading)
      return wasThere
    }
    try await acknowledge(written.sequence, level, written.step)
    return written.result
  }

  nonisolated(nonsending) func clear(
    prefix: Bytes, reason: String?, _ level: Acknowledgement
  ) async throws(CacheError) -> TierCounts {
    // Made without the lock: tables for a million entries take milliseconds to be filled with zeros.
    let empty =
      prefix.isEmpty
      ? ClearedContents(locked { state in state.opened }, hashSeed: CacheKey.hashSeed) : nil
    let written = try await writeWhenRoom(level) {
      (state, reading) throws(CacheError) in
      state.cleared = empty
      defer { state.cleared = nil }
      if empty != nil { state.voidCapture() }
      let counts = state.core.decideClear(
        prefix: prefix, reason: reason, spare: empty?.index, at: state.now(reading),
        into: &state.decision.pointee)
      state.absorb(reading)
      return TierCounts(memory: Int(counts.memory), store: Int(counts.store))
    }
    if empty != nil {
      signalUpkeep()
      let old = locked { state in state.takeOldRemains() }
      withExtendedLifetime(old) {}
    }
    try await acknowledge(written.sequence, level, written.step)
    return written.result
  }

  /// Removes everything past its expiry, in slices, so that nobody waits long for the lock.
  nonisolated(nonsending) func cleanup(
    _ level: Acknowledgement
  ) async throws(CacheError) -> Int {
    var total = 0
    while true {
      try await waitForRoom()
      // Another may have taken the room meanwhile.
      guard let slice = try sweep() else { continue }
      total += slice.result
      guard slice.result == EngineBounds.sweepSliceCount else {
        let reading = clock.reading()
        let step = locked { state in state.beginAcknowledging(level, journal, reading) }
        try await acknowledge(slice.sequence, level, step)
        return total
      }
    }
  }

  /// One slice of the sweep; `nil` where a queue is full.
  func sweep() throws(CacheError) -> Written<Int>? {
    let reading = clock.reading()
    let written = try locked { (state) throws(CacheError) -> Written<Int>? in
      try state.checkWritable()
      guard state.obstacle == nil else { return nil }
      return state.write(.enqueued, journal, reading) { (state, reading) in
        let swept = state.core.decideSweep(
          at: state.now(reading), entryCountMax: EngineBounds.sweepSliceCount,
          into: &state.decision.pointee)
        state.absorb(reading)
        return swept
      }
    }
    if written?.wantsCut == true { signalJournal() }
    return written
  }

  /// Decides something under the lock, as soon as no queue is full.
  private nonisolated(nonsending) func writeWhenRoom<R: Sendable>(
    _ level: Acknowledgement, _ decide: (inout EngineState, ClockReading) throws(CacheError) -> R
  ) async throws(CacheError) -> Written<R> {
    while true {
      if let written = try writeIfRoom(level, decide) { return written }
      try await waitForRoom()
    }
  }

  /// The same where there is room, as there nearly always is: that takes the lock once.
  /// - Returns: `nil`, and nothing has happened, where a queue is full.
  private func writeIfRoom<R: Sendable>(
    _ level: Acknowledgement,
    _ decide: (inout EngineState, ClockReading) throws(CacheError) -> R
  ) throws(CacheError) -> Written<R>? {
    let reading = clock.reading()
    let written = try locked { (state) throws(CacheError) -> Written<R>? in
      try state.checkWritable()
      guard state.obstacle == nil else { return nil }
      return try state.write(level, journal, reading, decide)
    }
    if let written, written.wantsCut { signalJournal() }
    return written
  }
}

/// Memory that is to be at hand before it is needed.
private struct SparesWanted {
  var frameByteCount: Int?
  var hasRows = false

  var isAny: Bool { hasRows || frameByteCount != nil }
}

/// How far a set has come without waiting.
@usableFromInline
enum BegunSet: Sendable {
  case done(SequenceNumber)
  /// It is in force, and somebody else sees to its acknowledgement.
  case waits(SequenceNumber)
  /// It is in force, and its caller writes it a moment later, with what others set until then.
  case leads(SequenceNumber, wantsSignal: Bool)
  /// It is not in force: a queue is full, or more has to leave for it than one decision may tell of. A slice of
  /// that has left; others come in between, and no queue is overrun.
  case lacksRoom
}

/// A decision that is in force.
struct Written<Result: Sendable>: Sendable {
  var result: Result
  /// Its last event.
  var sequence: SequenceNumber
  /// What is to be done for that.
  var step: AcknowledgementStep
  /// Whether the journal's thread has to be told of the open frame.
  fileprivate var wantsCut: Bool
}

extension EngineState {
  /// Decides something, and what its caller has to do for the acknowledgement that it wants. One that
  /// wants any sees to the frame itself.
  fileprivate mutating func write<R: Sendable, E: Error>(
    _ level: Acknowledgement, _ journal: Engine.Journal?, _ reading: ClockReading,
    _ decide: (inout EngineState, ClockReading) throws(E) -> R
  ) throws(E) -> Written<R> {
    tellManyTouches(reading)
    return written(try decide(&self, reading), level, journal, reading)
  }

  /// What has been decided, with what its caller has to do.
  fileprivate mutating func written<R: Sendable>(
    _ result: R, _ level: Acknowledgement, _ journal: Engine.Journal?, _ reading: ClockReading
  ) -> Written<R> {
    let isUnattended = level == .enqueued || !hasJournal
    return Written(
      result: result, sequence: core.head.sequence,
      step: beginAcknowledging(level, journal, reading), wantsCut: isUnattended && wantsCut())
  }

  fileprivate mutating func asksForSpares() -> SparesWanted {
    SparesWanted(frameByteCount: frame.asksForSpare(), hasRows: projection.asksForSpare())
  }

  /// Whether the journal's thread has to look at the open frame: it is new, or it is full.
  fileprivate mutating func wantsCut() -> Bool {
    let isFull = frame.byteCount >= EngineBounds.frameByteCount
    if isFull, !commit.isFullSignaled {
      commit.isFullSignaled = true
      return true
    }
    return wantsTimedCut()
  }
}

extension String? {
  /// - Throws: `.invalidReason`.
  func checked() throws(CacheError) -> String? {
    guard let reason = self, reason.utf8.count > Bounds.reasonByteCountMax else { return self }
    throw CacheError(
      .invalidReason,
      "a reason has at most \(Bounds.reasonByteCountMax) UTF-8 bytes; this one has "
        + "\(reason.utf8.count)")
  }
}

extension CacheError {
  init(refusal: SetRefusal) {
    switch refusal {
    case .exceedsByteLimit(let count, let most):
      self.init(
        .invalidValue,
        "key and value have \(count) bytes, and the largest limit by bytes is \(most); "
          + "raise the limit or store less")
    }
  }
}
