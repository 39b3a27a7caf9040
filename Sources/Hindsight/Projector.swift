import HindsightCore
import HindsightJournal
import HindsightStore
import HindsightThreads

/// Materializes the store: durable events → one transaction (rows and applied sequence) → unpin.
///
/// Owns the one writing connection; nothing else writes.
final class Projector {
  private let engine: Engine
  private let writer: any StoreWriter
  private let journalID: JournalID
  /// What is to be gathered first.
  private var backlog: BacklogGathering?
  /// Why it can't be, ever.
  private var backlogDamage: StoreError?
  // What the opening found may not be synced.
  private var isWALCheckpointDue = true
  private var lastSync: Microseconds
  /// Whether the store is marked as nobody's, as its rows are not what they should be.
  private var isDisowned = false
  /// Whether reads have met damage in it: it stays nobody's, whatever can be written.
  private var isDamaged = false
  /// A transaction that was reported as failed: the store may have it all the same.
  private var doubtful: Transaction?
  /// When the next transaction may begin, unless it is urgent.
  private var nextTransaction = Microseconds(rawValue: 0)
  /// The log is moved into the database once it has so many bytes …
  private var nextLogByteCount = EngineBounds.walByteCount
  /// … and a log that can't be moved is spoken of once it has so many, each time twice as many.
  private var loggedLogByteCount = EngineBounds.walByteCount

  private struct Transaction {
    var batch: Projection.Batch
    /// Origins whose values the store has with it.
    var inserted: [SequenceNumber]
  }

  init(engine: Engine, writer: any StoreWriter, journalID: JournalID) {
    self.engine = engine
    self.writer = writer
    backlog = engine.store?.backlog.map {
      BacklogGathering($0, PartLimits(engine.configuration))
    }
    self.journalID = journalID
    lastSync = engine.clock.reading().boot
  }

  /// One transaction, or one WAL checkpoint; at first, what an opening left for later.
  func step() -> BackgroundWait {
    rest()
    // In one look: once the journal has ended, what waits is all there will be.
    var (lacking, waiting, isClosing, isLast, isAwaited) = engine.locked { state in
      (
        state.projection.lacksPart, state.projection.next(durable: state.commit.durable),
        state.phase == .closing, state.closing.isJournalEnded, state.isProjectionUrgent
      )
    }
    StandingBack.setUrgent(isAwaited)
    // Its mark would hide what a transaction that may be committed has left.
    if doubtful == nil { noteDamage() }
    do throws(StoreError) {
      if let lacking {
        try gather(after: lacking)
        return .again
      }
      if let doubtful {
        try resolve(doubtful)
        return .again
      }
      if waiting != nil {
        nextTransaction = engine.clock.reading().boot.later(
          by: EngineBounds.transactionInterval.duration)
        try apply(
          Projection.Batch(
            waiting!, rowCountMax: engine.configuration.transactionRowCountMax,
            cutsDecisions: engine.journal != nil))
        waiting?.letGo()
        return .again
      }
      if isClosing, isLast {
        // The readers first: their snapshots would hold the log back.
        engine.store?.readers.close()
        noteSynced(try writer.checkpoint(.truncate))
        end()
        return .finished
      }
      checkpointIfDue(after: EngineBounds.retryInterval)
    } catch {
      return failed(error, isClosing: isClosing)
    }
    return isWALCheckpointDue ? .after(EngineBounds.retryInterval) : .signal
  }

  /// Gives rows a moment to come together, since many in one transaction take far less than a few
  /// in each of many; callers that wait for the disk would have one for each sync.
  private func rest() {
    let time = nextTransaction.rawValue - engine.clock.reading().boot.rawValue
    guard time > 0, !isUrgent, engine.locked({ state in state.hasDurableRows }) else { return }
    engine.configuration.scheduler.rest(atMost: Microseconds(rawValue: time)) { isUrgent }
  }

  private var isUrgent: Bool {
    engine.locked { state in state.isProjectionUrgent }
  }

  /// Has the next part of the rows that the store lacks come before all others, and their values at hand.
  private func gather(after applied: SequenceNumber) throws(StoreError) {
    if let backlogDamage { throw backlogDamage }
    let gathered: (rows: Projection, last: SequenceNumber)?
    do throws(DamageError) {
      gathered = try backlog?.next(after: applied)
    } catch {
      let failure = error.asStoreError(.apply)
      guard error.storageFailure == nil else { throw failure }
      try disown()
      backlogDamage = failure
      throw failure
    }
    guard let gathered else { preconditionFailure("a backlog that nobody gathers") }
    let part = gathered.rows
    var start = 0
    while let (values, next) = part.values(from: start, count: EngineBounds.pinSliceCount) {
      engine.locked { state in
        for (origin, value) in values { state.pin(value, of: origin) }
      }
      start = next
    }
    engine.locked { state in state.projection.gathered(part, through: gathered.last) }
  }

