import CHindsightSQLite
import HindsightCore

/// A prepared statement. Belongs to its connection, which finalizes it: nobody else keeps one, so that
/// `connection` is there as long as it is.
final class SQLiteStatement {
  private var handle: OpaquePointer?
  private unowned let connection: SQLiteConnection
  private let operation: StoreError.Operation

  init(
    _ handle: OpaquePointer, of connection: SQLiteConnection, for operation: StoreError.Operation
  ) {
    self.handle = handle
    self.connection = connection
    self.operation = operation
  }

  func finalize() {
    // The result repeats what the last step said.
    sqlite3_finalize(handle)
    handle = nil
  }

  // MARK: Running

  /// Goes to the next row; false at the end, where the statement is reset.
  func step() throws(StoreError) -> Bool {
    let code = sqlite3_step(handle)
    if code == SQLITE_ROW { return true }
    if code == SQLITE_DONE {
      reset()
      return false
    }
    let error = connection.error(code, operation)
    reset()
    throw error
  }

  /// As `step()`, but leaves the judgement to the caller, who resets.
  func stepCode() -> Int32 { sqlite3_step(handle) }

  /// Runs a statement that brings no rows.
  func run() throws(StoreError) {
    let hasRow = try step()
    precondition(!hasRow, "the statement brings rows")
  }

  func reset() {
    // The result repeats what the last step said.
    sqlite3_reset(handle)
  }

  // MARK: Parameters, counted from 1

  func bind(_ value: Int64, at index: Int32) {
    check(sqlite3_bind_int64(handle, index, value))
  }

  func bind(_ sequence: SequenceNumber, at index: Int32) {
    bind(Int64(sequence.rawValue), at: index)
  }

  func bind(_ text: String, at index: Int32) {
    var text = text
    text.withUTF8 { bytes in
      // SQLite copies: the buffer ends with this closure (SQLITE_TRANSIENT).
      let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
      // Both are bytes; SQLite only reads them.
      bytes.withMemoryRebound(to: CChar.self) {
        check(sqlite3_bind_text(handle, index, $0.baseAddress, Int32($0.count), transient))
      }
    }
  }

  /// Binds without a copy: `bytes` must stay valid until the statement is reset.
  func bindTextUnsafely(_ bytes: UnsafeRawBufferPointer, at index: Int32) {
    let start = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
    check(sqlite3_bind_text(handle, index, start, Int32(bytes.count), nil))
  }

  /// Binds without a copy: `bytes` must stay valid until the statement is reset.
  func bindBlobUnsafely(_ bytes: UnsafeRawBufferPointer, at index: Int32) {
    guard let start = bytes.baseAddress, !bytes.isEmpty else {
      // A null pointer would bind NULL.
      return check(sqlite3_bind_zeroblob(handle, index, 0))
    }
    check(sqlite3_bind_blob(handle, index, start, Int32(bytes.count), nil))
  }

  private func check(_ code: Int32) {
    precondition(code == SQLITE_OK, "binding fails only on misuse")
  }

  // MARK: Columns, counted from 0

  func integer(_ index: Int32) -> Int64 { sqlite3_column_int64(handle, index) }

  func isInteger(_ index: Int32) -> Bool { sqlite3_column_type(handle, index) == SQLITE_INTEGER }

  func isBlob(_ index: Int32) -> Bool { sqlite3_column_type(handle, index) == SQLITE_BLOB }

  func isText(_ index: Int32) -> Bool { sqlite3_column_type(handle, index) == SQLITE_TEXT }

  /// The bytes of a text or a blob, valid until the next step or reset.
  func bytesUnsafely(_ index: Int32) -> UnsafeRawBufferPointer {
    // The order matters: sqlite3_column_bytes() speaks of the form last asked for.
    let start = sqlite3_column_blob(handle, index)
    return UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, index)))
  }

  /// A copy of the bytes of a text or a blob.
  func bytes(_ index: Int32) -> Bytes { [UInt8](bytesUnsafely(index))[...] }

  /// A copy of a text; empty for NULL.
  func text(_ index: Int32) -> String { String(decoding: bytesUnsafely(index), as: UTF8.self) }
}
