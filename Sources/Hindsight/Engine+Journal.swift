import HindsightCore
import HindsightJournal

// The journal's own thread: what blocks (fdatasync, rotation, rescue), what is timed, and the end.

/// What the journal's thread does next.
enum JournalTask {
  case idle(BackgroundWait)
  case write(CutFrame)
  case rotate
  case sync
  case rescue
  /// The journal is complete; the projector may end now.
  case endJournal
  case shutDown
}

extension Engine {
  /// One piece of the journal thread's work.
  func journalStep() -> BackgroundWait {
    guard let journal else { return .finished }
    let reading = clock.reading()
    let task = locked { state in nextTask(&state, journal, reading) }
    switch task {
    case .idle(let wait): return wait
    case .write(let cut):
      // A failure is remembered as trouble, which the next step attends to.
      _ = write(cut, journal, isThread: true)
    case .rotate: attempt(journal) { (writer) throws(StorageError) in try writer.rotate() }
    case .sync: sync(journal)
    case .rescue: rescue(journal)
    case .endJournal:
      signalProjector()
      writeLastCheckpoint(journal)
      return .signal
    case .shutDown:
      writeLastCheckpoint(journal)
      locked { state in state.closing.isComplete = true }
      signalUpkeep()
      closeJournal(journal)
      return .finished
    }
    return .again
  }

  private func nextTask(
    _ state: inout EngineState, _ journal: Journal, _ reading: ClockReading
  ) -> JournalTask {
    state.decideCloseIfAsked(reading)
    if let trouble = state.commit.trouble {
      return state.taskInTrouble(trouble, reading)
    }
    state.commit.watchLeaders(reading.boot)
    let isSyncDue = state.isSyncDue(reading, configuration.syncInterval)
    if state.isCutDue(reading, isSyncDue: isSyncDue), !(isSyncDue && state.commit.hasPutOffSync) {
      guard state.commit.takeRoleForThread() else { return .idle(.signal) }
      if state.commit.isRotationDue { return .rotate }
      let cut = state.cut(journal.writer, reading)
      state.commit.noteWriting(cut.frames.byteCount, isSyncDue: isSyncDue)
      return .write(cut)
    }
    if state.commit.isRotationDue {
      return state.commit.takeRoleForThread() ? .rotate : .idle(.signal)
    }
    // Everything is cut: what comes from now on has to be asked for again.
    state.commit.isSyncRequested = false
    if isSyncDue, let task = state.taskWhenCut() { return task }
    // What it was promised the role for has been done by another: callers may write again.
    state.commit.threadWantsRole = false
    return .idle(state.timeToNextTask(reading, configuration.syncInterval))
  }

  /// Does something that only the role's holder may, then frees the role.
  private func attempt(
    _ journal: Journal, _ work: (JournalWriter) throws(StorageError) -> Void
  ) {
    let failure: StorageError?
    do throws(StorageError) {
      try work(journal.writer)
      failure = nil
    } catch {
      failure = error
    }
    let retryAt = clock.reading().boot
    let durable = journal.writer.durable
    let position = journal.writer.position
    let resume = locked { state -> [CommitState.Resumption] in
      state.commit.isWriting = false
      state.commit.unsyncedByteCount = journal.writer.unsyncedByteCount
      if let failure {
        // What was synced before it failed is durable all the same.
        let resume = state.commit.synced(through: durable)
        state.commit.fail(JournalTrouble(failure, retryAt: retryAt), losesPages: true)
        return resume
      }
      state.commit.isRotationDue = false
      if state.checkpointing.capture?.position == nil {
        state.checkpointing.capture?.position = position
      }
      return state.commit.synced(through: durable)
    }
    if let failure { logger.error("the journal can't rotate", metadata: ["error": "\(failure)"]) }
    resume.resume()
    becameDurable(journal)
  }

  private func sync(_ journal: Journal) {
    let ticket = journal.writer.beginSync()
    do throws(StorageError) {
      try ticket.perform()
      journal.writer.completeSync(ticket)
    } catch {
      journal.writer.failSync(ticket)
      let retryAt = clock.reading().boot
      locked { state in
        state.commit.fail(JournalTrouble(error, retryAt: retryAt), losesPages: true)
      }
      return logger.error("the journal can't be synced", metadata: ["error": "\(error)"])
    }
    let durable = journal.writer.durable
    let next = nextSync()
    let resume = locked { state in
      state.commit.nextSync = next
      // Before anybody is answered: who is finds the room that there is now.
      state.commit.unsyncedByteCount = journal.writer.unsyncedByteCount
      return state.commit.synced(through: durable)
    }
    let arrivalCount = gathering.count
    resume.resume()
    becameDurable(journal)
    gathering.gather(resume.count, since: arrivalCount, configuration.scheduler)
  }