  /// Marks the store as nobody's: the next opening compares row by row, puts aside what is damaged, and knows
  /// what to do about what is lost.
  private func disown() throws(StoreError) {
    guard !isDisowned else { return }
    try writer.apply([], mark: StoreMark(journalID: .nobody, applied: .zero))
    isDisowned = true
  }

  /// Reads have met damage: the next opening compares. (Without a journal, each reads all rows.)
  private func noteDamage() {
    guard engine.journal != nil,
      engine.store?.hasMetDamage.exchange(false, ordering: .relaxed) == true
    else { return }
    isDamaged = true
    disownOrLog()
  }

  /// Disowns a store that can't be written as it is. Where even the mark can't be, the next attempt at the
  /// transaction tries it again, and until then its own failure is what is told.
  private func disownOrLog() {
    do throws(StoreError) {
      try disown()
    } catch {
      engine.logger.error(
        "the store can't be marked for comparison at the next opening",
        metadata: ["error": "\(error)"])
    }
  }

  private func apply(_ batch: Projection.Batch) throws(StoreError) {
    var rows = Projection.Rows(batch)
    let transaction = Transaction(batch: batch, inserted: rows.inserted)
    do throws(StoreError) {
      try writer.apply(rows.operations, mark: mark(batch))
    } catch {
      switch error.remedy {
      // Nothing was committed, nor will it be before the rows are put right.
      case .rebuild, .reconcile: disownOrLog()
      case .retry, .makeRoom, .report: doubtful = transaction
      }
      throw error
    }
    isDisowned = isDamaged
    committed(transaction)
    rows.letGoOfOperations()
  }

  private func mark(_ batch: Projection.Batch) -> StoreMark {
    StoreMark(journalID: isDamaged ? .nobody : journalID, applied: batch.applied)
  }

  /// Asks the store whether it has a transaction that was reported as failed. If so and it were made
  /// again, rows would be inserted twice, or stay for ever that are deleted by now: what comes and
  /// goes within one transaction is left out of it.
  private func resolve(_ doubtful: Transaction) throws(StoreError) {
    let found = try writer.mark()
    self.doubtful = nil
    // One that doesn't move the mark is a part of a clear: deletes, which may be made again.
    let applied = engine.locked { state in state.projection.applied }
    guard doubtful.batch.applied > applied, found == mark(doubtful.batch) else { return }
    committed(doubtful)
  }

  private func committed(_ transaction: Transaction) {
    let logByteCount = writer.walByteCount
    engine.locked { state in
      state.projection.trouble = nil
      state.projection.logByteCount = logByteCount
      state.projection.committed(transaction.batch)
    }
    unpin(transaction.inserted)
    engine.locked { state in state.takeSettled() }.resume()
    engine.resumeRoomWaiters()
    if engine.locked({ state in state.projection.backlogEnd == nil }) {
      engine.store?.backlog?.release()
    }
    isWALCheckpointDue = true
    if logByteCount >= nextLogByteCount { return checkpointNow() }
    // Where writes never pause there is no better time.
    checkpointIfDue(after: EngineBounds.walAge)
  }

  /// The store has these values now. In slices: who waits for the lock sleeps where that takes long.
  private func unpin(_ origins: [SequenceNumber]) {
    for start in stride(from: 0, to: origins.count, by: EngineBounds.unpinSliceCount) {
      let slice = origins[start..<min(start + EngineBounds.unpinSliceCount, origins.count)]
      engine.locked { state in
        state.core.prefetch(slice)
        for origin in slice { state.unpin(origin) }
      }
    }
  }

  /// The WAL goes into the database when it is large, or when the last time was so long ago.
  private func checkpointIfDue(after interval: Microseconds) {
    guard isWALCheckpointDue else { return }
    let now = engine.clock.reading().boot
    guard now.rawValue - lastSync.rawValue >= interval.rawValue else { return }
    checkpointNow()
  }

  /// A log that can't be moved or synced keeps no row from the store: that is tried again later.
  private func checkpointNow() {
    lastSync = engine.clock.reading().boot
    let outcome: CheckpointOutcome
    do throws(StoreError) {
      outcome = try writer.checkpoint(.passive)
    } catch {
      nextLogByteCount = writer.walByteCount + EngineBounds.walByteCount
      return noteLogTrouble(error)
    }
    engine.locked { state in state.projection.logTrouble = nil }
    isWALCheckpointDue = outcome.isBlockedByReader
    noteLog(outcome)
    noteSynced(outcome)
    engine.signalUpkeep()
  }

