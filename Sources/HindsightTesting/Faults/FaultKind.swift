/// Every fault that the test kit can inject, each a kind of its own: counted by `FaultInjector`,
/// and covered by at least one test.
///
/// Raw values are the names in summaries and tables. They stay as they are once published.
public enum FaultKind: String, CaseIterable, Sendable, Hashable, Codable {
  // Calls of the storage that fail and do nothing.
  case listIOError = "list-eio"
  case openIOError = "open-eio"
  case createIOError = "create-eio"
  case renameIOError = "rename-eio"
  case removeIOError = "remove-eio"
  case directorySyncIOError = "directory-sync-eio"
  case lockIOError = "lock-eio"
  case readIOError = "read-eio"
  case writeIOError = "write-eio"
  case allocateIOError = "allocate-eio"
  case truncateIOError = "truncate-eio"
  case sizeIOError = "size-eio"
  case closeIOError = "close-eio"
  case createNoSpace = "create-enospc"
  case renameNoSpace = "rename-enospc"
  case writeNoSpace = "write-enospc"
  case allocateNoSpace = "allocate-enospc"
  case syncNoSpace = "sync-enospc"
  case createQuota = "create-edquot"
  case writeQuota = "write-edquot"
  case allocateQuota = "allocate-edquot"
  case syncQuota = "sync-edquot"
  case openTooManyFiles = "open-emfile"
  case createTooManyFiles = "create-emfile"
  case interrupted = "interrupted-eintr"

  // Calls that do something else than they say.
  case shortWrite = "short-write"
  case failedButDone = "failed-but-done"
  case syncErrorReverted = "sync-eio-reverted"
  case syncErrorKept = "sync-eio-kept"

  // The place as a whole.
  case readOnlyFileSystem = "read-only-file-system"
  case noPermission = "no-permission"
  case directoryRemoved = "directory-removed"
  case slowSync = "slow-sync"
  case slowEverything = "slow-everything"

  // A disk that lies: durable data may be gone.
  case lostWrite = "lost-write"
  case misdirectedWrite = "misdirected-write"
  case syncLies = "sync-lies"

  // When the power goes …
  case crashAtCreate = "crash-at-create"
  case crashAtRename = "crash-at-rename"
  case crashAtDirectorySync = "crash-at-directory-sync"
  case crashAtWrite = "crash-at-write"
  case crashAtSync = "crash-at-sync"
  case crashDuringRecovery = "crash-during-recovery"
  case crashTwiceDuringRecovery = "crash-twice-during-recovery"

  // … and what becomes of what was not synced.
  case unsyncedDropped = "unsynced-dropped"
  case unsyncedKept = "unsynced-kept"
  case unsyncedRandomPages = "unsynced-random-pages"
  case unsyncedReordered = "unsynced-reordered"
  case tornSector512 = "torn-sector-512"
  case tornSector4K = "torn-sector-4k"
  case zeroFilledTail = "zero-filled-tail"
  case garbageTail = "garbage-tail"
  case staleTail = "stale-tail"
  case namesDropped = "names-dropped"
  case namesKept = "names-kept"
  case namesMixed = "names-mixed"

  // Files that were changed while nobody had them open.
  case bitFlip = "bit-flip"
  case cut = "cut"
  case zeroedRange = "zeroed-range"
  case garbageRange = "garbage-range"
  case missingSegment = "missing-segment"
  case duplicatedSegment = "duplicated-segment"
  case swappedSegments = "swapped-segments"
  case renamedSegment = "renamed-segment"
  case extraSegment = "extra-segment"
  case corruptSegmentHeader = "corrupt-segment-header"
  case corruptFrameTrailer = "corrupt-frame-trailer"
  case corruptCheckpointHeader = "corrupt-checkpoint-header"
  case corruptCheckpointBody = "corrupt-checkpoint-body"
  case corruptCheckpointTrailer = "corrupt-checkpoint-trailer"
  case missingCheckpoint = "missing-checkpoint"
  case staleFrames = "stale-frames"
  case hostileLength = "hostile-length"
  case hostileCheckpointLength = "hostile-checkpoint-length"
  case deflateBomb = "deflate-bomb"

