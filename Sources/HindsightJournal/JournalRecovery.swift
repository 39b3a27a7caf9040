public import HindsightCore

/// Why a journal can't be opened.
public enum JournalError: Error, Sendable {
  case storage(StorageError)
  /// Something that had been durable is damaged. No segment and no checkpoint was changed.
  case corrupt(DamageError)
}

extension JournalError {
  fileprivate init(_ error: DamageError) {
    self =
      if case .storage(let failure) = error { .storage(failure) } else { .corrupt(error) }
  }
}

/// What an opening found and did.
public struct RecoveryReport: Equatable, Sendable {
  public enum Outcome: String, Sendable {
    /// There was no journal.
    case new
    /// The journal had been closed properly.
    case clean
    /// It hadn't been closed; nothing was damaged.
    case unclean
    /// A torn tail was quarantined and dropped.
    case tornTail
    /// Damage was cut out on request; the damaged bytes are kept aside.
    case salvaged
  }

  public var outcome: Outcome
  /// The last event that was found; after a salvage, a `gap` may follow it already.
  public var last: SequenceNumber
  /// Where the journal was cut, and how many bytes were dropped there.
  public var segment: UInt32 = 0
  public var byteOffset: UInt64 = 0
  public var byteCountDropped: UInt64 = 0
  /// Files that hold what was dropped.
  public var quarantined: [String] = []
  /// The checkpoint that the replay began with, and how many events and frames it replayed.
  public var checkpoint: UInt32?
  public var recordCount = 0
  public var frameCount = 0
  /// Bytes of the checkpoint, and of the frames replayed after it.
  public var checkpointByteCount: UInt64 = 0
  public var replayedByteCount: UInt64 = 0
  /// What was wrong with checkpoints that were passed over, and with what was salvaged.
  public var damage: [String] = []
  /// Boot time of the last frame, in µs.
  public var bootTime: UInt64?
  /// The first event that was never journaled, where the journal doesn't say so yet.
  public var untoldGap: SequenceNumber?
}

/// A journal, ready to be written.
public struct RecoveredJournal {
  public let writer: JournalWriter
  public let report: RecoveryReport
}

/// Opens a journal for writing, and recovers it where it wasn't closed.
///
/// It may be stopped anywhere and run again: nothing is dropped before it is kept aside, and a new
/// segment appears whole or not at all.
public struct JournalRecovery {
  private let storage: any JournalStorage
  private let options: JournalOptions
  private let store: (id: JournalID, applied: SequenceNumber)?

  /// - Parameter store: whose projection the store is, and how far; `nil` without a store.
  public init(
    _ storage: any JournalStorage, _ options: JournalOptions,
    store: (id: JournalID, applied: SequenceNumber)?
  ) {
    self.storage = storage
    self.options = options
    self.store = store
  }

  /// Replays into `sink` and opens for writing.
  /// - Parameters:
  ///   - start: where the replay begins. With a store, it must not be after what that has applied.
  ///   - salvages: whether damage to what had been durable is cut out instead of refused.
  /// - Throws: `.corrupt` where such damage is found and not salvaged, or newer software wrote a
  ///   file; `.storage`.
  public func open(
    from start: ReplayStart, salvages: Bool, into sink: any ReplaySink
  ) throws(JournalError) -> RecoveredJournal {
    do throws(DamageError) {
      return try openUnlessDamaged(from: start, into: sink)
    } catch {
      guard salvages, error.isOfContents else { throw JournalError(error) }
      return try salvage(error, into: sink)
    }
  }

  /// Opens what can be kept of a journal that can't be opened otherwise.
  /// - Parameter damage: what `open` said of it.
  /// - Throws: as `open`.
  public func salvage(
    _ damage: DamageError, into sink: any ReplaySink
  ) throws(JournalError) -> RecoveredJournal {
    do throws(DamageError) {
      return try JournalSalvage(storage, options, storeApplied: store?.applied ?? .zero)
        .open(damage, into: sink)
    } catch {
      throw JournalError(error)
    }
  }

  private func openUnlessDamaged(
    from start: ReplayStart, into sink: any ReplaySink
  ) throws(DamageError) -> RecoveredJournal {
    let directory = try JournalDirectory(storage, forWriting: true)
    try DamageError.wrap { () throws(StorageError) in
      for name in directory.leftovers { try storage.remove(name) }
    }
    if directory.isEmpty, directory.checkpoints.isEmpty {
      if let store, store.id != .nobody, store.applied > .zero {
        throw .structure(
          file: FileName.segment(1),
          "the journal is missing, but the store has applied event \(store.applied) of it: a "
            + "salvage deletes its rows, an opening without a journal (hindsight repair "
            + "--no-journal) keeps them")
      }
      sink.begin()
      return try DamageError.wrap { () throws(StorageError) in try create() }
    }
    if let last = directory.segments.last {
      try DamageError.wrap { () throws(StorageError) in
        try last.file.sync()
        try storage.syncDirectory()
      }
    }
    let (end, verdict) = try directory.judge(
      from: start, store: store, keptByteCountMax: options.keptByteCountMax, into: sink)
    return try DamageError.wrap { () throws(StorageError) in
      try go(on: directory, end, verdict)
    }
  }

