import DequeModule
import HindsightCore
import HindsightJournal
import HindsightStore

/// Everything that the engine's lock guards. Memory operations only: no I/O, no callback, no
/// release of a caller's value.
struct EngineState: ~Copyable, Sendable {
  enum Phase {
    case open
    /// The handle is gone or `close` was called; background work finishes.
    case closing
    case closed
  }

  var core: CacheState
  var timeline: Timeline
  var phase = Phase.open
  let opened: Opened
  let hasJournal: Bool
  let queues: QueueLimits
  /// Whether writes go on while the journal can't be written.
  let continuesInMemory: Bool
  /// The decision at hand. Apart from the rest, which changes while its consequences are drawn. Its memory is
  /// this state's until `deinit`.
  nonisolated(unsafe) let decision: UnsafeMutablePointer<Decision>
  var hits = HitLog()
  var ticked = TickedTime()
  var misses = MissMemory()
  var counters = CacheStatistics()
  var frame: OpenFrame
  /// Boot time of the last event, and of the last one in the open frame. Frames and checkpoints
  /// carry these and not the time of their writing: what passed in between has passed (INV016).
  private(set) var lastBoot = Microseconds(rawValue: 0)
  private(set) var frameBoot = Microseconds(rawValue: 0)
  var commit: CommitState
  var projection: Projection
  var checkpointing = Checkpointing()
  /// Callers that wait for room in a queue, and those that wait for the store to catch up.
  var roomWaiters: [CommitState.Waiter] = []
  var settleWaiters: [CommitState.Waiter] = []
  var closing = Closing()
  var garbage = Garbage()
  /// What a clear under way puts in the place of everything, and what others have replaced: upkeep
  /// lets it go, or the next clears where that waits for the disk.
  var cleared: ClearedContents?
  var remains: [ClearedContents] = []

  init(
    core: consuming CacheState, timeline: Timeline, opened: Opened, hasJournal: Bool,
    configuration: CacheConfiguration, projection: Projection, durable: SequenceNumber
  ) {
    self.core = core
    self.timeline = timeline
    self.opened = opened
    self.hasJournal = hasJournal
    queues = configuration.queues
    continuesInMemory = configuration.journalFailure == .continueInMemory
    self.projection = projection
    decision = .allocate(capacity: 1)
    decision.initialize(to: Decision())
    frame = OpenFrame()
    commit = CommitState(durable: durable, callersWrite: !configuration.usesWriterThread)
  }

  deinit {
    core.releasePayloads()
    decision.deinitialize(count: 1)
    decision.deallocate()
  }

  var hasStore: Bool { opened.storeLimit != nil }

  /// The time of a decision.
  mutating func now(_ reading: ClockReading) -> Timestamp {
    timeline.now(reading, last: core.head.at)
  }

  /// Whether writes go on without the journal at present.
  var isInMemoryOnly: Bool { continuesInMemory && commit.trouble != nil }

  /// Draws the consequences of the decision at hand: values, rows, the open frame, statistics.
  mutating func absorb(_ reading: ClockReading) {
    giveCapturedValues()
    let decision = decision
    absorb(decision.pointee.effects.span)
    if let first = decision.pointee.records.first?.sequence {
      // A coarse reading may lie behind the precise one that `at` comes from.
      lastBoot = max(lastBoot, reading.boot)
      let isJournaled = isJournaled(from: first, count: decision.pointee.records.count)
      journal(decision.pointee.records.span, isJournaled)
    }
    noteJournaled(reading)
    decision.pointee.removeAll()
  }

  /// The same for a decision that sets a value.
  mutating func absorb(_ set: borrowing SetInForce, _ reading: ClockReading) {
    giveCapturedValues()
    let decision = decision
    absorb(decision.pointee.effects.span)
    guard case .inserted(let slot) = decision.pointee.effects.last else {
      preconditionFailure("a set's last effect is its entry")
    }
    insert(set, slot)
    lastBoot = max(lastBoot, reading.boot)
    // All of the decision or nothing.
    let first = decision.pointee.records.first?.sequence ?? set.fact.sequence
    let isJournaled = isJournaled(from: first, count: decision.pointee.records.count + 1)
    journal(decision.pointee.records.span, isJournaled)
    journal(set, isJournaled)
    noteJournaled(reading)
    decision.pointee.removeAll()
  }

