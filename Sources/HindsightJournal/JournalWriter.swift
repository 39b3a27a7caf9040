public import HindsightCore
import Synchronization

/// Writes frames to segments.
///
/// One owner at a time (the engine's write role) appends, rotates and rescues; a sync may run on
/// another thread at the same time as appends.
///
/// A failed write or sync poisons its segment: its descriptor is never synced again, for the
/// kernel has dropped the pages. What isn't durable is kept in memory until it is, and `rescue`
/// writes it to a new segment.
public final class JournalWriter: Sendable {
  private let storage: any JournalStorage
  private let options: JournalOptions
  // Proof of Sendable: these three belong to the owner of the write role, which is one at a time by the
  // engine's protocol; what a sync shares with it is in `shared`, behind its lock.
  private nonisolated(unsafe) let compressor = RunCompressor()
  private nonisolated(unsafe) var current: OpenSegment
  private nonisolated(unsafe) var nextNumber: UInt32
  private let shared: Mutex<Shared>
  public let journalID: JournalID

  fileprivate struct Shared {
    var durable: SequenceNumber
    /// In the page cache.
    var written: SequenceNumber
    /// Written, or tried to be.
    var appended: SequenceNumber
    /// What a sync syncs.
    var file: any JournalFile
    /// Frames that aren't durable, oldest first; not compressed, since what a rescue writes begins
    /// another run.
    var retained: [StampedFrame] = []
    var retainedByteCount: UInt64 = 0
    var isPoisoned = false
    /// Bytes of all segments but the current one.
    var olderByteCount: UInt64
    /// Bytes of those that were removed since the journal was opened.
    var removedByteCount: UInt64 = 0
    var position: JournalPosition
    /// Checksum of the header of the frame before that, or of the segment's.
    var previousChecksum: UInt32
  }

  init(
    storage: any JournalStorage, options: JournalOptions, journalID: JournalID,
    current: OpenSegment, last: SequenceNumber, olderByteCount: UInt64
  ) {
    self.storage = storage
    self.options = options
    self.journalID = journalID
    self.current = current
    nextNumber = current.number + 1
    shared = Mutex(
      Shared(
        durable: last, written: last, appended: last, file: current.file,
        olderByteCount: olderByteCount,
        position: JournalPosition(segment: current.number, byteOffset: current.offset),
        previousChecksum: current.previousChecksum))
  }

  // MARK: Numbers, from any thread

  /// Everything up to here survives a power loss.
  public var durable: SequenceNumber { shared.withLock { $0.durable } }
  /// Bytes of events that are kept in memory since they aren't durable.
  public var unsyncedByteCount: UInt64 { shared.withLock { $0.retainedByteCount } }
  /// Bytes of all segments, space allocated ahead not counted.
  public var journalByteCount: UInt64 {
    shared.withLock { $0.olderByteCount + $0.position.byteOffset }
  }
  /// The same, with those that were removed since it was opened: it only grows, and so tells how much was written
  /// since some moment.
  public var grownByteCount: UInt64 {
    shared.withLock { $0.olderByteCount + $0.removedByteCount + $0.position.byteOffset }
  }
  /// The end of the last frame written.
  public var position: JournalPosition { shared.withLock { $0.position } }

  /// That, and the checksum with which the next frame goes on.
  public var end: (position: JournalPosition, previousChecksum: UInt32) {
    shared.withLock { ($0.position, $0.previousChecksum) }
  }

  /// So many bytes of segments were removed.
  func removed(_ byteCount: UInt64) {
    shared.withLock { shared in
      let removed = min(byteCount, shared.olderByteCount)
      shared.olderByteCount -= removed
      shared.removedByteCount += removed
    }
  }

  // MARK: Writing, by the owner

  /// Whether the segment is to be followed by another one after so many further bytes.
  public func isSegmentFull(after byteCount: Int) -> Bool {
    current.offset + UInt64(byteCount) / 2 + UInt64(Format.frameHeaderByteCount)
      >= options.segmentByteCount
  }

