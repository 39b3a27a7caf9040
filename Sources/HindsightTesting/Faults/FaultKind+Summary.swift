extension FaultKind {
  /// What happens, in one line.
  public var summary: String {
    switch category {
    case .operation: operationSummary
    case .lie: lieSummary
    case .crashMoment, .crashOutcome: crashSummary
    case .damage: damageSummary
    case .clock, .storeCall, .store: otherSummary
    }
  }

  private var operationSummary: String {
    if let failing = failingCall { return "\(failing.operation.rawValue) fails: \(failing.code)" }
    return switch self {
    case .interrupted: "any call is interrupted by a signal (EINTR)"
    case .shortWrite: "a part of the bytes is written, then there is no space"
    case .failedButDone: "a call did its work, but says EIO"
    case .syncErrorReverted: "fsync says EIO once, and the pages read as they were before"
    case .syncErrorKept: "fsync says EIO once; the pages read well, and never reach the disk"
    case .readOnlyFileSystem: "for a while, the file system is read-only (EROFS)"
    case .noPermission: "for a while, files can't be opened or made (EACCES)"
    case .slowSync: "a sync takes seconds"
    case .slowEverything: "for a while, every call takes long"
    default: preconditionFailure("\(self) has no summary")
    }
  }

  private var lieSummary: String {
    switch self {
    case .lostWrite: "a write is reported as done, synced, and never reaches the disk"
    case .misdirectedWrite: "a write reaches the disk at another place"
    case .syncLies: "a sync is reported as done, and does nothing"
    case .directoryRemoved: "somebody deletes the directory underneath"
    default: preconditionFailure("\(self) has no summary")
    }
  }

  private var crashSummary: String {
    switch self {
    case .crashAtCreate: "the power goes before or after a file is created"
    case .crashAtRename: "the power goes before or after a rename"
    case .crashAtDirectorySync: "the power goes before or after a directory sync"
    case .crashAtWrite: "the power goes before or after a write"
    case .crashAtSync: "the power goes before or after a sync"
    case .crashDuringRecovery: "the power goes during a recovery"
    case .crashTwiceDuringRecovery: "the power goes during the recovery from that"
    case .unsyncedDropped: "nothing that was not synced is there"
    case .unsyncedKept: "everything that was written is there"
    case .unsyncedRandomPages: "random pages of what was not synced are there"
    case .unsyncedReordered: "later writes are there, earlier ones are not"
    case .tornSector512: "of the last write, some sectors of 512 bytes are there"
    case .tornSector4K: "of the last write, some sectors of 4 KiB are there"
    case .zeroFilledTail: "the files are as long as they were, with zeros at their ends"
    case .garbageTail: "the files are as long as they were, with garbage at their ends"
    case .staleTail: "the files end with frames of an older segment"
    case .namesDropped: "no unsynced creation, renaming or removal has reached the disk"
    case .namesKept: "all unsynced creations, renamings and removals have"
    case .namesMixed: "some unsynced creations, renamings and removals have"
    case .storeCommitsLost: "some of the store's last commits that were not synced are gone"
    default: preconditionFailure("\(self) has no summary")
    }
  }

  private var damageSummary: String {
    switch self {
    case .bitFlip: "one bit of a file is flipped"
    case .cut: "a file is cut"
    case .zeroedRange: "a part of a file reads as zeros"
    case .garbageRange: "a part of a file is overwritten with garbage"
    case .missingSegment: "a segment is gone"
    case .duplicatedSegment: "a segment stands in the place of another one, too"
    case .swappedSegments: "two segments have each other's names"
    case .renamedSegment: "a segment has a later number"
    case .extraSegment: "another journal's segment follows the last one"
    case .corruptSegmentHeader: "a byte of a segment's header is wrong"
    case .corruptFrameTrailer: "the end of the last frame's body is wrong"
    case .corruptCheckpointHeader: "a byte of a checkpoint's header is wrong"
    case .corruptCheckpointBody: "a byte of a checkpoint's blocks is wrong"
    case .corruptCheckpointTrailer: "the empty block that ends a checkpoint is wrong"
    case .missingCheckpoint: "a checkpoint is gone"
    case .staleFrames: "frames of an older segment stand behind the journal's end"
    case .hostileLength: "a frame with right checksums says that it is 4 GiB long"
    case .hostileCheckpointLength: "a checkpoint's block says that it is 4 GiB long"
    case .deflateBomb: "a frame with right checksums inflates to far more than it says"
    default: preconditionFailure("\(self) has no summary")
    }
  }

  private var otherSummary: String {
    switch self {
    case .clockBack: "the wall clock is set back"
    case .clockFrozen: "the wall clock stands still while time passes"
    case .clockJump: "the wall clock leaps forward"
    case .storeBusy: "a call of the store says SQLITE_BUSY"
    case .storeFull: "a call of the store says SQLITE_FULL"
    case .storeIOError: "a call of the store says SQLITE_IOERR"
    case .storeCorrupt: "a call of the store says SQLITE_CORRUPT"
    case .storeNotADatabase: "a call of the store says SQLITE_NOTADB"
    case .storeReadOnly: "a call of the store says SQLITE_READONLY"
    case .storeCantOpen: "the database can't be opened (SQLITE_CANTOPEN, EMFILE among others)"
    case .storeCommitUnclear: "a transaction of the store is committed, and reported as failed"
    case .storeCold: "a row isn't in the page cache, so a read in place is refused"
    case .storeSlow: "a call of the store takes long"
    case .storeExternalReader: "a reader of another process keeps the log from being emptied"
    case .storeDeleted: "the database is deleted"
    case .storeTruncated: "the database is cut in half"
    case .storeReplaced: "the database is replaced by another cache's"
    case .storeAhead: "the database has applied more than the journal holds"
    case .storeBehind: "the database is an older copy"
    case .storeRowDamaged: "a byte of a row's value is wrong"
    case .storeRowMissing: "a row is gone"
    default: preconditionFailure("\(self) has no summary")
    }
  }
}
