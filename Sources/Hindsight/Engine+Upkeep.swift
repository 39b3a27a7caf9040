import HindsightCore
import HindsightJournal

// Upkeep: the sweeper, checkpoints and retention. None of it is urgent; all of it is in slices.

extension Engine {
  /// One piece of upkeep.
  func upkeepStep() -> BackgroundWait {
    let (phase, capture, durable) = locked { state in
      (state.phase, state.checkpointing.capture, state.commit.durable)
    }
    guard phase == .open else { return .finished }
    if let journal, let capture, capture.position != nil {
      guard durable >= capture.head.sequence else {
        locked { state in state.commit.isSyncRequested = true }
        signalJournal()
        return sweepWait()
      }
      writeCheckpoint(capture, journal)
      return .again
    }
    guard configuration.sweepInterval != nil else { return .signal }
    do throws(CacheError) {
      if try sweep().result == EngineBounds.sweepSliceCount { return .again }
    } catch {
      // Refused for now, as the journal can't be written: what has expired counts as absent all
      // the same, and the next sweep will find it.
      logger.debug("not swept", metadata: ["error": "\(error)"])
    }
    return sweepWait()
  }

  /// Until the next expiry, but at most the sweep's interval, and not in a tight loop.
  private func sweepWait() -> BackgroundWait {
    guard let interval = configuration.sweepInterval else { return .signal }
    let reading = clock.reading()
    let untilExpiry = locked { state -> Int64? in
      let now = state.timeline.peek(reading, last: state.core.head.at)
      return state.core.nextExpiry.map { $0.since(now).rawValue }
    }
    let most = interval.microseconds
    return .after(Microseconds(rawValue: min(most, max(untilExpiry ?? most, most / 100))))
  }

  private func writeCheckpoint(_ capture: Checkpointing.Capture, _ journal: Journal) {
    do throws(DamageError) {
      let number = locked { state in state.checkpointing.takeNumber() }
      let written = try DamageError.wrap { () throws(StorageError) in
        try journal.writeCheckpoint(capture, number: number)
      }
      locked { state in
        state.checkpointing.capture = nil
        state.checkpointing.lastByteCount = written
      }
      try retain(journal)
    } catch {
      locked { state in state.checkpointing.capture = nil }
      logger.error("no checkpoint", metadata: ["error": "\(error)"])
    }
  }

  /// Removes history over the limits, but never what recovery or the store still needs.
  private func retain(_ journal: Journal) throws(DamageError) {
    let needed = locked { state in
      state.hasStore ? min(state.commit.durable, state.projection.synced) : state.commit.durable
    }
    let oldest = configuration.retention.ageMax.map {
      Timestamp(microseconds: clock.reading().wall.rawValue - $0.microseconds)
    }
    let removed = try JournalRetention(journal.storage).run(
      byteCountMax: configuration.retention.byteCountMax, createdBefore: oldest, needed: needed,
      writer: journal.writer)
    if !removed.isEmpty {
      logger.info("history dropped", metadata: ["files": "\(removed.joined(separator: ", "))"])
    }
  }
}

extension Engine.Journal {
  /// - Returns: the checkpoint's size in bytes.
  func writeCheckpoint(
    _ capture: Checkpointing.Capture, number: UInt32
  ) throws(StorageError) -> UInt64 {
    guard let position = capture.position else { preconditionFailure("not written yet") }
    let header = CheckpointHeader(
      number: number, journalID: id, head: capture.head, digest: capture.digest,
      entryCount: UInt64(capture.entries.count), position: position, bootTime: capture.bootTime,
      gapFirst: capture.gapFirst)
    let writer = try CheckpointWriter(storage, header)
    for (image, value) in capture.entries { try writer.append(image, value: value) }
    return try writer.finish()
  }
}

extension Checkpointing {
  /// Whether a capture can be written: its place in the journal is known and durable.
  func isReady(durable: SequenceNumber) -> Bool {
    capture.map { $0.position != nil && durable >= $0.head.sequence } ?? false
  }
}