  /// Compresses frames and writes them into the page cache.
  /// - Parameter endsRun: whether a replay may begin behind them: the next one is then written
  ///   so that it can be read without those before it. So it must be wherever a checkpoint is taken.
  /// - Parameter writesAhead: whether somebody waits for them to be synced, and so probably for the next
  ///   ones, too: zeros are written where those will stand.
  /// - Throws: `StorageError`; the segment is poisoned then, and the frames kept for `rescue`.
  public func append(
    _ frames: SealedFrames, durable: SequenceNumber, endsRun: Bool, writesAhead: Bool = false
  ) throws(StorageError) {
    let isPoisoned = shared.withLock { shared in
      frames.forEachFrame { shared.retained.append(StampedFrame(sealed: $0, durable: durable)) }
      shared.retainedByteCount += UInt64(frames.byteCount)
      shared.appended = frames.last
      return shared.isPoisoned
    }
    guard !isPoisoned else {
      throw StorageError("write", FileName.segment(current.number), .ioError)
    }
    do throws(StorageError) {
      try frames.forEachFrame { (frame) throws(StorageError) in
        try current.write(StampedFrame(sealed: frame, durable: durable), compressor)
      }
    } catch {
      poison()
      throw error
    }
    if writesAhead { current.writeAhead(upTo: options.segmentByteCount) }
    if endsRun { compressor.endRun() }
    noteWritten(frames.last)
  }

  /// Begins a new segment. The old one is synced first, so that a successor is evidence that its
  /// predecessor was complete.
  /// - Throws: `StorageError`; `rescue` then goes on.
  public func rotate() throws(StorageError) {
    do throws(StorageError) {
      try current.file.sync()
    } catch {
      poison()
      throw error
    }
    let (last, _) = shared.withLock { shared in
      (shared.appended, shared.forget(through: shared.appended))
    }
    do throws(StorageError) {
      try current.file.truncate(to: current.offset)
      try beginSegment(follows: last, frames: [])
    } catch {
      // The successor may be there: what were appended here could be void.
      poison()
      throw error
    }
  }

  /// Writes everything that isn't durable to a new segment, and makes it durable there. Where there is
  /// nothing to be rescued, the segment stays as it is.
  /// - Throws: `StorageError`; it may be called again.
  public func rescue() throws(StorageError) {
    let (durable, frames, isPoisoned) = shared.withLock {
      ($0.durable, $0.retained, $0.isPoisoned)
    }
    guard isPoisoned || !frames.isEmpty else { return compressor.endRun() }
    try beginSegment(follows: durable, frames: frames)
    _ = shared.withLock { shared in
      shared.isPoisoned = false
      return shared.forget(through: frames.last?.sealed.last ?? shared.durable)
    }
  }

  /// The number that the next segment gets. For the owner.
  public var nextSegmentNumber: UInt32 { nextNumber }

  /// Makes everything that is written durable. For the owner.
  /// - Throws: `StorageError`; the segment is poisoned then.
  public func sync() throws(StorageError) {
    let ticket = beginSync()
    do throws(StorageError) {
      try ticket.perform()
    } catch {
      failSync(ticket)
      throw error
    }
    completeSync(ticket)
  }

  /// Goes on behind a gap, in a new segment. Everything written must be durable, and a durable
  /// checkpoint must bridge the gap.
  /// - Parameter last: the last event that the journal lacks.
  /// - Throws: `StorageError`. Nothing may be appended then before it has succeeded.
  public func skip(through last: SequenceNumber) throws(StorageError) {
    try beginSegment(follows: last, frames: [])
    shared.withLock { shared in
      precondition(shared.retained.isEmpty, "only what is durable may be followed by a gap")
      shared.durable = last
      shared.appended = last
    }
  }

