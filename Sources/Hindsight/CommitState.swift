import DequeModule
import HindsightCore
import HindsightJournal

/// Group commit without a hand-off, as a state machine: its methods say what to do,
/// `Engine` does it after unlocking.
///
/// There is one *write role*. Who finds it free writes ONE frame for all that wait. Where several
/// callers do, one of them *leads*: it comes to write when those ready to run before it have come to
/// wait, so that they share its frame. It doesn't hold the role until then, for its executor may be
/// blocked: the journal's thread looks after leaders that are late. Only that thread syncs, rotates
/// and rescues, since those block; it alone writes where callers are not to.
struct CommitState: Sendable {
  /// A caller that waits for an acknowledgement.
  struct Waiter: Sendable {
    var id: UInt64
    var sequence: SequenceNumber
    var continuation: UnsafeContinuation<WaitOutcome, Never>
  }

  /// What becomes of a wait.
  enum WaitOutcome: Sendable {
    case acknowledged
    /// The waiter leads now: it writes for all that wait when it runs.
    case lead
    case failed(CacheError)
  }

  /// Waiters to resume once the lock is released.
  typealias Resumption = (Waiter, WaitOutcome)

  var written: SequenceNumber
  var durable: SequenceNumber
  /// Bytes of frames that the writer keeps, since they are written but not durable.
  var unsyncedByteCount: UInt64 = 0
  /// Whether somebody holds the write role.
  var isWriting = false
  /// Whether the last frame was waited for by others than its writer: they tend to come back, and who
  /// finds nobody writing lets them come first.
  private var isShared = false
  /// Whether a caller is on its way to write for all that have come until then.
  private(set) var hasLeader = false
  /// How many have led so far.
  private var leadCount: UInt64 = 0
  /// Whether the journal's thread looks after leaders every now and then.
  private var isWatched = false
  /// The leader that it saw last, and until when that is in time.
  private var watched: (lead: UInt64, until: Microseconds)?
  /// The journal's thread found the role taken, and gets it next.
  var threadWantsRole = false
  /// The segment is full: the next frame goes to a new one.
  var isRotationDue = false
  /// Somebody wants everything durable, without waiting for it.
  var isSyncRequested = false
  /// Bytes of frames that the journal's thread has written while a sync was due.
  private var putOffByteCount = 0
  /// When the open frame got its first event, in boot time.
  var frameBegan: Microseconds?
  /// Whether the journal's thread knows that the open frame has begun, and that it is full.
  var isTimed = false
  var isFullSignaled = false
  /// When the next background sync is due, in boot time.
  var nextSync: Microseconds?
  /// Why the journal can't be written at present.
  private(set) var trouble: JournalTrouble?
  /// The first event that isn't journaled any more, since the open frame was full (`.continueInMemory`).
  var lostFirst: SequenceNumber?
  /// The engine has ended: nobody is left to answer who comes to wait now, and this is what they
  /// hear.
  private(set) var ended: CacheError?

  private var writeWaiters: Deque<Waiter> = []
  private var syncWaiters: Deque<Waiter> = []
  private let callersWrite: Bool

  init(durable: SequenceNumber, callersWrite: Bool = true) {
    written = durable
    self.durable = durable
    self.callersWrite = callersWrite
  }

  var hasWriteWaiters: Bool { !writeWaiters.isEmpty }
  var hasSyncWaiters: Bool { !syncWaiters.isEmpty }
  var waiterCount: Int { writeWaiters.count + syncWaiters.count }

  func isAcknowledged(_ sequence: SequenceNumber, _ level: Acknowledgement) -> Bool {
    switch level {
    case .enqueued: true
    case .written: written >= sequence
    case .durable: durable >= sequence
    }
  }

  /// Takes the write role for a caller, if its thread may write and nobody is expected.
  mutating func takeRoleForCaller() -> Bool {
    guard mayCallerWrite, !hasLeader, !isShared else { return false }
    isWriting = true
    return true
  }

  /// Whether the write role is free, and nothing is to be done that only the journal's thread does.
  private var mayCallerWrite: Bool {
    callersWrite && !isWriting && !isRotationDue && !threadWantsRole && trouble == nil
      && ended == nil
  }

  // MARK: Leading

  /// Makes a caller the leader where nobody writes or leads.
  /// - Returns: `nil` where somebody does; else whether the journal's thread must be signalled, once the
  ///   caller lets others run.
  mutating func takeLead() -> Bool? {
    guard mayCallerWrite, !hasLeader else { return nil }
    return appointLeader()
  }

  /// - Returns: whether the journal's thread must be signalled.
  private mutating func appointLeader() -> Bool {
    hasLeader = true
    leadCount += 1
    defer { isWatched = true }
    return !isWatched
  }

  /// The leader is here, and takes the write role if it may and there is something to write.
  mutating func takeRoleForLeader(of sequence: SequenceNumber) -> Bool {
    hasLeader = false
    guard mayCallerWrite, sequence > written || hasWriteWaiters else { return false }
    isWriting = true
    return true
  }

  /// Dismisses a leader that doesn't come, for the journal's thread.
  /// - Parameter now: boot time.
  mutating func watchLeaders(_ now: Microseconds) {
    guard isWatched else { return }
    guard let watched, watched.lead == leadCount else {
      self.watched = (leadCount, now.later(by: EngineBounds.leaderTime.duration))
      return
    }
    guard watched.until <= now else { return }
    // Nobody has led since.
    hasLeader = false
    isWatched = false
  }

  /// How long the leader is in time yet; `nil` where nobody needs to look after leaders.
  func timeToWatch(_ now: Microseconds) -> Int64? {
    guard isWatched, let watched else { return nil }
    return watched.until.rawValue - now.rawValue
  }

