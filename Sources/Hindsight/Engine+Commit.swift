import HindsightCore
import HindsightJournal

extension Engine {
  /// Waits until the journal holds everything up to `sequence` as firmly as `level` says.
  /// - Parameter step: what whoever appended that event found to do for it, under the same lock.
  /// - Throws: `.outcomeUnknown` if the journal failed or the task was cancelled meanwhile. What
  ///   was done stays in force.
  nonisolated(nonsending) func acknowledge(
    _ sequence: SequenceNumber, _ level: Acknowledgement, _ step: AcknowledgementStep
  ) async throws(CacheError) {
    guard let journal else { return }
    var step = step
    while true {
      switch step {
      case .done: return
      case .write(let cut):
        if write(cut, journal) == nil { return }
        // Whoever rescues the journal answers it, as it does everybody.
        step = .wait
      case .lead(let wantsSignal):
        if wantsSignal { signalJournal() }
        await Task.yield()
        step = lead(sequence, journal)
      case .wait:
        switch await wait(for: sequence, level) {
        case .acknowledged: return
        case .failed(let error): throw error
        case .lead: step = lead(sequence, journal)
        }
      }
    }
  }

  /// What a leader finds to do, now that others have had their turn.
  private func lead(_ sequence: SequenceNumber, _ journal: Journal) -> AcknowledgementStep {
    let reading = clock.reading()
    return locked { state in
      if state.commit.takeRoleForLeader(of: sequence) {
        return .write(state.cut(journal.writer, reading))
      }
      return state.commit.isAcknowledged(sequence, .written) ? .done : .wait
    }
  }

  /// Makes everything so far at least this firm.
  /// - Returns: the last event that is.
  nonisolated(nonsending) func flush(
    _ level: Acknowledgement
  ) async throws(CacheError) -> SequenceNumber {
    let reading = clock.reading()
    let (sequence, step) = try locked { (state) throws(CacheError) in
      try state.checkOpen()
      // Not without end where the journal can't be written or synced: each flush adds to what waits for it.
      if state.canTell
        || state.commit.trouble != nil
          && state.frame.byteCount <= state.queues.unwrittenByteCountMax
      {
        state.core.decideTouches(at: state.now(reading), into: &state.decision.pointee)
        state.absorb(reading)
      }
      return (state.core.head.sequence, state.beginAcknowledging(level, journal, reading))
    }
    try await acknowledge(sequence, level, step)
    return sequence
  }

  /// Writes a cut frame, holding the write role, and frees it.
  /// - Parameter isThread: whether the journal's thread does, which then looks for what is next.
  func write(_ cut: CutFrame, _ journal: Journal, isThread: Bool = false) -> CacheError? {
    do throws(StorageError) {
      try journal.writer.append(
        cut.frames, durable: cut.durable, endsRun: cut.isCaptured, writesAhead: cut.isAwaited)
    } catch {
      return wroteInVain(error)
    }
    let position = journal.writer.position
    let (wrote, isMuchUnsynced, trouble) = locked { state in
      state.noteWritten(cut, position)
      state.commit.unsyncedByteCount = journal.writer.unsyncedByteCount
      return (
        state.commit.wrote(through: cut.frames.last), state.isMuchUnsynced,
        state.commit.trouble?.error
      )
    }
    wrote.resume.resume()
    if wrote.signal || cut.isCaptured || isMuchUnsynced, !isThread { signalJournal() }
    resumeRoomWaiters()
    return trouble
  }

  /// A failed write: the role is free again, and the journal's thread tries to rescue what the
  /// segment lacks. Those who wait go on waiting for that.
  private func wroteInVain(_ error: StorageError) -> CacheError {
    let trouble = JournalTrouble(error, retryAt: clock.reading().boot)
    locked { state in
      state.commit.isWriting = false
      state.commit.fail(trouble)
    }
    logger.error("the journal can't be written", metadata: ["error": "\(error)"])
    signalJournal()
    return trouble.error
  }

  // MARK: Waiting

