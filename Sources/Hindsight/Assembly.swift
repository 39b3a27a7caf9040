import HindsightCore
import HindsightJournal
import HindsightStore

/// Puts an engine's state together from what a recovery found, and opens it.
struct Assembly: ~Copyable {
  let opened: Opened
  let journalID: JournalID
  private let configuration: CacheConfiguration
  private let clock: any CacheClock
  private let report: RecoveryReport?
  var core: CacheState
  var projection: Projection
  /// Residencies whose values can't be found anywhere.
  var lost: [(origin: SequenceNumber, tier: Tier)] = []

  init(
    _ opened: Opened, _ configuration: CacheConfiguration, _ sink: RecoverySink,
    _ recovered: RecoveredJournal?, _ clock: any CacheClock
  ) {
    self.opened = opened
    self.configuration = configuration
    self.clock = clock
    report = recovered?.report
    journalID = recovered?.writer.journalID ?? .nobody
    projection = sink.projection
    core = sink.take()
  }

  deinit { core.releasePayloads() }

  /// Decides what opening takes: what the recovery found, what doesn't fit any more, `opened`. All
  /// of it is durable when this returns.
  consuming func open(_ journal: Engine.Journal?) throws(CacheError) -> EngineState {
    let reading = clock.reading()
    let durable = core.head.sequence
    let timeline = timeline(reading)
    var state = EngineState(
      core: core.handOver(), timeline: timeline, opened: opened, hasJournal: journal != nil,
      configuration: configuration, projection: projection, durable: durable)
    let now = state.now(reading)
    if let report {
      if let first = report.untoldGap {
        state.core.decideGap(from: first, at: now, into: &state.decision.pointee)
      }
      if let recovered = Recovered(report) {
        state.core.decideRecovered(recovered, at: now, into: &state.decision.pointee)
      }
    }
    for (origin, tier) in lost {
      guard let slot = state.core.find(origin: origin) else { continue }
      state.core.decideLost(slot, tier, at: now, into: &state.decision.pointee)
      guard state.decision.pointee.records.count >= Bounds.eventsPerSlice else { continue }
      state.absorb(reading)
      try Self.write(&state, journal, reading, unlessBelow: EngineBounds.frameByteCount)
    }
    state.absorb(reading)
    while true {
      let hasMore = state.core.decideShrink(to: opened, at: now, into: &state.decision.pointee)
      state.absorb(reading)
      try Self.write(&state, journal, reading, unlessBelow: EngineBounds.frameByteCount)
      if !hasMore { break }
    }
    let toldMax = configuration.originsPerEventMax
    state.core.decideOpen(opened, at: now, entryCountMax: toldMax, into: &state.decision.pointee)
    state.absorb(reading)
    while state.core.decideOrder(at: now, entryCountMax: toldMax, into: &state.decision.pointee) {
      state.absorb(reading)
      try Self.write(&state, journal, reading, unlessBelow: EngineBounds.frameByteCount)
    }
    try Self.write(&state, journal, reading, unlessBelow: 0)
    try Self.sync(&state, journal, report, configuration)
    return state
  }

  private borrowing func timeline(_ reading: ClockReading) -> Timeline {
    let head = core.head
    let isSameBoot = opened.bootID != 0 && head.opened?.bootID == opened.bootID
    let lastBoot = report?.bootTime.map { Microseconds(rawValue: Int64(clamping: $0)) }
    return Timeline(reading, lastAt: head.at, lastBoot: isSameBoot ? lastBoot : nil)
  }

  private static func write(
    _ state: inout EngineState, _ journal: Engine.Journal?, _ reading: ClockReading,
    unlessBelow byteCount: Int
  ) throws(CacheError) {
    guard let journal, !state.frame.isEmpty, state.frame.byteCount >= byteCount else { return }
    let cut = state.cut(journal.writer, reading)
    do throws(StorageError) {
      try journal.writer.append(
        cut.frames, durable: cut.durable, endsRun: cut.isCaptured)
    } catch {
      throw CacheError(storage: error)
    }
    state.noteWritten(cut, journal.writer.position)
  }

  private static func sync(
    _ state: inout EngineState, _ journal: Engine.Journal?, _ report: RecoveryReport?,
    _ configuration: CacheConfiguration
  ) throws(CacheError) {
    guard let journal else { return }
    do throws(StorageError) {
      let ticket = journal.writer.beginSync()
      try ticket.perform()
      journal.writer.completeSync(ticket)
      // No checkpoint is made of an opening: what a frame was to be the end of isn't captured any longer.
      _ = state.core.endCapture()
      state.checkpointing = Checkpointing(
        nextNumber: try journal.nextCheckpointNumber(), configuration)
      if let report {
        // The journal has grown by what was replayed since its last checkpoint.
        let byteCount = journal.writer.grownByteCount
        state.checkpointing.capturedAt = byteCount - min(byteCount, report.replayedByteCount)
        state.checkpointing.lastWorth = report.checkpointByteCount
      }
    } catch {
      throw CacheError(storage: error)
    }
    state.commit.written = journal.writer.durable
    state.commit.durable = journal.writer.durable
  }
}

extension Recovered {
  /// What the journal says of a recovery; nothing where there was nothing to recover.
  fileprivate init?(_ report: RecoveryReport) {
    let cause: Cause
    switch report.outcome {
    case .new, .clean: return nil
    case .unclean: cause = .unclean
    case .tornTail: cause = .tornTail
    case .salvaged: cause = .salvaged
    }
    self.init(
      cause: cause, segment: report.segment, byteOffset: report.byteOffset,
      byteCountDropped: report.byteCountDropped)
  }
}

extension Engine.Journal {
  fileprivate func nextCheckpointNumber() throws(StorageError) -> UInt32 {
    (try JournalDirectory.checkpoints(in: storage).first ?? 0) + 1
  }
}
