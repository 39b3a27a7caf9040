import Foundation
import Glibc
import HindsightCore
import Testing

@testable import HindsightStore

@Suite("S040 store: files")
struct StoreFileTests {
  @Test("only the owner can read the files, whatever the umask")
  func modes() async {
    // In a process of its own, since a umask is the whole process's.
    await #expect(processExitsWith: .success) { try StoreFileTests.checkModes() }
  }

  private static func checkModes() throws {
    umask(0)
    try withDirectory { directory in
      let store = SQLiteStore(directory: directory)
      let writer = try store.openWriter()
      try writer.apply(inserts(1...1), mark: mark(1))
      for suffix in ["", "-wal", "-shm"] {
        #expect(try fileMode(path(directory, suffix)) == 0o600, "\(suffix)")
      }
      writer.close()
      for suffix in ["", "-wal"] {
        #expect(FileManager.default.createFile(atPath: path(directory, suffix), contents: nil))
        #expect(chmod(path(directory, suffix), 0o644) == 0)
      }
      let again = try store.openWriter()
      for suffix in ["", "-wal"] { #expect(try fileMode(path(directory, suffix)) == 0o600) }
      again.close()
    }
  }

  @Test(
    "what is no regular file is refused, in the database's place and beside it",
    arguments: ["", "-wal", "-shm", "-journal"], ["symlink", "fifo", "directory"])
  func notAFile(suffix: String, kind: String) throws {
    try withDirectory { directory in
      if !suffix.isEmpty { try SQLiteStore(directory: directory).openWriter().close() }
      let place = path(directory, suffix)
      switch kind {
      case "symlink": #expect(symlink("/dev/null", place) == 0)
      case "fifo": #expect(mkfifo(place, 0o600) == 0)
      default: #expect(mkdir(place, 0o700) == 0)
      }
      let store = SQLiteStore(directory: directory)
      #expect(code { () throws(StoreError) in _ = try store.openWriter() } == .cantOpen)
      #expect(code { () throws(StoreError) in _ = try store.openReader() } == .cantOpen)
      #expect(try store.quarantine() == "store.sqlite.quarantine-1")
      try store.openWriter().close()
    }
  }

  @Test(
    "a file with a second name is not written, another user's neither",
    arguments: ["", "-wal", "-shm", "-journal"])
  func neighbours(suffix: String) throws {
    try withDirectory { directory in
      try SQLiteStore(directory: directory).openWriter().close()
      let place = path(directory, suffix)
      let other = directory + "/other"
      try Data("theirs".utf8).write(to: URL(fileURLWithPath: other))
      if suffix.isEmpty { #expect(unlink(place) == 0) }
      #expect(link(other, place) == 0)
      let store = SQLiteStore(directory: directory)
      #expect(code { () throws(StoreError) in _ = try store.openWriter() } == .cantOpen)
      #expect(unlink(other) == 0)
      if geteuid() == 0 {
        #expect(chown(place, 12_345, 12_345) == 0)
        #expect(code { () throws(StoreError) in _ = try store.openWriter() } == .cantOpen)
        #expect(
          code { () throws(StoreError) in _ = try StoreInspector(directory: directory) }
            == .cantOpen)
      }
      #expect(try String(contentsOfFile: place, encoding: .utf8) == "theirs")
    }
  }

  @Test("a symbolic link in the directory's place is not followed")
  func linkedDirectory() throws {
    try withDirectory { directory in
      #expect(mkdir(directory + "/real", 0o700) == 0)
      #expect(symlink(directory + "/real", directory + "/link") == 0)
      for name in ["/link", "/link/"] {
        let store = SQLiteStore(directory: directory + name)
        #expect(code { () throws(StoreError) in _ = try store.openWriter() } == .cantOpen)
      }
      let names = try FileManager.default.contentsOfDirectory(atPath: directory + "/real")
      #expect(names.isEmpty)
    }
  }

  @Test("a directory that isn't there can't be opened")
  func noDirectory() {
    let store = SQLiteStore(directory: "/nonexistent/hindsight")
    #expect(code { () throws(StoreError) in _ = try store.openWriter() } == .cantOpen)
  }

  @Test("garbage is no database; quarantined, it makes room for a new one and stays as it was")
  func garbage() throws {
    try withDirectory { directory in
      let garbage = Data((0..<9_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
      try garbage.write(to: URL(fileURLWithPath: path(directory)))
      let store = SQLiteStore(directory: directory)
      #expect(code { () throws(StoreError) in _ = try store.openWriter() } == .notADatabase)
      let name = try #require(try store.quarantine())
      #expect(try Data(contentsOf: URL(fileURLWithPath: directory + "/" + name)) == garbage)
      let writer = try store.openWriter()
      try writer.apply(inserts(1...3), mark: mark(3))
      writer.close()
      #expect(try store.quarantine() == "store.sqlite.quarantine-2")
      #expect(try store.quarantine() == nil)
    }
  }

  @Test(
    "another program's database is foreign",
    arguments: [
      "CREATE TABLE theirs (a)", "PRAGMA application_id = 7; CREATE TABLE theirs (a)",
      "PRAGMA application_id = 7",
    ])
  func foreign(sql: String) throws {
    try withDirectory { directory in
      #expect(FileManager.default.createFile(atPath: path(directory), contents: nil))
      let theirs = try SQLiteConnection(path: path(directory), access: .readWrite)
      try theirs.execute(sql, .open)
      theirs.close()
      let store = SQLiteStore(directory: directory)
      #expect(code { () throws(StoreError) in _ = try store.openWriter() } == .foreign)
      #expect(try store.quarantine() != nil)
      try store.openWriter().close()
    }
  }

  @Test(
    "our database with another version or a changed schema is foreign",
    arguments: ["PRAGMA user_version = 2", "CREATE INDEX k ON entries (key)", "DROP VIEW cache"])
  func changed(sql: String) throws {
    try withDirectory { directory in
      let store = SQLiteStore(directory: directory)
      try store.openWriter().close()
      let theirs = try SQLiteConnection(path: path(directory), access: .readWrite)
      try theirs.execute(sql, .open)
      theirs.close()
      #expect(code { () throws(StoreError) in _ = try store.openWriter() } == .foreign)
      #expect(
        code { () throws(StoreError) in _ = try StoreInspector(directory: directory) } == .foreign)
    }
  }

  @Test("a database cut anywhere is found out when opened or when checked, never a crash")
  func truncated() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      try writer.apply(inserts(1...500, valueByteCount: 300), mark: mark(500))
      writer.close()
      let whole = try Data(contentsOf: URL(fileURLWithPath: path(directory)))
      // SQLite takes a file of one byte for an empty one, and a cut inside of the last page for
      // zeros: the index's hash of each value finds those.
      for count in [2, 50, 100, 4_095, 4_096, 8_192, 20_000, whole.count - 4_096] {
        try withDirectory { copy in
          try whole.prefix(count).write(to: URL(fileURLWithPath: path(copy)))
          let store = SQLiteStore(directory: copy)
          var found: [String] = []
          let failure = code { () throws(StoreError) in
            try store.openWriter().close()
            found = try findings(copy)
          }
          #expect(
            failure == .corrupt || failure == .notADatabase || !found.isEmpty, "\(count)")
          #expect(try store.quarantine() != nil)
          try store.openWriter().close()
        }
      }
    }
  }

  @Test("a log without its database is moved aside, not replayed into a new one")
  func orphanedLog() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      try writer.apply(inserts(1...10), mark: mark(10))
      try withDirectory { copy in
        try FileManager.default.copyItem(
          atPath: path(directory, "-wal"), toPath: path(copy, "-wal"))
        let next = try SQLiteStore(directory: copy).openWriter()
        #expect(try next.mark() == nil)
        #expect(try next.rowCount() == 0)
        next.close()
        #expect(
          FileManager.default.fileExists(atPath: copy + "/store.sqlite.quarantine-1-wal"))
      }
      writer.close()
    }
  }

  @Test("a database that somebody had SQLite analyze is ours all the same")
  func analyzed() throws {
    try withDirectory { directory in
      let store = SQLiteStore(directory: directory)
      let writer = try store.openWriter()
      try writer.apply(inserts(1...10), mark: mark(10))
      writer.close()
      try SQLiteConnection(path: path(directory), access: .readWrite).execute("ANALYZE", .open)
      let again = try store.openWriter()
      #expect(try origins(again) == Array(1...10))
      again.close()
      #expect(try StoreInspector(directory: directory).mark == mark(10))
    }
  }

  /// As after a kill while the database was made, or by somebody who has switched its log off.
  @Test("the mark beside a transaction that was cut off is the one from before it")
  func rollbackJournal() throws {
    try withDirectory { directory in
      let store = SQLiteStore(directory: directory)
      let writer = try store.openWriter()
      try writer.apply(inserts(1...100, valueByteCount: 3_000), mark: mark(100))
      writer.close()
      let connection = try SQLiteConnection(path: path(directory), access: .readWrite)
      try connection.execute("PRAGMA journal_mode = DELETE", .open)
      // More than the page cache holds goes to the file before the commit.
      try connection.execute(
        "PRAGMA cache_size = 1; BEGIN; UPDATE meta SET applied = 7; UPDATE entries SET coder = 3",
        .apply)
      try withDirectory { copy in
        for suffix in ["", "-journal"] {
          try FileManager.default.copyItem(
            atPath: path(directory, suffix), toPath: path(copy, suffix))
        }
        let refused = #expect(throws: StoreError.self) { try StoreInspector(directory: copy) }
        #expect(refused?.message.contains("store.sqlite-journal") == true, "\(refused as Any)")
        #expect(try SQLiteStore(directory: copy).markAtRest() == mark(100))
      }
    }
  }
}