  /// Enqueues a waiter and suspends until it is answered. Cancelling the task answers it.
  private nonisolated(nonsending) func wait(
    for sequence: SequenceNumber, _ level: Acknowledgement
  ) async -> CommitState.WaitOutcome {
    let id = nextWaiterID()
    return await withTaskCancellationHandler {
      await withUnsafeContinuation { continuation in
        let waiter = CommitState.Waiter(
          id: id, sequence: sequence, continuation: continuation)
        let arrival = locked { state in state.commit.arrive(waiter, level) }
        gathering.arrived()
        switch arrival {
        case .acknowledged: return continuation.resume(returning: .acknowledged)
        case .failed(let error): return continuation.resume(returning: .failed(error))
        case .needsThread: signalJournal()
        case .lead(let wantsSignal):
          if wantsSignal { signalJournal() }
          return continuation.resume(returning: .lead)
        case .queued: break
        }
        if Task.isCancelled { cancelWait(id) }
      }
    } onCancel: {
      cancelWait(id)
    }
  }

  private func cancelWait(_ id: UInt64) {
    let (waiter, wantsCut) = locked { state in
      let waiter = state.commit.cancel(id)
      return (waiter, waiter != nil && state.wantsTimedCut())
    }
    guard let waiter else { return }
    // What it did is written in time all the same, as what nobody has waited for.
    if wantsCut { signalJournal() }
    let error = CacheError(
      .outcomeUnknown,
      "the task was cancelled while it waited for the journal; what was written stays in force")
    waiter.continuation.resume(returning: .failed(error))
  }
}

/// What a caller has to do until its last event is as firm as it wants.
enum AcknowledgementStep: Sendable {
  case done
  case wait
  /// It lets the others come first, then writes for all.
  case lead(wantsSignal: Bool)
  /// It has the write role, and writes this for all that wait. Boxed, so that the others, which are what
  /// nearly every set comes to, are a word that nobody has to take care of.
  indirect case write(CutFrame)
}

/// What was in the open frame, on its way to the segment: nearly always that one, else full ones before it.
struct CutFrame: Sendable {
  var frames: SealedFrames
  var durable: SequenceNumber
  /// Whether a checkpoint was captured as of its end: a replay may begin there.
  var isCaptured = false
  /// Whether somebody waits until it is synced.
  var isAwaited = false
}

extension EngineState {
  /// What is to be done for the last event. A caller that wants `.written` and finds nobody writing
  /// writes one frame for all that wait, at once where nobody else is expected: no hand-off,
  /// no suspension.
  mutating func beginAcknowledging(
    _ level: Acknowledgement, _ journal: Engine.Journal?, _ reading: ClockReading
  ) -> AcknowledgementStep {
    guard level != .enqueued, let journal else { return .done }
    guard level == .written, !commit.isAcknowledged(core.head.sequence, level) else { return .wait }
    if commit.takeRoleForCaller() { return .write(cut(journal.writer, reading)) }
    if let wantsSignal = commit.takeLead() { return .lead(wantsSignal: wantsSignal) }
    return isInMemoryOnly ? .done : .wait
  }

  /// Cuts the open frame, `touched` included, and captures a checkpoint where one is due. The
  /// caller holds the write role.
  mutating func cut(_ writer: JournalWriter, _ reading: ClockReading) -> CutFrame {
    core.decideTouches(at: now(reading), into: &decision.pointee)
    absorb(reading)
    let sealed = frame.takeAll(bootTime: frameBoot)
    commit.frameBegan = nil
    commit.isTimed = false
    commit.isFullSignaled = false
    if writer.isSegmentFull(after: sealed.byteCount) { commit.isRotationDue = true }
    let byteCount = writer.grownByteCount
    var isCaptured = false
    // The frame counts, roughly as it will be stored: it may be a large one.
    if checkpointing.isDue(byteCount: byteCount + UInt64(sealed.byteCount / 4))
      || (commit.isRotationDue && checkpointing.capture == nil)
    {
      beginCapture(withPins: false)
      checkpointing.capturedAt = byteCount
      isCaptured = true
    }
    return CutFrame(
      frames: sealed, durable: commit.durable, isCaptured: isCaptured,
      isAwaited: commit.hasSyncWaiters)
  }

  /// The frame is in the page cache, and the segment ends at `position`.
  mutating func noteWritten(_ cut: CutFrame, _ position: JournalPosition) {
    if checkpointing.capture?.head.sequence == cut.frames.last, !commit.isRotationDue {
      checkpointing.capture?.position = position
      // A checkpoint is written once its frame is durable; a late one leaves more to replay.
      commit.isSyncRequested = true
    }
  }
}
