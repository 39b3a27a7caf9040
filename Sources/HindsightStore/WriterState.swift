import CHindsightSQLite
import HindsightCore
import HindsightThreads

/// What the writer's lock guards: the connection, its statements, and what is known of the log.
struct WriterState {
  let connection: SQLiteConnection
  let storedMark: StoredMark
  let scan: RowScan
  let log: LogAccount
  private let begin: SQLiteStatement
  private let commit: SQLiteStatement
  private let insert: SQLiteStatement
  private let delete: SQLiteStatement
  private let deleteAll: SQLiteStatement
  private let setMark: SQLiteStatement
  /// A sync failed: what was written since the last good one may be gone, whatever later syncs say.
  private var syncFailure: StoreError?

  init(_ connection: SQLiteConnection) throws(StoreError) {
    self.connection = connection
    storedMark = try StoredMark(connection)
    scan = try RowScan(connection)
    log = LogAccount()
    log.attach(to: try connection.rawHandle(.open))
    begin = try connection.prepare("BEGIN IMMEDIATE", .apply)
    commit = try connection.prepare("COMMIT", .apply)
    insert = try connection.prepare(
      """
      INSERT INTO entries (origin, expires_at, created_at, coder, key, value)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6)
      """, .apply)
    delete = try connection.prepare("DELETE FROM entries WHERE origin = ?1", .apply)
    deleteAll = try connection.prepare("DELETE FROM entries", .apply)
    setMark = try connection.prepare(
      "INSERT OR REPLACE INTO meta (id, journal, applied) VALUES (1, ?1, ?2)", .apply)
  }

  /// This, if the connection is open.
  ///
  /// - Throws: `closed`.
  func open(_ operation: StoreError.Operation) throws(StoreError) -> WriterState {
    _ = try connection.rawHandle(operation)
    return self
  }

  // MARK: Transactions

  func apply(_ operations: [RowOperation], mark: StoreMark) throws(StoreError) {
    _ = try connection.rawHandle(.apply)
    try begin.run()
    do {
      for operation in operations {
        StandingBack.ifAskedFor()
        try apply(operation)
      }
      setMark.bind(mark.journalID.description, at: 1)
      setMark.bind(mark.applied, at: 2)
      try setMark.run()
      try commit.run()
    } catch {
      try rollBack()
      throw error
    }
  }

  private func apply(_ operation: RowOperation) throws(StoreError) {
    switch operation {
    case .delete(let origin):
      delete.bind(origin, at: 1)
      try delete.run()
    case .deleteAll: try deleteAll.run()
    case .insert(let row):
      precondition(
        row.origin > .zero && !row.key.isEmpty && row.key.count <= Bounds.keyByteCountMax
          && row.value.count <= Bounds.valueByteCountMax, "rows are checked where they come from")
      insert.bind(row.origin, at: 1)
      insert.bind(row.expiry.rawValue, at: 2)
      insert.bind(row.createdAt.rawValue, at: 3)
      insert.bind(Int64(row.coder), at: 4)
      // The buffers outlive the run, which ends with a reset.
      try row.key.span.bytes.withUnsafeBytes { (key) throws(StoreError) in
        try row.value.span.bytes.withUnsafeBytes { (value) throws(StoreError) in
          insert.bindTextUnsafely(key, at: 5)
          insert.bindBlobUnsafely(value, at: 6)
          try insert.run()
        }
      }
    }
  }

  /// Undoes what a failed statement left. SQLite may have done it already.
  func rollBack() throws(StoreError) {
    if !connection.isAutocommit { try connection.execute("ROLLBACK", .apply) }
  }

  // MARK: Checkpoints

  mutating func checkpoint(_ kind: CheckpointKind) throws(StoreError) -> CheckpointOutcome {
    _ = try connection.rawHandle(.checkpoint)
    if let syncFailure { throw syncFailure }
    do {
      // Read before: nothing is committed while we hold the writer's lock, but so it shows.
      let mark = try storedMark.read()
      let isComplete = try moveLog(kind)
      try sync(isComplete ? SQLITE_FCNTL_FILE_POINTER : SQLITE_FCNTL_JOURNAL_POINTER)
      if isComplete { log.noteCompleteCheckpoint() }
      return CheckpointOutcome(
        synced: mark, walByteCount: log.byteCount, isBlockedByReader: !isComplete)
    } catch {
      if error.isSyncFailure {
        syncFailure = error
        connection.keepLogAtClose()
      }
      throw error
    }
  }

  /// Moves what it can of the log into the database.
  ///
  /// - Returns: whether that was all of it.
  private func moveLog(_ kind: CheckpointKind) throws(StoreError) -> Bool {
    let mode = kind == .passive ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE
    var frameCount: Int32 = -1
    var movedCount: Int32 = -1
    let code = sqlite3_wal_checkpoint_v2(
      try connection.rawHandle(.checkpoint), nil, mode, &frameCount, &movedCount)
    switch code & 0xFF {
    case SQLITE_OK: return frameCount >= 0 && frameCount == movedCount
    case SQLITE_BUSY: return false
    default: throw connection.error(code, .checkpoint)
    }
  }

  /// Syncs the database or the log, by the file that SQLite has open: its pointer is valid as long as the connection
  /// is, and only the writer's thread uses that. After a complete checkpoint SQLite has synced the database
  /// itself, unless the program of another process did the moving with syncs off.
  private func sync(_ file: Int32) throws(StoreError) {
    var pointer: UnsafeMutablePointer<sqlite3_file>?
    let handle = try connection.rawHandle(.checkpoint)
    let code = withUnsafeMutablePointer(to: &pointer) {
      sqlite3_file_control(handle, nil, file, $0)
    }
    guard code == SQLITE_OK, let pointer, let methods = pointer.pointee.pMethods,
      let xSync = methods.pointee.xSync
    else {
      throw StoreError(
        code: .other, operation: .checkpoint, message: "no file to sync", path: connection.path)
    }
    let result = xSync(pointer, SQLITE_SYNC_NORMAL)
    guard result == SQLITE_OK else {
      throw StoreError(
        resultCode: result, operation: .checkpoint, handle: nil, path: connection.path)
    }
  }
}
