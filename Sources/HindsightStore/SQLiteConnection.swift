import CHindsightSQLite

/// A connection to one database file, with the statements prepared on it.
///
/// Not thread-safe: each is kept inside the `Mutex` of its one owner. SQLite's own mutex is off.
final class SQLiteConnection {
  enum Access {
    case readWrite
    case readOnly
    /// Without any lock, and without making any file: of a database at rest.
    case atRest
  }

  let path: String
  private var handle: OpaquePointer?
  private var statements: [SQLiteStatement] = []

  /// Opens the file, which must exist.
  init(path: String, access: Access) throws(StoreError) {
    let mode = access == .readWrite ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY
    var flags = mode | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE
    var name = path
    if access == .atRest {
      flags |= SQLITE_OPEN_URI
      name = Self.uri(path) + "?immutable=1"
    }
    var opened: OpaquePointer?
    let code = sqlite3_open_v2(name, &opened, flags, nil)
    guard code == SQLITE_OK, let opened else {
      let error = StoreError(resultCode: code, operation: .open, handle: opened, path: path)
      sqlite3_close_v2(opened)
      throw error
    }
    self.path = path
    handle = opened
    sqlite3_limit(opened, SQLITE_LIMIT_LENGTH, Int32(StoreBounds.columnByteCountMax))
  }

  deinit { close() }

  /// An absolute path as a URI (sqlite.org/uri.html).
  private static func uri(_ path: String) -> String {
    let plain = Set("/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
    let digits = Array("0123456789ABCDEF")
    return path.utf8.reduce(into: "file:") { uri, byte in
      if plain.contains(byte) {
        uri.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        uri += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
      }
    }
  }

  /// The pointer for calls that have no wrapper here.
  func rawHandle(_ operation: StoreError.Operation) throws(StoreError) -> OpaquePointer {
    guard let handle else {
      throw StoreError(
        code: .closed, operation: operation, message: "the store is closed", path: path)
    }
    return handle
  }

  /// Whether no transaction is open. True once closed.
  var isAutocommit: Bool { handle.map { sqlite3_get_autocommit($0) != 0 } ?? true }

  /// Prepares a statement that lives as long as the connection.
  func prepare(
    _ sql: String, _ operation: StoreError.Operation
  ) throws(StoreError) -> SQLiteStatement {
    let handle = try rawHandle(operation)
    var prepared: OpaquePointer?
    let code = sqlite3_prepare_v3(
      handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
    guard code == SQLITE_OK, let prepared else { throw error(code, operation) }
    let statement = SQLiteStatement(prepared, of: self, for: operation)
    statements.append(statement)
    return statement
  }

  /// Runs statements that bring no rows that matter.
  func execute(_ sql: String, _ operation: StoreError.Operation) throws(StoreError) {
    let code = sqlite3_exec(try rawHandle(operation), sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw error(code, operation) }
  }

  /// Runs `sql` once and returns what `body` makes of each of its rows.
  func query<Element>(
    _ sql: String, _ operation: StoreError.Operation,
    _ body: (SQLiteStatement) throws(StoreError) -> Element
  ) throws(StoreError) -> [Element] {
    let statement = try prepare(sql, operation)
    statements.removeLast()
    defer { statement.finalize() }
    var elements: [Element] = []
    while try statement.step() { elements.append(try body(statement)) }
    return elements
  }

  /// The error that a result code of this connection stands for.
  func error(_ code: Int32, _ operation: StoreError.Operation) -> StoreError {
    StoreError(resultCode: code, operation: operation, handle: handle, path: path)
  }

  func setBusyTimeout(milliseconds: Int32) {
    if let handle { sqlite3_busy_timeout(handle, milliseconds) }
  }

  /// Whoever closes last leaves the log as it is, for the next opening, which checks each frame of it.
  func keepLogAtClose() {
    if let handle { _ = hindsight_keep_log_at_close(handle) }
  }

  /// Finalizes the statements and closes. Again: nothing.
  func close() {
    guard let handle else { return }
    for statement in statements { statement.finalize() }
    statements = []
    self.handle = nil
    let code = sqlite3_close_v2(handle)
    precondition(code == SQLITE_OK, "sqlite3_close_v2 fails only on misuse")
  }
}

extension StoreError {
  /// What SQLite said, in our terms (sqlite.org/rescode.html).
  init(resultCode: Int32, operation: Operation, handle: OpaquePointer?, path: String) {
    let described = handle.flatMap { sqlite3_errmsg($0) } ?? sqlite3_errstr(resultCode)
    self.init(
      code: Code(resultCode: resultCode), extendedCode: resultCode, operation: operation,
      message: described.map { String(cString: $0) } ?? "no description", path: path)
  }

  /// Whether a sync failed, after which what was written can't be relied on.
  var isSyncFailure: Bool {
    extendedCode == SQLITE_IOERR | (4 << 8)  // SQLITE_IOERR_FSYNC
      || extendedCode == SQLITE_IOERR | (5 << 8)  // SQLITE_IOERR_DIR_FSYNC
  }

  /// Whether a connection that only reads met a transaction that has to be undone first.
  var needsRollback: Bool {
    extendedCode == SQLITE_READONLY | (3 << 8)  // SQLITE_READONLY_ROLLBACK
  }
}

extension StoreError.Code {
  fileprivate init(resultCode: Int32) {
    switch resultCode & 0xFF {
    case SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL: self = .busy
    case SQLITE_FULL: self = .full
    case SQLITE_IOERR: self = .ioError
    case SQLITE_CORRUPT, SQLITE_TOOBIG: self = .corrupt
    case SQLITE_NOTADB: self = .notADatabase
    case SQLITE_SCHEMA: self = .foreign
    case SQLITE_READONLY: self = .readOnly
    case SQLITE_CANTOPEN, SQLITE_PERM: self = .cantOpen
    case SQLITE_CONSTRAINT: self = .conflict
    default: self = .other
    }
  }
}
