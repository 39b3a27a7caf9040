import HindsightCore
import HindsightJournal
import HindsightThreads

/// Upkeep: the sweeper, checkpoints and retention. None of it is urgent; all of it is in slices.
final class Upkeep {
  private let engine: Engine
  /// The checkpoint that is being written.
  private var stream: CheckpointStream?

  init(engine: Engine) { self.engine = engine }

  /// One piece of upkeep.
  func step() -> BackgroundWait {
    let (phase, capture, durable, remains, isPressed) = engine.locked { state in
      defer { state.remains = [] }
      return (
        state.phase, state.checkpointing.capture, state.commit.durable, state.remains,
        state.isPressed
      )
    }
    // Amidst a burst a checkpoint is what makes the next opening short.
    StandingBack.setUrgent(isPressed)
    withExtendedLifetime(remains) {}  // a clear's, which nobody waits for
    guard phase == .open else {
      abandonCheckpoint()
      return finish()
    }
    if let journal = engine.journal {
      if let stream {
        advance(stream, journal)
        return .again
      }
      if let capture, capture.isForUpkeep, capture.position != nil {
        guard durable >= capture.head.sequence else {
          engine.locked { state in state.commit.isSyncRequested = true }
          engine.signalJournal()
          return sweepWait()
        }
        beginCheckpoint(capture, journal)
        return .again
      }
    }
    guard engine.configuration.sweepInterval != nil else { return .signal }
    do throws(CacheError) {
      if try engine.sweep()?.result == EngineBounds.sweepSliceCount { return .again }
    } catch {
      // Refused for now, as the journal can't be written: what has expired counts as absent all
      // the same, and the next sweep will find it.
      engine.logger.debug("not swept", metadata: ["error": "\(error)"])
    }
    return sweepWait()
  }

  /// Until the next expiry, but at most the sweep's interval, and not in a tight loop.
  private func sweepWait() -> BackgroundWait {
    guard let interval = engine.configuration.sweepInterval else { return .signal }
    let reading = engine.clock.reading()
    let untilExpiry = engine.locked { state -> Int64? in
      let now = state.timeline.peek(reading, last: state.core.head.at)
      return state.core.nextExpiry.map { $0.since(now).rawValue }
    }
    let most = interval.microseconds
    return .after(Microseconds(rawValue: min(most, max(untilExpiry ?? most, most / 100))))
  }

  // MARK: Checkpoints

  private func beginCheckpoint(_ capture: Checkpointing.Capture, _ journal: Engine.Journal) {
    let number = engine.locked { state in state.checkpointing.takeNumber() }
    do throws(StorageError) {
      stream = try CheckpointStream(capture, number: number, journal)
    } catch {
      failed(capture, error)
    }
  }

  private func advance(_ stream: CheckpointStream, _ journal: Engine.Journal) {
    do throws(StorageError) {
      switch try stream.step(engine) {
      case .more: return
      case .void: self.stream = nil
      case .finished(let worth):
        self.stream = nil
        engine.locked { state in
          state.checkpointing.lastWorth = worth
          state.checkpointing.hasFinished = true
        }
        end(stream.capture)
        dropHistory(journal)
      }
    } catch {
      failed(stream.capture, error)
    }
  }

  private func failed(_ capture: Checkpointing.Capture, _ error: StorageError) {
    stream = nil
    end(capture)
    engine.logger.error(
      "a checkpoint can't be written; the next one is tried later", metadata: ["error": "\(error)"])
  }

  /// Lets go of a capture, its memory after unlocking.
  private func end(_ capture: Checkpointing.Capture) {
    _ = engine.locked { state in state.endCapture(capture) }
  }

  /// The cache closes: the journal has it all, and nobody waits for a checkpoint.
  private func abandonCheckpoint() {
    guard let stream else { return }
    self.stream = nil
    do throws(StorageError) {
      try stream.abandon()
    } catch {
      engine.logger.error("an unfinished checkpoint stays", metadata: ["error": "\(error)"])
    }
  }

  // MARK: Retention

  /// The cache closes: once the store has synced all of it, more can go than before. In a session of a few
  /// seconds there is no other time.
  private func finish() -> BackgroundWait {
    guard let journal = engine.journal else { return .finished }
    let (isComplete, error, hasNewCheckpoint) = engine.locked { state in
      (state.closing.isComplete, state.closing.error, state.checkpointing.hasFinished)
    }
    guard isComplete else { return .signal }
    // Looking through the files takes time: only where it may lead to something.
    let retention = engine.configuration.retention
    let isOver = retention.byteCountMax.map { journal.writer.journalByteCount > $0 } ?? false
    guard error == nil, hasNewCheckpoint || isOver || retention.ageMax != nil else {
      return .finished
    }
    dropHistory(journal)
    return .finished
  }

  private func dropHistory(_ journal: Engine.Journal) {
    do throws(DamageError) {
      try retain(journal)
    } catch {
      engine.logger.error("history isn't dropped", metadata: ["error": "\(error)"])
    }
  }

  /// Removes history over the limits, but never what recovery or the store still needs.
  private func retain(_ journal: Engine.Journal) throws(DamageError) {
    let needed = engine.locked { state in
      state.hasStore ? min(state.commit.durable, state.projection.synced) : state.commit.durable
    }
    let wall = engine.clock.reading().wall
    let oldest = engine.configuration.retention.ageMax.map { age in
      let (oldest, isBeforeAll) = wall.rawValue.subtractingReportingOverflow(age.microseconds)
      return Timestamp(microseconds: isBeforeAll ? .min : oldest)
    }
    let removed = try JournalRetention(journal.storage).run(
      byteCountMax: engine.configuration.retention.byteCountMax, createdBefore: oldest,
      needed: needed,
      writer: journal.writer)
    if !removed.isEmpty {
      // A checkpoint goes whenever a newer one is there, several times a second while much is set.
      engine.logger.log(
        level: removed.contains(where: JournalDirectory.isSegment) ? .info : .debug,
        "history dropped", metadata: ["files": "\(removed.joined(separator: ", "))"])
    }
  }
}

extension Checkpointing {
  /// Whether a capture can be written: its place in the journal is known and durable.
  func isReady(durable: SequenceNumber) -> Bool {
    capture.map { $0.isForUpkeep && $0.position != nil && durable >= $0.head.sequence } ?? false
  }
}