  /// Removes a checkpoint that was to bridge a gap which went on, where nothing was begun behind it: each attempt
  /// would leave one. One that stays is passed over (`JournalDirectory.isOutdone`).
  /// - Parameter segment: where it goes on.
  public func withdrawBridge(_ number: UInt32, to segment: UInt32) {
    let name = FileName.checkpoint(number)
    do throws(StorageError) {
      let names = try storage.list()
      guard names.contains(name), !names.contains(FileName.segment(segment)) else { return }
      try storage.remove(name)
    } catch {
      // It stays, and takes space until retention finds it outdone.
    }
  }

  /// Gives back the space allocated ahead, syncs and closes.
  /// - Throws: `StorageError` where the end of the journal may not be durable.
  public func close() throws(StorageError) {
    let isPoisoned = shared.withLock { $0.isPoisoned }
    if !isPoisoned {
      try current.file.truncate(to: current.offset)
      try current.file.sync()
    }
    try current.file.close()
  }

  // MARK: Syncing, on any one thread

  /// A sync on its way.
  public struct SyncTicket: Sendable {
    fileprivate let file: any JournalFile
    fileprivate let name: String
    fileprivate let last: SequenceNumber
    fileprivate let isPoisoned: Bool

    /// fdatasync(2): blocks.
    public func perform() throws(StorageError) {
      guard !isPoisoned else { throw StorageError("sync", name, .ioError) }
      try file.sync()
    }
  }

  /// Notes what a sync that begins now will cover. Call it with appends held off, or accept that
  /// it covers only what was written before.
  public func beginSync() -> SyncTicket {
    shared.withLock {
      SyncTicket(
        file: $0.file, name: $0.position.segmentName, last: $0.written, isPoisoned: $0.isPoisoned)
    }
  }

  /// The sync succeeded.
  public func completeSync(_ ticket: SyncTicket) {
    _ = shared.withLock { $0.forget(through: ticket.last) }
  }

  /// The sync failed: the segment is poisoned.
  public func failSync(_ ticket: SyncTicket) { poison() }

  // MARK: Steps

  private func poison() { shared.withLock { $0.isPoisoned = true } }

  private func noteWritten(_ last: SequenceNumber) {
    let position = JournalPosition(segment: current.number, byteOffset: current.offset)
    let previousChecksum = current.previousChecksum
    shared.withLock { shared in
      shared.written = max(shared.written, last)
      shared.position = position
      shared.previousChecksum = previousChecksum
    }
  }

  /// Makes the next segment, with these frames in it and durable, the current one.
  private func beginSegment(
    follows: SequenceNumber, frames: [StampedFrame]
  ) throws(StorageError) {
    let segment = try OpenSegment.create(
      storage, options, journalID, number: nextNumber, follows: follows, frames: frames)
    let old = current
    current = segment
    compressor.endRun()
    nextNumber += 1
    shared.withLock { shared in
      shared.file = segment.file
      shared.olderByteCount += old.offset
    }
    noteWritten(frames.last?.sealed.last ?? follows)
    // The successor is durable: what fails here costs space, or a descriptor, and no event.
    do throws(StorageError) { try old.file.truncate(to: old.offset) } catch {}
    do throws(StorageError) { try old.file.close() } catch {}
  }
}

extension JournalWriter.Shared {
  /// Everything up to `last` is durable.
  /// - Returns: what to let go of outside the lock, for which a set may wait that holds the cache's: up to
  ///   64 MiB, and a hundred thousand frames.
  fileprivate mutating func forget(through last: SequenceNumber) -> [StampedFrame] {
    durable = max(durable, last)
    var count = retained.count
    while count > 0, retained[count - 1].sealed.last > last { count -= 1 }
    guard count > 0 else { return [] }
    var kept: [StampedFrame] = []
    // As many are to be expected until the next sync.
    kept.reserveCapacity(retained.count)
    kept += retained[count...]
    retainedByteCount = kept.reduce(0) { $0 + UInt64($1.sealed.byteCount) }
    swap(&kept, &retained)
    return kept
  }
}