  private func noteSynced(_ outcome: CheckpointOutcome) {
    // A damaged store will be built anew from what the journal still has.
    guard !isDamaged, let synced = outcome.synced else { return }
    engine.locked { state in
      state.projection.synced = max(state.projection.synced, synced.applied)
    }
  }

  /// What a reader of another process holds back can't be moved, and trying at each transaction
  /// would help nobody.
  private func noteLog(_ outcome: CheckpointOutcome) {
    let isHeld = outcome.isBlockedByReader
    nextLogByteCount = EngineBounds.walByteCount + (isHeld ? outcome.walByteCount : 0)
    engine.locked { state in
      state.projection.logByteCount = outcome.walByteCount
      state.projection.isLogHeld = isHeld
    }
    guard isHeld, outcome.walByteCount >= loggedLogByteCount else { return }
    loggedLogByteCount = 2 * outcome.walByteCount
    engine.logger.warning(
      "a reader of another process keeps the store's log from being emptied",
      metadata: ["bytes": "\(outcome.walByteCount)"])
  }

  private func noteLogTrouble(_ error: StoreError) {
    let trouble = CacheError(store: error)
    let isNew = engine.locked { state in
      defer { state.projection.logTrouble = trouble }
      return state.projection.logTrouble == nil
    }
    guard isNew else { return }
    engine.logger.error(
      "the store's log can't be moved into the database; the journal is kept meanwhile",
      metadata: ["error": "\(error)"])
  }

  private func failed(_ error: StoreError, isClosing: Bool) -> BackgroundWait {
    let trouble = CacheError(store: error)
    let (isNew, settling) = engine.locked { state -> (Bool, [CommitState.Resumption]) in
      defer { state.projection.trouble = trouble }
      guard state.projection.trouble != nil else { return (true, []) }
      // A second try has failed: nobody knows when the store will have it. The journal does have it.
      defer { state.settleWaiters = [] }
      return (false, state.settleWaiters.map { ($0, .failed(trouble)) })
    }
    settling.resume()
    if isNew {
      engine.logger.error("the store can't be written", metadata: ["error": "\(error)"])
      engine.resumeRoomWaiters()
    }
    // At the end there is no second try: the journal has it all. Without one, who closes must know.
    if isClosing, engine.locked({ state in state.closing.isJournalEnded }) {
      if engine.journal == nil {
        engine.locked { state in state.closing.error = state.closing.error ?? trouble }
      }
      end()
      return .finished
    }
    return .after(EngineBounds.retryInterval)
  }

  /// Closes the store without having begun.
  func abandon() {
    writer.close()
    engine.store?.readers.close()
  }

  private func end() {
    writer.close()
    engine.store?.readers.close()
    engine.projectorEnded()
  }
}

extension EngineState {
  fileprivate var hasDurableRows: Bool { projection.hasRows(durable: commit.durable) }

  /// The value of a row that the store lacks is at hand.
  fileprivate mutating func pin(_ value: [UInt8], of origin: SequenceNumber) {
    guard let slot = core.find(origin: origin), core.isResident(slot, in: .store) else { return }
    core.updatePayload(slot) {
      if $0.isEmpty { $0.set(value[...]) }
      $0.isPinned = true
    }
  }

  /// The store has this origin's value now.
  fileprivate mutating func unpin(_ origin: SequenceNumber) {
    guard let slot = core.find(origin: origin) else { return }
    if checkpointing.capture?.withPins == true {
      core.willDropValue(of: slot)
      giveCapturedValues()
    }
    if core.isResident(slot, in: .memory) {
      core.unpinPayload(slot)
    } else {
      core.changePayload(slot) { $0 = Payload() }
    }
  }

  /// Whom the store's progress satisfies.
  mutating func takeSettled() -> [CommitState.Resumption] {
    let applied = projection.applied
    let settled = settleWaiters.filter { $0.sequence <= applied }
    settleWaiters.removeAll { $0.sequence <= applied }
    return settled.map { ($0, .acknowledged) }
  }
}

extension EngineState {
  /// Whether somebody waits for the store, or much does.
  fileprivate var isProjectionUrgent: Bool {
    phase != .open || !settleWaiters.isEmpty || !roomWaiters.isEmpty
      || projection.isLong(queues) || projection.lacksPart != nil
  }
}
