import CHindsightSQLite
import Foundation
import HindsightCore
import Testing

@testable import HindsightStore

/// A database with our schema whose rows somebody else wrote.
@Suite("S040 store: hostile rows")
struct HostileRowTests {
  /// Runs SQL on the file as another program would.
  private func change(_ directory: String, _ sql: String) throws {
    try SQLiteStore(directory: directory).openWriter().close()
    let connection = try SQLiteConnection(path: path(directory), access: .readWrite)
    sqlite3_limit(try connection.rawHandle(.open), SQLITE_LIMIT_LENGTH, 1 << 30)
    try connection.execute(sql, .open)
    connection.close()
  }

  private func scanCode(_ directory: String) -> StoreError.Code? {
    code { () throws(StoreError) in
      let store = try StoreInspector(directory: directory)
      _ = try store.rows(after: .zero, detail: .hashes)
    }
  }

  @Test("a mark that leaves no room for what follows is none", arguments: [Int64.max, 1 << 62, -1])
  func mark(applied: Int64) throws {
    try withDirectory { directory in
      let journal = String(repeating: "0", count: 32)
      try change(directory, "INSERT INTO meta VALUES (1, '\(journal)', \(applied))")
      #expect(
        code { () throws(StoreError) in _ = try StoreInspector(directory: directory) } == .corrupt)
    }
  }

  @Test(
    "rows that ours can't be are damage",
    arguments: [
      "9223372036854775807, 2, 1, 1, 'k', x'00'", "1, -1, 1, 1, 'k', x'00'",
      "1, 2, -9223372036854775808, 1, 'k', x'00'", "1, 2, 1, 256, 'k', x'00'",
      "1, 2, 1, 1, '', x'00'", "1, 2, 1, 1, 'k', 'text'", "1, 2, 1, 1, 'k', 7",
      "1, 'x', 1, 1, 'k', x'00'", "1, 2, 1, 1, zeroblob(1025), x'00'",
      "1, 2, 1, 1, 'k', zeroblob(17000000)", "1, 2, 1, 1, 'k', zeroblob(100000000)",
    ])
  func rows(values: String) throws {
    try withDirectory { directory in
      try change(directory, "INSERT INTO entries VALUES (\(values))")
      #expect(scanCode(directory) == .corrupt)
    }
  }
}
