public import HindsightCore

/// What a recovery saw at the journal's end.
struct RecoveryObservation: Equatable {
  enum Tail: Equatable {
    /// Nothing stands behind the last good frame.
    case end
    /// Something that is no frame does.
    case bad
  }

  /// The last event of the last good frame.
  var last: SequenceNumber
  var tail: Tail
  /// Whether the last event is `closed`.
  var isClosed: Bool
  /// A later frame's header says that the event after `last` had been durable.
  var laterFrameProves = false
  /// The newest checkpoint and the store's applied sequence; each was durable in the journal
  /// before it could come about.
  var newestCheckpoint = SequenceNumber.zero
  var storeApplied = SequenceNumber.zero
}

/// What a recovery makes of it.
public enum RecoveryVerdict: Equatable, Sendable {
  /// Closed properly: go on.
  case clean
  /// Nothing is damaged, but nobody closed it.
  case unclean
  /// What was being written when the process or the machine stopped. Quarantine and drop it.
  case tornTail
  /// Something that had been durable is gone. Refuse, or salvage on request.
  case corrupt(Evidence)

  public enum Evidence: String, Equatable, Sendable {
    case laterFrame = "a later frame says that what follows had been durable"
    case checkpoint = "a checkpoint contains what follows"
    case store = "the store has applied what follows"
  }
}

extension RecoveryVerdict {
  /// The recovery table, row by row; the first that fits decides. A segment that ends
  /// before its successor continues is found earlier, by the replay.
  init(_ seen: RecoveryObservation) {
    if seen.newestCheckpoint > seen.last {
      self = .corrupt(.checkpoint)
    } else if seen.storeApplied > seen.last {
      self = .corrupt(.store)
    } else if seen.tail == .bad, seen.laterFrameProves {
      self = .corrupt(.laterFrame)
    } else if seen.tail == .bad {
      self = .tornTail
    } else if seen.isClosed {
      self = .clean
    } else {
      self = .unclean
    }
  }

  /// Judges where a replay ended, from what else there is in the directory.
  /// - Parameter store: whose projection the store is, and how far; `nil` without one.
  public init(
    of directory: JournalDirectory, _ end: ReplayEnd,
    store: (id: JournalID, applied: SequenceNumber)?
  ) throws(DamageError) {
    var seen = RecoveryObservation(
      last: end.last, tail: end.tail == .end ? .end : .bad, isClosed: end.isClosed)
    if let store, store.id == directory.journalID { seen.storeApplied = store.applied }
    for number in directory.checkpoints {
      guard let header = try directory.checkpoint(number)?.header,
        header.journalID == directory.journalID
      else { continue }
      seen.newestCheckpoint = max(seen.newestCheckpoint, header.head.sequence)
    }
    if seen.tail == .bad, let segment = directory.segments.last {
      let reader = FrameReader(segment, offset: end.position.byteOffset)
      let aftermath = try DamageError.wrap { () throws(StorageError) in try reader.aftermath() }
      seen.laterFrameProves = aftermath.durable > end.last
    }
    self.init(seen)
  }
}