  /// Rewrites from memory, to a new segment, what the poisoned one may lack.
  private func rescue(_ journal: Journal) {
    var resume: [CommitState.Resumption]?
    do throws(StorageError) {
      try journal.writer.rescue()
      // An event may get lost until the trouble is over, which only the lock decides.
      while true {
        resume = recover(journal)
        if resume != nil { break }
        try bridge(journal)
      }
    } catch {
      let trouble = JournalTrouble(
        error, retryAt: clock.reading().boot.later(by: EngineBounds.retryInterval.duration))
      let unknown = CacheError(
        .outcomeUnknown,
        "the change is in force, but the journal can't be written: \(trouble.error.message)",
        underlying: trouble.error)
      let resume = locked { state in
        state.commit.isWriting = false
        state.commit.fail(trouble)
        let released = state.continuesInMemory ? state.commit.releaseWriteWaiters() : []
        return released + state.commit.failAll(unknown)
      }
      resume.resume()
      return resumeRoomWaiters()
    }
    logger.notice(
      "the journal can be written again", metadata: ["durable": "\(journal.writer.durable)"])
    resume?.resume()
    becameDurable(journal)
  }

  /// Ends the trouble, where everything that was decided is journaled or in the open frame.
  /// - Returns: whom to answer; `nil` where events were decided in memory only.
  private func recover(_ journal: Journal) -> [CommitState.Resumption]? {
    let durable = journal.writer.durable
    let position = journal.writer.position
    return locked { state in
      guard state.commit.lostFirst == nil else { return nil }
      state.commit.isWriting = false
      state.commit.unsyncedByteCount = journal.writer.unsyncedByteCount
      state.commit.recover()
      state.commit.isRotationDue = false
      if state.checkpointing.capture?.position == nil {
        state.checkpointing.capture?.position = position
      }
      return state.commit.synced(through: durable)
    }
  }

  /// Goes on behind events that were decided in memory only: makes durable what came before them,
  /// then a checkpoint that stands in for them, then a segment that follows it and begins with
  /// `gap`.
  private func bridge(_ journal: Journal) throws(StorageError) {
    let reading = clock.reading()
    if let before = locked({ state in state.cutBeforeGap() }) {
      try journal.writer.append(
        before.frames, durable: before.durable, endsRun: true)
      try journal.writer.sync()
    }
    let segment = journal.writer.nextSegmentNumber
    let (capture, first, number) = locked { state in state.captureBridge(to: segment, reading) }
    do throws(StorageError) {
      let stream = try CheckpointStream(capture, number: number, journal)
      while case .more = try stream.step(self) {}
      try journal.writer.skip(through: capture.head.sequence)
    } catch {
      // As if the gap had not ended yet.
      _ = locked { state in
        state.widenGap(from: first)
        return state.endCapture(capture)
      }
      journal.writer.withdrawBridge(number, to: segment)
      throw error
    }
    _ = locked { state in state.endCapture(capture) }
    logger.warning(
      "events were never journaled",
      metadata: ["first": "\(first)", "last": "\(capture.head.sequence)"])
  }

  private func becameDurable(_ journal: Journal) {
    resumeRoomWaiters()
    signalProjector()
    if locked({ state in state.checkpointing.isReady(durable: state.commit.durable) }) {
      signalUpkeep()
    }
  }

  private func nextSync() -> Microseconds? {
    configuration.syncInterval.map { clock.reading().boot.later(by: $0) }
  }
}

extension EngineState {
  /// Whether so much is written and not synced that a sync begins by itself, before writes have to wait for it.
  var isMuchUnsynced: Bool {
    let most = min(EngineBounds.unsyncedByteCountMax, queues.unsyncedByteCountMax / 2)
    return commit.unsyncedByteCount > UInt64(most)
  }

  /// Tries again when it is time. At the end there is one last try.
  fileprivate mutating func taskInTrouble(
    _ trouble: JournalTrouble, _ reading: ClockReading
  ) -> JournalTask {
    if phase == .closing {
      if closing.isLastTryMade {
        closing.isJournalEnded = true
        closing.error = trouble.error
        return closing.isProjectorEnded ? .shutDown : .endJournal
      }
      guard commit.takeRoleForThread() else { return .idle(.signal) }
      closing.isLastTryMade = true
      return .rescue
    }
    guard trouble.retryAt <= reading.boot else {
      return .idle(.after(Microseconds(rawValue: trouble.retryAt.rawValue - reading.boot.rawValue)))
    }
    // A caller that still writes would find another segment under its hands.
    return commit.takeRoleForThread() ? .rescue : .idle(.signal)
  }

