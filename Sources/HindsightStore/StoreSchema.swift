import HindsightCore

/// What stands in the database, and the check that it is ours.
///
/// `entries` has the columns of fixed size first, so that reading them doesn't walk through a long
/// value. `cache` is for people with `sqlite3`: its columns are those of the system that Hindsight
/// replaces. There, `created_at` is ISO 8601 in UTC with milliseconds, `ttl_seconds` a number, and
/// `value` text where it is JSON (coder 1). Rows past their expiry stay visible until they go.
enum StoreSchema {
  private static let entries = """
    CREATE TABLE entries (
      origin INTEGER PRIMARY KEY,
      expires_at INTEGER NOT NULL, -- microseconds since 1970
      created_at INTEGER NOT NULL, -- microseconds since 1970
      coder INTEGER NOT NULL,
      key TEXT NOT NULL,
      value BLOB NOT NULL
    )
    """

  private static let meta = """
    CREATE TABLE meta (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      journal TEXT NOT NULL, -- 32 hexadecimal digits
      applied INTEGER NOT NULL -- the last event whose effect the rows contain
    )
    """

  private static let cache = """
    CREATE VIEW cache (key, value, created_at, ttl_seconds) AS
    SELECT
      key,
      CASE coder WHEN 1 THEN CAST(value AS TEXT) ELSE value END,
      strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000000.0, 'unixepoch'),
      (expires_at - created_at) / 1000000.0
    FROM entries
    """

  /// In the order of their names.
  private static let all = [cache, entries, meta]

  /// Makes the schema in an empty database; checks it in any other.
  static func createOrCheck(_ connection: SQLiteConnection) throws(StoreError) {
    if try isEmpty(connection) { try create(connection) }
    try check(connection)
  }

  /// Whether nothing is in the database yet: whoever made the file was stopped before it made the schema.
  static func isEmpty(_ connection: SQLiteConnection) throws(StoreError) -> Bool {
    let count = try connection.query("SELECT count(*) FROM sqlite_schema", .open) {
      $0.integer(0)
    }
    return try pragma("application_id", connection) == 0 && count == [0]
  }

  /// - Throws: `foreign` where the database is another's or of another version.
  static func check(_ connection: SQLiteConnection) throws(StoreError) {
    let applicationID = try pragma("application_id", connection)
    guard applicationID == StoreBounds.applicationID else {
      throw foreign("application_id is \(applicationID)", connection)
    }
    let version = try pragma("user_version", connection)
    guard version == StoreBounds.schemaVersion else {
      throw foreign("the schema has version \(version)", connection)
    }
    // What ANALYZE leaves (sqlite.org/fileformat.html#stat1tab) changes nothing for us.
    let found = try connection.query(
      "SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_stat_' ESCAPE '\\' ORDER BY name",
      .open
    ) {
      $0.text(0)
    }
    guard found == all else { throw foreign("the schema was changed", connection) }
  }

  /// Checks only that there are our rows, of whatever else the database is a part.
  ///
  /// - Throws: `foreign` where there are none.
  static func checkEntries(_ connection: SQLiteConnection) throws(StoreError) {
    let found = try connection.query(
      "SELECT sql FROM sqlite_schema WHERE name = 'entries' AND type = 'table'", .open
    ) {
      $0.text(0)
    }
    guard found == [entries] else { throw foreign("it has no rows of ours", connection) }
  }

  private static func create(_ connection: SQLiteConnection) throws(StoreError) {
    let statements =
      ["BEGIN IMMEDIATE"] + all + [
        "PRAGMA application_id = \(StoreBounds.applicationID)",
        "PRAGMA user_version = \(StoreBounds.schemaVersion)",
        "COMMIT",
      ]
    try connection.execute(statements.joined(separator: ";\n"), .open)
  }

  private static func pragma(
    _ name: String, _ connection: SQLiteConnection
  ) throws(StoreError) -> Int64 {
    try connection.query("PRAGMA \(name)", .open) { $0.integer(0) }[0]
  }

  private static func foreign(_ message: String, _ connection: SQLiteConnection) -> StoreError {
    StoreError(code: .foreign, operation: .open, message: message, path: connection.path)
  }
}
