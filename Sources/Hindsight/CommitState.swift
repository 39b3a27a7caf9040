import DequeModule
import HindsightCore
import HindsightJournal

/// Group commit without a hand-off (DESIGN §4), as a state machine: its methods say what to do,
/// `Engine` does it after unlocking.
///
/// There is one *write role*. Who finds it free writes ONE frame for all that wait, then hands it
/// over. Only the journal's own thread syncs, rotates and rescues, since those block.
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
    /// The waiter now holds the write role, and writes the next frame.
    case writeRole
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
  /// Whether many callers wait at the same time. Each of them would find nobody writing and write
  /// its own event; one thread for all writes large frames, and needs one signal for many.
  private(set) var isCrowded = false
  private let crowdCountMin: Int
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

  init(durable: SequenceNumber, crowdCountMin: Int = EngineBounds.crowdCountMin) {
    self.crowdCountMin = crowdCountMin
    written = durable
    self.durable = durable
  }

  var hasWriteWaiters: Bool { !writeWaiters.isEmpty }
  var hasSyncWaiters: Bool { !syncWaiters.isEmpty }

  func isAcknowledged(_ sequence: SequenceNumber, _ level: Acknowledgement) -> Bool {
    switch level {
    case .enqueued: true
    case .written: written >= sequence
    case .durable: durable >= sequence
    }
  }

  /// Takes the write role if it is free and a caller's thread may write.
  mutating func takeRoleForCaller() -> Bool {
    guard !isWriting, !isRotationDue, !threadWantsRole, !isCrowded, trouble == nil else {
      return false
    }
    isWriting = true
    return true
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
    writeWaiters.append(waiter)
    return isWriting ? .queued : .needsThread
  }

  /// Takes a cancelled waiter out; `nil` if it has been answered already.
  mutating func cancel(_ id: UInt64) -> Waiter? {
    if let at = writeWaiters.firstIndex(where: { $0.id == id }) {
      return writeWaiters.remove(at: at)
    }
    if let at = syncWaiters.firstIndex(where: { $0.id == id }) { return syncWaiters.remove(at: at) }
    return nil
  }

  /// Everything up to `sequence` is in the page cache. The role goes to the journal's thread if it
  /// wants it, else to the first who still waits, else it is free. Where a sync failed meanwhile,
  /// what came before may have left the page cache: only a rescue answers anybody then.
  /// - Returns: whom to resume, and whether the journal's thread must be signalled.
  mutating func wrote(through sequence: SequenceNumber) -> (resume: [Resumption], signal: Bool) {
    guard trouble == nil else {
      isWriting = false
      return ([], true)
    }
    written = max(written, sequence)
    var resume = Self.take(&writeWaiters, through: written)
    // Beside the one who wrote it.
    isCrowded = resume.count >= (isCrowded ? EngineBounds.crowdCountKept : crowdCountMin)
    if !threadWantsRole, !isRotationDue, !isCrowded, let next = writeWaiters.popFirst() {
      resume.append((next, .writeRole))
      return (resume, false)
    }
    isWriting = false
    return (resume, threadWantsRole || isRotationDue || hasWriteWaiters)
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