  private mutating func absorb(_ effects: borrowing Span<Effect>) {
    let sequence = core.head.sequence
    for at in effects.indices { absorb(effects[at], sequence) }
  }

  private mutating func noteJournaled(_ reading: ClockReading) {
    if hasJournal {
      frame.endDecision(bootTime: frameBoot)
      if commit.frameBegan == nil, !frame.isEmpty { commit.frameBegan = reading.boot }
    } else {
      commit.written = core.head.sequence
      commit.durable = core.head.sequence
    }
  }

  /// Counts the decision's records and appends them to the open frame.
  private mutating func journal(_ records: borrowing Span<Record>, _ isJournaled: Bool) {
    for at in records.indices { count(records[at].event) }
    guard isJournaled else { return }
    frameBoot = lastBoot
    for at in records.indices {
      frame.append(records[at])
      // The order of more entries than one event names: a frame may end in between.
      if case .touched = records[at].event, at + 1 < records.count,
        case .touched = records[at + 1].event
      {
        frame.endDecision(bootTime: frameBoot)
      }
    }
  }

  private mutating func journal(_ set: borrowing SetInForce, _ isJournaled: Bool) {
    counters.sets += 1
    guard isJournaled else { return }
    let (fact, key, reason) = (set.fact, set.key, set.reason)
    set.bytes.withUnsafeBytes { frame.append(fact, key: key, value: $0, reason: reason) }
    frameBoot = lastBoot
  }

  /// Whether a decision's events go to the open frame. Where the journal can't be written and that is full, they
  /// are dropped, up to the rescue: a checkpoint will stand in for them.
  private mutating func isJournaled(from first: SequenceNumber, count: Int) -> Bool {
    guard hasJournal else { return false }
    // More while a checkpoint is written that ends a gap: else a next gap would begin before this one has ended.
    let byteCountMax =
      queues.unwrittenByteCountMax * (checkpointing.capture?.gapFirst == nil ? 1 : 4)
    if commit.lostFirst == nil, isInMemoryOnly, frame.byteCount > byteCountMax {
      commit.lostFirst = first
    }
    if commit.lostFirst == nil { return true }
    counters.unjournaledEvents += count
    return false
  }

  private mutating func insert(_ set: borrowing SetInForce, _ slot: Slot) {
    let fact = set.fact
    let isPinned = fact.storeExpiry != nil
    core.give(
      fact.memoryExpiry == nil
        ? ValueWord(Payload(bytes: set.bytes, isPinned: isPinned))
        : ValueWord(set.value, isPinned: isPinned),
      to: slot)
    guard let expiry = fact.storeExpiry else { return }
    projection.insert(fact, key: set.key, value: set.bytes, expiry: expiry)
  }

  private mutating func absorb(_ effect: Effect, _ sequence: SequenceNumber) {
    switch effect {
    case .inserted, .memoryBegan: break
    case .memoryEnded(let slot, _): dropValue(slot)
    case .storeEnded(let slot, let origin, _):
      if hasStore { projection.delete(origin, at: sequence) }
      core.unpinPayload(slot)
    case .removed(let slot, let keyHash, let ending):
      dropValue(slot)
      core.changePayload(slot) { $0 = Payload() }
      misses.remember(keyHash, ending)
    case .removedAll: dropAll(sequence)
    }
  }

  /// Everything is cleared: values go with the index that had them.
  private mutating func dropAll(_ sequence: SequenceNumber) {
    guard let cleared else { preconditionFailure("only a clear removes all") }
    if hasStore { projection.deleteAll(at: sequence) }
    cleared.index.forEachKeyHash(MissMemory.keyCountMax) { misses.remember($0, .cleared) }
    remains.append(cleared)
  }

  /// Of what clears have replaced, the oldest that upkeep should have let go of by now: to be let go of after
  /// unlocking.
  mutating func takeOldRemains() -> [ClearedContents] {
    let count = max(0, remains.count - EngineBounds.remainsCountMax)
    defer { remains.removeFirst(count) }
    return Array(remains.prefix(count))
  }

