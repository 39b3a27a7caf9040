import CHindsightSQLite
import HindsightCore
import Synchronization

/// The one connection that writes.
///
/// **What survives a loss of power.** With `synchronous = NORMAL` a commit is written to the log,
/// not synced. SQLite syncs the log before a checkpoint moves it and the database after a
/// checkpoint that moved all of it (sqlite.org/pragma.html#pragma_synchronous). So after a complete
/// checkpoint everything committed before it is safe. Where a reader of another process prevents
/// that, the log itself is synced through its own VFS file: what `FULL` does at each commit,
/// later. Either way the mark is safe together with the rows, because they are one transaction.
final class SQLiteStoreWriter: StoreWriter {
  private let gate: SnapshotGate
  private let state: Mutex<WriterState>

  init(_ connection: sending SQLiteConnection, gate: SnapshotGate) throws(StoreError) {
    self.gate = gate
    state = Mutex(try WriterState(connection))
  }

  func mark() throws(StoreError) -> StoreMark? {
    try state.withLock { (state) throws(StoreError) in
      let state = try state.open(.readMark)
      // What a failed transaction has left open isn't committed.
      try state.rollBack()
      return try state.storedMark.read()
    }
  }

  func apply(_ operations: [RowOperation], mark: StoreMark) throws(StoreError) {
    try state.withLock { (state) throws(StoreError) in
      // Also where it fails: it may be committed all the same.
      defer { gate.noteCommit() }
      try state.apply(operations, mark: mark)
    }
  }

  func checkpoint(_ kind: CheckpointKind) throws(StoreError) -> CheckpointOutcome {
    try state.withLock { (state) throws(StoreError) in
      do throws(StoreError) {
        return try gate.withoutSnapshots { () throws(StoreError) in try state.checkpoint(kind) }
      } catch {
        if error.isSyncFailure { gate.keepLogAtClose() }
        throw error
      }
    }
  }

  var walByteCount: UInt64 { state.withLock { $0.log.byteCount } }

  func rows(
    after origin: SequenceNumber, limit: Int, detail: RowDetail
  ) throws(StoreError) -> [RowImage] {
    try state.withLock { (state) throws(StoreError) in
      try state.open(.scan).scan.page(after: origin, limit: limit, detail: detail)
    }
  }

  func close() { state.withLock { $0.connection.close() } }
}