  // MARK: Acting

  private func create() throws(StorageError) -> RecoveredJournal {
    let id = JournalID(high: options.random(), low: options.random())
    let segment = try OpenSegment.create(
      storage, options, id, number: 1, follows: .zero, frames: [])
    let writer = JournalWriter(
      storage: storage, options: options, journalID: id, current: segment, last: .zero,
      olderByteCount: 0)
    return RecoveredJournal(
      writer: writer,
      report: RecoveryReport(outcome: .new, last: .zero))
  }

  private func go(
    on directory: JournalDirectory, _ end: ReplayEnd, _ verdict: RecoveryVerdict
  ) throws(StorageError) -> RecoveredJournal {
    let last = directory.segments[directory.segments.count - 1]
    var report = RecoveryReport(
      outcome: .clean, last: end.last, checkpoint: end.checkpoint,
      recordCount: end.recordCount, frameCount: end.frameCount,
      checkpointByteCount: end.checkpointByteCount, replayedByteCount: end.storedByteCount,
      damage: end.damagedCheckpoints.map(\.description), bootTime: end.bootTime,
      untoldGap: end.untoldGap)
    if verdict == .clean, last.header.version == Format.version,
      let checksum = end.previousChecksum,
      end.position.byteOffset < options.segmentByteCount
    {
      try end.syncUnproven(in: last)
      let segment = OpenSegment(
        file: last.file, number: last.header.number, salt: last.header.salt,
        offset: end.position.byteOffset, previousChecksum: checksum)
      try segment.file.allocate(max(options.segmentByteCount, end.position.byteOffset))
      return RecoveredJournal(writer: try writer(directory, segment, end.last), report: report)
    }
    report.outcome = verdict == .clean ? .clean : .unclean
    if verdict == .tornTail {
      report.outcome = .tornTail
      try quarantineTail(last, end.position, &report)
    }
    // Past what is proven durable, even what reads well may exist in the page cache only (a sync
    // may have failed before the crash): write it again, to a new segment, and sync it there.
    let unproven = try frames(of: last, end)
    let segment = try OpenSegment.create(
      storage, options, last.header.journalID, number: last.header.number + 1,
      follows: unproven.follows, frames: unproven.frames,
      compresses: last.header.version != Format.version, copied: unproven.copied)
    try last.file.truncate(to: unproven.offset)
    try last.file.sync()
    return RecoveredJournal(writer: try writer(directory, segment, end.last), report: report)
  }

  private func writer(
    _ directory: JournalDirectory, _ segment: OpenSegment, _ last: SequenceNumber
  ) throws(StorageError) -> JournalWriter {
    JournalWriter(
      storage: storage, options: options, journalID: directory.segments[0].header.journalID,
      current: segment, last: last,
      olderByteCount: try directory.byteCount(before: segment.number))
  }

  /// Keeps aside what stands behind the last good frame.
  private func quarantineTail(
    _ segment: JournalDirectory.Segment, _ position: JournalPosition,
    _ report: inout RecoveryReport
  ) throws(StorageError) {
    let copy = try Quarantine.copy(
      segment.file, of: segment.name, from: position.byteOffset, storage)
    report.segment = segment.header.number
    report.byteOffset = position.byteOffset
    report.byteCountDropped = copy.byteCount
    report.quarantined = [copy.name]
  }

  private struct Unproven {
    /// At most the rest of a run, but for segments of another version.
    var frames: [StampedFrame] = []
    /// From the first run on that begins among them: compressed already.
    var copied: [CopiedFrame] = []
    /// Where the first of them begins in the old segment, and after which event.
    var offset: UInt64
    var follows: SequenceNumber
  }

  /// The frames after what is proven, which are all in the last segment: a successor is proof.
  private func frames(
    of segment: JournalDirectory.Segment, _ end: ReplayEnd
  ) throws(StorageError) -> Unproven {
    var unproven = Unproven(offset: end.position.byteOffset, follows: end.last)
    guard let first = end.firstUnproven else { return unproven }
    unproven.offset = end.frames[first].offset
    unproven.follows = end.frames[first].follows
    let isCopied = segment.header.version == Format.version
    let copied = isCopied ? end.frames[first...].firstIndex { $0.encoding == .begins } : nil
    // What continues a run can be decoded only behind what came before it.
    let start =
      first == copied ? first : end.frames[...first].lastIndex { $0.encoding == .begins } ?? 0
    let copiedOffset = copied.map { end.frames[$0].offset } ?? .max
    let keptStart = end.frames.count - end.kept.count
    var reader = FrameReader(segment, offset: end.frames[start].offset)
    let decoder = BodyDecoder()
    for at in start..<end.frames.count {
      // The replay has just decoded it.
      let damage = StorageError("read again", segment.name, .ioError)
      let frame: FrameReader.Frame
      if start >= keptStart {
        frame = end.kept[at - keptStart]
      } else {
        guard case .frame(let read) = try reader.next() else { throw damage }
        frame = read
      }
      if frame.offset >= copiedOffset {
        unproven.copied.append(CopiedFrame(header: frame.header, stored: frame.stored))
        continue
      }
      guard let stamped = stamped(frame, decoder) else { throw damage }
      if frame.offset >= unproven.offset { unproven.frames.append(stamped) }
    }
    return unproven
  }