  private mutating func dropValue(_ slot: Slot) {
    if let object = core.dropValue(slot) { garbage.append(object) }
  }

  private mutating func count(_ event: Event) {
    switch event {
    case .invalidated: counters.invalidations += 1
    case .promoted: counters.promotions += 1
    case .evicted(_, .memory, _): counters.evictions.memory += 1
    case .evicted(_, .store, _): counters.evictions.store += 1
    case .expired(_, .memory): counters.expiries.memory += 1
    case .expired(_, .store): counters.expiries.store += 1
    default: break
    }
  }
}

/// A set that has been decided, with what the core doesn't keep of it. Lent for the time of the call,
/// by a caller who has its own hold on everything in it.
struct SetInForce: ~Copyable {
  let fact: SetFact
  let key: UnsafeRawBufferPointer
  let value: DecodedValue
  /// The encoded value.
  let bytes: [UInt8]
  let reason: String?
}

/// An empty index with no values; after a clear, the one that it replaced, with its values.
final class ClearedContents: Sendable {
  let index: DetachedIndex

  /// - Parameter hashSeed: that of the state whose index it replaces.
  init(_ opened: Opened, hashSeed: UInt64) { index = DetachedIndex(opened, hashSeed: hashSeed) }

  deinit { index.forEachAttachment { _ = ValueWord(rawValue: $0).take() } }
}

/// How far the end has come.
struct Closing {
  /// The `closed` event is decided; nothing follows it.
  var isDecided = false
  /// The journal is durable as far as it will ever be.
  var isJournalEnded = false
  var isLastTryMade = false
  var isProjectorEnded = false
  /// The last checkpoint is there, if there is to be one, and the store is synced.
  var isComplete = false
  /// Background activities that have not finished.
  var activityCount = 0
  var error: CacheError?
  var waiters: [UnsafeContinuation<Void, Never>] = []
}

/// A checkpoint on its way: begun under the lock at a frame's end, written in the background.
struct Checkpointing {
  /// The state as of a frame's end; `CacheState` has its entries.
  struct Capture {
    var head: StateHead
    var orderIsTold: Bool
    var entryCount: Int
    var bootTime: UInt64
    /// Whether the values that the store lacks belong to it, too.
    var withPins: Bool
    /// Where replay goes on after it; known once the frame is written.
    var position: JournalPosition?
    /// The first of the events before it that the journal lacks, where it does.
    var gapFirst: SequenceNumber?
    /// Checksum of the header of the frame before that place, where it is known.
    var previousChecksum: UInt32?

    /// One that bridges a gap is the journal thread's.
    var isForUpkeep: Bool { gapFirst == nil }
  }

  var capture: Capture?
  private(set) var nextNumber: UInt32 = 1
  /// How far the journal had grown at the last capture, and how much of it the last checkpoint was worth.
  var capturedAt: UInt64 = 0
  var lastWorth: UInt64 = 0
  /// Whether one has been finished: those before it may be needed no longer.
  var hasFinished = false
  /// So much of the journal comes between two of them at least, and before one at the end.
  private var byteCountMin = EngineBounds.checkpointByteCountMin
  private var closingByteCountMin = EngineBounds.closingCheckpointByteCountMin

  init() {}

  init(nextNumber: UInt32, _ configuration: CacheConfiguration) {
    self.nextNumber = nextNumber
    byteCountMin = configuration.checkpointByteCountMin
    closingByteCountMin = configuration.closingCheckpointByteCountMin
  }

  /// A number for a checkpoint. One that isn't used is left out.
  mutating func takeNumber() -> UInt32 {
    defer { nextNumber += 1 }
    return nextNumber
  }

  /// - Parameter byteCount: as far as the journal has grown, what was removed of it included.
  func isDue(byteCount: UInt64) -> Bool {
    capture == nil && grown(byteCount) >= max(byteCountMin, lastWorth)
  }

  /// Whether one is to be made of the end. A capture that is under way counts as the last one, but won't be written
  /// any more.
  func isDueAtEnd(byteCount: UInt64) -> Bool {
    capture != nil || grown(byteCount) >= closingByteCountMin
  }

  private func grown(_ byteCount: UInt64) -> UInt64 { byteCount - min(byteCount, capturedAt) }
}