  /// Whether a sync that is due has waited for enough frames: callers who never pause would else put
  /// it off for good, and with it the store and checkpoints.
  var hasPutOffSync: Bool {
    putOffByteCount >= EngineBounds.bytesBeforeSyncMax && durable < written
  }

  /// The journal's thread writes a frame of so many bytes.
  mutating func noteWriting(_ byteCount: Int, isSyncDue: Bool) {
    putOffByteCount = isSyncDue ? putOffByteCount + byteCount : 0
  }

  /// Takes the write role for the journal's thread, or has it handed over as soon as it is free.
  mutating func takeRoleForThread() -> Bool {
    threadWantsRole = isWriting
    if isWriting { return false }
    isWriting = true
    return true
  }

  /// How a waiter was received.
  enum Arrival {
    /// There is nothing to wait for; the waiter wasn't kept.
    case acknowledged
    /// Whoever holds the write role will see it.
    case queued
    /// Only the journal's thread can answer it, and has to be signalled.
    case needsThread
    /// Nobody writes or is about to: it leads, and wasn't kept.
    case lead(wantsSignal: Bool)
    /// It came after the end.
    case failed(CacheError)
  }

  mutating func arrive(_ waiter: Waiter, _ level: Acknowledgement) -> Arrival {
    if isAcknowledged(waiter.sequence, level) { return .acknowledged }
    if let ended { return .failed(ended) }
    if level == .durable {
      syncWaiters.append(waiter)
      return .needsThread
    }
    if let wantsSignal = takeLead() { return .lead(wantsSignal: wantsSignal) }
    writeWaiters.append(waiter)
    return isWriting || hasLeader ? .queued : .needsThread
  }

  /// Takes a cancelled waiter out; `nil` if it has been answered already.
  mutating func cancel(_ id: UInt64) -> Waiter? {
    if let at = writeWaiters.firstIndex(where: { $0.id == id }) {
      return writeWaiters.remove(at: at)
    }
    if let at = syncWaiters.firstIndex(where: { $0.id == id }) { return syncWaiters.remove(at: at) }
    return nil
  }

  /// Everything up to `sequence` is in the page cache, and the role is free. Of those who still wait the
  /// first one leads, unless the journal's thread wants the role. Where a sync failed meanwhile, what
  /// came before may have left the page cache: only a rescue answers anybody then.
  /// - Returns: whom to resume, and whether the journal's thread must be signalled.
  mutating func wrote(through sequence: SequenceNumber) -> (resume: [Resumption], signal: Bool) {
    isWriting = false
    guard trouble == nil else { return ([], true) }
    written = max(written, sequence)
    var resume = Self.take(&writeWaiters, through: written)
    // Beside the one who wrote it.
    isShared = !resume.isEmpty
    if threadWantsRole || isRotationDue || !callersWrite { return (resume, true) }
    guard !hasLeader, let next = writeWaiters.popFirst() else { return (resume, false) }
    // Half of those resumed run before it and are in its frame; the others run while it writes.
    resume.insert((next, .lead), at: resume.count / 2)
    return (resume, appointLeader())
  }

  /// The journal can't be written, or, with `losesPages`, synced: then the kernel may have dropped
  /// what was written and isn't durable, and nothing more is acknowledged as written before it is
  /// rescued.
  mutating func fail(_ trouble: JournalTrouble, losesPages: Bool = false) {
    self.trouble = trouble
    if losesPages { written = durable }
  }

  /// The journal can be written again: a rescue has made everything durable.
  mutating func recover() { trouble = nil }

  /// Everything up to `sequence` is on the disk.
  mutating func synced(through sequence: SequenceNumber) -> [Resumption] {
    putOffByteCount = 0
    durable = max(durable, sequence)
    written = max(written, durable)
    return Self.take(&writeWaiters, through: written) + Self.take(&syncWaiters, through: durable)
  }

  /// Lets go of those who don't wait for the disk.
  mutating func releaseWriteWaiters() -> [Resumption] {
    defer { writeWaiters.removeAll() }
    return writeWaiters.map { ($0, .acknowledged) }
  }

  /// Gives up on everybody who waits: what they did stays in force, its fate is unknown.
  mutating func failAll(_ error: CacheError) -> [Resumption] {
    let all = writeWaiters + syncWaiters
    writeWaiters.removeAll()
    syncWaiters.removeAll()
    return all.map { ($0, .failed(error)) }
  }

  /// Gives up on everybody who waits, and on who comes after them: a task may have been on its way
  /// here, resumed and not yet run.
  mutating func end(_ error: CacheError) -> [Resumption] {
    ended = error
    return failAll(error)
  }

  // Waiters come nearly in order of their sequences, but not quite: each appended its events under
  // the lock and itself a moment later.
  private static func take(
    _ waiters: inout Deque<Waiter>, through sequence: SequenceNumber
  ) -> [Resumption] {
    guard !waiters.isEmpty else { return [] }
    var taken: [Resumption] = []
    waiters.removeAll { waiter in
      guard waiter.sequence <= sequence else { return false }
      taken.append((waiter, .acknowledged))
      return true
    }
    return taken
  }
}

/// Why the journal can't be written at present.
struct JournalTrouble: Sendable {
  var error: CacheError
  /// When it is tried again, in boot time.
  var retryAt: Microseconds

  init(_ error: StorageError, retryAt: Microseconds) {
    self.error = CacheError(writing: error)
    self.retryAt = retryAt
  }
}

extension [CommitState.Resumption] {
  /// Resumes everybody. Never call it with the lock held.
  func resume() {
    for (waiter, outcome) in self { waiter.continuation.resume(returning: outcome) }
  }
}
