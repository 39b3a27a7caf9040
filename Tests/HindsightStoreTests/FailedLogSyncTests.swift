import CHindsightSQLite
import Foundation
import HindsightCore
import Testing

@testable import HindsightStore

/// After a failed sync the kernel may have dropped what it could not write: only who checks each frame may trust
/// what the log reads as.
@Suite("S040 store: a sync of the log that failed")
struct FailedLogSyncTests {
  @Test("the close doesn't move such a log into the database", arguments: [false, true])
  func closing(isReverted: Bool) throws {
    try withDirectory { directory in
      let first = try SQLiteStore(directory: directory).openWriter()
      try first.apply(inserts(1...100, valueByteCount: 500), mark: mark(100))
      #expect(try first.checkpoint(.truncate).synced == mark(100))
      first.close()
      let connection = try SQLiteConnection(path: path(directory), access: .readWrite)
      try connection.tune()
      try connection.execute("PRAGMA synchronous = NORMAL", .open)
      var state = try WriterState(connection)
      // Pages of the old rows change, too.
      let deletes = (1...50).map { RowOperation.delete(origin: SequenceNumber($0)) }
      try state.apply(deletes + inserts(101...200, valueByteCount: 500), mark: mark(200))
      try withFailingSync(of: connection) {
        #expect(code { () throws(StoreError) in _ = try state.checkpoint(.passive) } == .ioError)
      }
      if isReverted { try revert(path(directory, "-wal")) }
      // As the projector ends.
      #expect(code { () throws(StoreError) in _ = try state.checkpoint(.truncate) } == .ioError)
      connection.close()
      let again = try SQLiteStore(directory: directory).openWriter()
      defer { again.close() }
      #expect(try again.mark() == mark(isReverted ? 100 : 200))
      #expect(try findings(directory) == [])
    }
  }

  /// Lets each sync of the log fail with EIO.
  private func withFailingSync(of connection: SQLiteConnection, _ body: () -> Void) throws {
    var pointer: UnsafeMutablePointer<sqlite3_file>?
    let handle = try connection.rawHandle(.open)
    _ = withUnsafeMutablePointer(to: &pointer) {
      sqlite3_file_control(handle, nil, SQLITE_FCNTL_JOURNAL_POINTER, $0)
    }
    let file = try #require(pointer)
    let original = try #require(file.pointee.pMethods)
    withUnsafeTemporaryAllocation(of: sqlite3_io_methods.self, capacity: 1) { patched in
      patched.initialize(repeating: original.pointee)
      patched[0].xSync = { _, _ in SQLITE_IOERR | (4 << 8) }
      file.pointee.pMethods = UnsafePointer(patched.baseAddress)
      body()
      file.pointee.pMethods = original
    }
  }

  /// As the kernel may: the pages read as they are on the disk.
  private func revert(_ path: String) throws {
    let log = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    let size = try log.seekToEnd()
    try log.seek(toOffset: 32)
    try log.write(contentsOf: Data(count: Int(size) - 32))
    try log.close()
  }
}
