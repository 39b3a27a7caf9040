import CHindsightSQLite

/// How long the write-ahead log is.
///
/// SQLite says so after each commit, to a hook; setting one also ends SQLite's own checkpoints
/// (sqlite.org/c3ref/wal_hook.html). Used by the writer's calls only, with its lock held.
final class LogAccount {
  private var frameCount: UInt64 = 0

  /// Bytes in use: 0 once a checkpoint has moved all of it.
  var byteCount: UInt64 { frameCount * StoreBounds.walFrameByteCount }

  /// Has the connection report its commits. The account must live as long as the connection.
  func attach(to handle: OpaquePointer) {
    let context = Unmanaged.passUnretained(self).toOpaque()
    sqlite3_wal_hook(
      handle,
      { context, _, _, frameCount in
        guard let context else { return SQLITE_OK }
        let account = Unmanaged<LogAccount>.fromOpaque(context).takeUnretainedValue()
        account.frameCount = UInt64(max(0, frameCount))
        return SQLITE_OK
      }, context)
  }

  /// A checkpoint moved all of the log.
  func noteCompleteCheckpoint() { frameCount = 0 }
}