  // The clock.
  case clockBack = "clock-back"
  case clockFrozen = "clock-frozen"
  case clockJump = "clock-jump"

  // Calls of the store that fail.
  case storeBusy = "store-busy"
  case storeFull = "store-full"
  case storeIOError = "store-ioerr"
  case storeCorrupt = "store-corrupt"
  case storeNotADatabase = "store-notadb"
  case storeReadOnly = "store-read-only"
  case storeCantOpen = "store-cant-open"
  case storeCommitUnclear = "store-commit-unclear"

  // What else happens to a store.
  case storeCold = "store-cold"
  case storeSlow = "store-slow"
  case storeExternalReader = "store-external-reader"
  case storeDeleted = "store-deleted"
  case storeTruncated = "store-truncated"
  case storeReplaced = "store-replaced"
  case storeAhead = "store-ahead"
  case storeBehind = "store-behind"
  case storeRowDamaged = "store-row-damaged"
  case storeRowMissing = "store-row-missing"
  case storeCommitsLost = "store-commits-lost"

  /// Where a fault comes in, and so what may be expected after it.
  public enum Category: String, CaseIterable, Sendable, Hashable, Codable {
    /// A call fails or takes long. Nothing acknowledged may be lost.
    case operation
    /// The power goes at a certain moment. Nothing acknowledged as durable may be lost.
    case crashMoment = "crash moment"
    /// What a loss of power leaves of what was not synced. Nothing durable may be lost.
    case crashOutcome = "crash outcome"
    /// The disk doesn't do what it acknowledged: durable data may be gone. What is left must be a
    /// prefix, or be refused.
    case lie
    /// Files were changed at rest. Either what is left is a prefix and the damage is reported, or
    /// the opening is refused and names the file.
    case damage
    /// Time misbehaves. No life may be extended.
    case clock
    /// A call of the store fails or takes long. Nothing acknowledged may be lost.
    case storeCall = "store call"
    /// The store as a whole is changed. The journal makes it good where it still has the values.
    case store
  }
}

extension FaultKind: CustomStringConvertible {
  public var description: String { rawValue }

  public var category: Category {
    switch self {
    case .lostWrite, .misdirectedWrite, .syncLies, .directoryRemoved: .lie
    case .crashAtCreate, .crashAtRename, .crashAtDirectorySync, .crashAtWrite, .crashAtSync,
      .crashDuringRecovery, .crashTwiceDuringRecovery:
      .crashMoment
    case .unsyncedDropped, .unsyncedKept, .unsyncedRandomPages, .unsyncedReordered,
      .tornSector512, .tornSector4K, .zeroFilledTail, .garbageTail, .staleTail, .namesDropped,
      .namesKept, .namesMixed, .storeCommitsLost:
      .crashOutcome
    case .bitFlip, .cut, .zeroedRange, .garbageRange, .missingSegment, .duplicatedSegment,
      .swappedSegments, .renamedSegment, .extraSegment, .corruptSegmentHeader,
      .corruptFrameTrailer, .corruptCheckpointHeader, .corruptCheckpointBody,
      .corruptCheckpointTrailer, .missingCheckpoint, .staleFrames, .hostileLength,
      .hostileCheckpointLength, .deflateBomb:
      .damage
    case .clockBack, .clockFrozen, .clockJump: .clock
    case .storeBusy, .storeFull, .storeIOError, .storeCorrupt, .storeNotADatabase,
      .storeReadOnly, .storeCantOpen, .storeCommitUnclear, .storeCold, .storeSlow:
      .storeCall
    case .storeExternalReader, .storeDeleted, .storeTruncated, .storeReplaced, .storeAhead,
      .storeBehind, .storeRowDamaged, .storeRowMissing:
      .store
    default: .operation
    }
  }

  /// Whether a call fails by it, or does something else than it should, and is not only late.
  var failsCall: Bool {
    switch self {
    case .slowSync, .slowEverything, .storeCold, .storeSlow: false
    default: [.operation, .lie, .crashMoment, .storeCall].contains(category)
    }
  }

  /// All kinds of a category, in their order.
  public static func all(_ category: Category) -> [FaultKind] {
    allCases.filter { $0.category == category }
  }
}