  private func stamped(_ frame: FrameReader.Frame, _ decoder: BodyDecoder) -> StampedFrame? {
    let header = frame.header
    do throws(FormatError) {
      let body = try header.body(frame.stored, decoder)
      return StampedFrame(
        sealed: SealedFrame(
          body: body, first: header.first, last: header.last, count: header.count,
          bootTime: header.bootTime), durable: header.durable)
    } catch {
      return nil
    }
  }
}

extension ReplayEnd {
  /// Whether events and segments can be numbered on. Ours always can; a hostile journal's, not.
  var hasRoom: Bool {
    last.rawValue < Format.sequenceMaxForWriting && position.segment < Format.fileNumberMax - 1
  }

  /// Makes durable, in the segment where the replay ended, what nothing proves to be: its sync may have
  /// failed, which leaves pages that read well, count as clean and aren't on the disk. Written again,
  /// as they are, they are synced; an append changes a sector that is in use, too.
  func syncUnproven(in segment: JournalDirectory.Segment) throws(StorageError) {
    guard let first = firstUnproven, segment.header.number == position.segment else { return }
    let pieceByteCount = UInt64(Quarantine.pieceByteCount)
    for offset in stride(
      from: frames[first].offset, to: position.byteOffset, by: Int(pieceByteCount))
    {
      let count = Int(min(pieceByteCount, position.byteOffset - offset))
      try segment.file.write(try segment.file.read(at: offset, count: count), at: offset)
    }
    try segment.file.sync()
  }
}

/// Keeping damaged bytes for people.
enum Quarantine {
  fileprivate static let pieceByteCount = 1 << 20

  /// Copies what stands from `offset` on, less trailing zeros, to a file of its own, and makes that
  /// durable. What was kept aside before stays as it is; where that is the same, it is the copy.
  /// - Parameter name: the file's.
  /// - Returns: the copy's name, and how many bytes that are.
  static func copy(
    _ file: any JournalFile, of name: String, from offset: UInt64, _ storage: any JournalStorage
  ) throws(StorageError) -> (name: String, byteCount: UInt64) {
    let size = try file.size()
    let temporary = FileName.quarantine(name, offset: offset) + ".tmp"
    if try storage.list().contains(temporary) { try storage.remove(temporary) }
    let copy = try storage.create(temporary)
    var count: UInt64 = 0
    // In pieces: a file may be of any length.
    for start in stride(from: offset, to: size, by: pieceByteCount) {
      let piece = try file.read(at: start, count: Int(min(UInt64(pieceByteCount), size - start)))
      guard let last = piece.lastIndex(where: { $0 != 0 }) else { continue }
      try copy.write([UInt8](piece[...last]), at: start - offset)
      count = start - offset + UInt64(last) + 1
    }
    try copy.sync()
    let names = try storage.list()
    var place = 1
    while names.contains(FileName.quarantine(name, offset: offset, place: place)) {
      let aside = FileName.quarantine(name, offset: offset, place: place)
      // A recovery that was interrupted had come as far.
      if try isSame(storage.open(aside, forWriting: false), copy) {
        try copy.close()
        try storage.remove(temporary)
        return (aside, count)
      }
      place += 1
    }
    let aside = FileName.quarantine(name, offset: offset, place: place)
    try copy.close()
    try storage.rename(temporary, to: aside)
    try storage.syncDirectory()
    return (aside, count)
  }

  private static func isSame(
    _ file: any JournalFile, _ other: any JournalFile
  ) throws(StorageError) -> Bool {
    let size = try file.size()
    guard try other.size() == size else { return false }
    for start in stride(from: 0, to: size, by: pieceByteCount) {
      let piece = try file.read(at: start, count: pieceByteCount)
      guard try other.read(at: start, count: pieceByteCount) == piece else { return false }
    }
    return true
  }

  /// A free name under which a whole file can be kept aside.
  static func freeName(for name: String, _ names: [String]) -> String {
    var place = 1
    while names.contains(FileName.quarantine(name, offset: 0, place: place)) { place += 1 }
    return FileName.quarantine(name, offset: 0, place: place)
  }
}