  /// A sync is due, and everything is cut: what is done then; `nil` where nothing is.
  fileprivate mutating func taskWhenCut() -> JournalTask? {
    if commit.durable < commit.written {
      commit.threadWantsRole = false
      return .sync
    }
    guard commit.hasSyncWaiters || closing.isDecided else { return nil }
    // A caller may have cut the frame that is waited for, or that has `closed` in it, and still write it.
    guard !commit.isWriting else {
      commit.threadWantsRole = true
      return .idle(.signal)
    }
    if commit.hasSyncWaiters { return .sync }
    closing.isJournalEnded = true
    return closing.isProjectorEnded ? .shutDown : .endJournal
  }

  /// The open frame with the last events that are journaled; `nil` where there are none.
  fileprivate mutating func cutBeforeGap() -> CutFrame? {
    guard !frame.isEmpty else { return nil }
    return CutFrame(frames: frame.takeAll(bootTime: frameBoot), durable: commit.durable)
  }

  /// Ends the gap: a checkpoint of the state as it is now, and `gap` as the next frame's first
  /// event.
  fileprivate mutating func captureBridge(
    to segment: UInt32, _ reading: ClockReading
  ) -> (Checkpointing.Capture, first: SequenceNumber, number: UInt32) {
    guard let first = commit.lostFirst else { preconditionFailure("there is no gap") }
    core.decideTouches(at: now(reading), into: &decision.pointee)
    absorb(reading)
    // Whatever was being captured before lies behind.
    var capture = beginCapture(withPins: true)
    capture.position = .start(of: segment)
    capture.gapFirst = first
    checkpointing.capture = capture
    commit.lostFirst = nil
    core.decideGap(from: first, at: now(reading), into: &decision.pointee)
    absorb(reading)
    return (capture, first, checkpointing.takeNumber())
  }

  /// The gap could not be ended: what came after it is part of it.
  fileprivate mutating func widenGap(from first: SequenceNumber) {
    counters.unjournaledEvents += frame.takeAll(bootTime: frameBoot).count
    commit.frameBegan = nil
    commit.lostFirst = first
  }

  fileprivate func isSyncDue(_ reading: ClockReading, _ interval: Duration?) -> Bool {
    if commit.hasSyncWaiters || commit.isSyncRequested || closing.isDecided { return true }
    if isMuchUnsynced { return true }
    guard interval != nil, commit.nextSync.map({ $0 <= reading.boot }) ?? false else {
      return false
    }
    return commit.durable < commit.written || !frame.isEmpty || core.hasUntoldTouches
  }

  fileprivate func isCutDue(_ reading: ClockReading, isSyncDue: Bool) -> Bool {
    if isSyncDue, core.hasUntoldTouches { return true }
    guard !frame.isEmpty else { return false }
    if isSyncDue || (commit.hasWriteWaiters && !commit.hasLeader) { return true }
    if frame.byteCount >= EngineBounds.frameByteCount { return true }
    return age(reading) >= EngineBounds.frameAge.rawValue
  }

  private func age(_ reading: ClockReading) -> Int64 {
    reading.boot.rawValue - (commit.frameBegan?.rawValue ?? reading.boot.rawValue)
  }

  /// Nothing is due: when will something be?
  fileprivate mutating func timeToNextTask(
    _ reading: ClockReading, _ interval: Duration?
  ) -> BackgroundWait {
    var wait: Int64?
    if !frame.isEmpty { wait = EngineBounds.frameAge.rawValue - age(reading) }
    if let time = commit.timeToWatch(reading.boot) { wait = min(wait ?? .max, time) }
    if let interval {
      if commit.nextSync.map({ $0 <= reading.boot }) ?? true {
        commit.nextSync = reading.boot.later(by: interval)
      }
      wait = min(wait ?? .max, commit.nextSync!.rawValue - reading.boot.rawValue)
    }
    return wait.map { .after(Microseconds(rawValue: max($0, 0))) } ?? .signal
  }
}

extension Microseconds {
  /// The same clock's reading `duration` later, or the last one that there is.
  func later(by duration: Duration) -> Microseconds {
    let (sum, isOver) = rawValue.addingReportingOverflow(duration.microseconds)
    return Microseconds(rawValue: isOver ? .max : sum)
  }
}
