import HindsightCore
import HindsightJournal

// The end: asked for by `close` or by the handle's deinit, carried out by the background work.
// The journal's thread writes `closed` and syncs, then the projector drains and ends, then the
// journal's thread closes its files while upkeep drops history. Who finishes last lets go of the directory.

extension Engine {
  /// Asks for the end, without waiting for it.
  func requestClose() {
    let room = locked { state -> [CommitState.Waiter] in
      guard state.phase == .open else { return [] }
      state.phase = .closing
      state.closing.isProjectorEnded = store == nil
      state.closing.isJournalEnded = journal == nil
      defer { state.roomWaiters = [] }
      return state.roomWaiters
    }
    let closed = CacheError(.closed, "the cache was closed while a write waited for room")
    room.map { ($0, .failed(closed)) }.resume()
    signalJournal()
    signalProjector()
    signalUpkeep()
    signalReader()
  }

  /// Asks for the end and waits for it. Closing a closed cache does nothing, and throws what the first time
  /// threw.
  /// - Throws: whatever kept the journal from being written to its end.
  nonisolated(nonsending) func close() async throws(CacheError) {
    requestClose()
    await withUnsafeContinuation { continuation in
      let isClosed = locked { state in
        if state.phase == .closed { return true }
        state.closing.waiters.append(continuation)
        return false
      }
      if isClosed { continuation.resume() }
    }
    if let error = locked({ state in state.closing.error }) { throw error }
  }

  /// The projector has ended and closed the store.
  func projectorEnded() {
    locked { state in state.closing.isProjectorEnded = true }
    signalReader()
    signalJournal()
  }

  /// Writes a checkpoint of the end, unless the last one is near: the next opening then replays
  /// nothing. Where that fails, it replays; the journal has it all.
  func writeLastCheckpoint(_ journal: Journal) {
    guard let (capture, number) = locked({ state in state.captureEnd(journal.writer) }) else {
      return
    }
    do throws(StorageError) {
      let stream = try CheckpointStream(capture, number: number, journal)
      while case .more = try stream.step(self) {}
      locked { state in state.checkpointing.hasFinished = true }
    } catch {
      logger.error(
        "the closing checkpoint can't be written; the next opening replays more",
        metadata: ["error": "\(error)"])
    }
    _ = locked { state in state.endCapture(capture) }
  }

  /// Closes the journal's files, on its own thread.
  func closeJournal(_ journal: Journal) {
    do throws(StorageError) {
      try journal.writer.close()
    } catch {
      let failure = CacheError(storage: error)
      locked { state in state.closing.error = state.closing.error ?? failure }
      logger.error("the journal can't be closed", metadata: ["error": "\(error)"])
    }
  }

  /// A background activity has finished. With the last one the engine ends.
  func activityFinished() {
    let isLast = locked { state in
      state.closing.activityCount -= 1
      return state.closing.activityCount == 0
    }
    if isLast { end() }
  }

  private func end() {
    directoryLock?.unlock()
    // Activities hold the engine: let go of them, or nobody ever lets go of either.
    releaseBackground()
    typealias Ended = (
      [UnsafeContinuation<Void, Never>], [CommitState.Resumption], [CommitState.Resumption]
    )
    let (waiters, rest, settle) = locked { state -> Ended in
      state.phase = .closed
      let unknown = CacheError(
        .outcomeUnknown, "the cache was closed before the journal or the store had it",
        underlying: state.closing.error)
      let rest = state.commit.end(unknown)
      let settle = state.settleWaiters
      state.settleWaiters = []
      defer { state.closing.waiters = [] }
      return (state.closing.waiters, rest, settle.map { ($0, .failed(unknown)) })
    }
    rest.resume()
    settle.resume()
    for waiter in waiters { waiter.resume() }
  }
}

extension EngineState {
  /// Begins a capture of the end, once, where all of it is durable and a replay of it would take
  /// longer than a checkpoint.
  fileprivate mutating func captureEnd(
    _ writer: JournalWriter
  ) -> (Checkpointing.Capture, number: UInt32)? {
    let byteCount = writer.grownByteCount
    guard closing.error == nil, commit.trouble == nil, commit.lostFirst == nil,
      core.head.isClosed, commit.durable == core.head.sequence,
      checkpointing.isDueAtEnd(byteCount: byteCount)
    else { return nil }
    checkpointing.capturedAt = byteCount
    var capture = beginCapture(withPins: false)
    let end = writer.end
    capture.position = end.position
    capture.previousChecksum = end.previousChecksum
    checkpointing.capture = capture
    return (capture, checkpointing.takeNumber())
  }

  /// Decides `closed`, once, when the end was asked for.
  mutating func decideCloseIfAsked(_ reading: ClockReading) {
    guard phase == .closing, !closing.isDecided, commit.trouble == nil else { return }
    core.decideClose(at: now(reading), into: &decision.pointee)
    absorb(reading)
    closing.isDecided = true
  }
}
