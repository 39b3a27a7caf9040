import Foundation
import Glibc
import HindsightCore
import Testing

@testable import HindsightStore

@Suite("S040 store: writing")
struct StoreWriterTests {
  @Test("T040.17 the first open creates the schema, with no rows and no mark")
  func firstOpen() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      #expect(try writer.rowCount() == 0)
      #expect(try writer.mark() == nil)
      #expect(try findings(directory) == [])
      writer.close()
      let again = try SQLiteStore(directory: directory).openWriter()
      #expect(try again.rowCount() == 0)
      again.close()
    }
  }

  @Test("rows come back as they were, with the mark, also after a restart")
  func roundTrip() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      var empty = row(3)
      empty.value = []
      var awkward = row(4)
      awkward.key = [0, 0xC3, 0xA9, 0]
      try writer.apply(
        inserts(1...2) + [.insert(empty), .insert(awkward), .delete(origin: .init(1))],
        mark: mark(4))
      writer.close()

      let again = try SQLiteStore(directory: directory).openWriter()
      defer { again.close() }
      #expect(try again.mark() == mark(4))
      let rows = try again.rows(after: .zero, limit: 10, detail: .values)
      #expect(rows.map(\.origin.rawValue) == [2, 3, 4])
      #expect(rows.map(\.value) == [row(2).value, [], row(4).value])
      #expect(rows.map(\.key) == [row(2).key, row(3).key, awkward.key])
      #expect(rows[0].expiry == row(2).expiry && rows[0].createdAt == row(2).createdAt)
      #expect(rows.map(\.valueByteCount) == [20, 0, 20])
      #expect(rows[0].valueHash == XXH64.hash(row(2).value))
      let hashes = try again.rows(after: SequenceNumber(2), limit: 1, detail: .hashes)
      #expect(hashes.map(\.valueHash) == [XXH64.hash([] as Bytes)])
      #expect(hashes.map(\.value) == [nil])
    }
  }

  @Test("a batch that fails leaves nothing behind, and the connection stays usable")
  func allOrNothing() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      defer { writer.close() }
      try writer.apply(inserts(5...5), mark: mark(5))
      let failure = code { () throws(StoreError) in
        try writer.apply(
          [.delete(origin: SequenceNumber(5)), .insert(row(6)), .insert(row(6))], mark: mark(6))
      }
      #expect(failure == .conflict)
      #expect(try origins(writer) == [5])
      #expect(try writer.mark() == mark(5))
      try writer.apply(inserts(6...6), mark: mark(6))
      #expect(try origins(writer) == [5, 6])
      #expect(try writer.mark() == mark(6))
    }
  }

  @Test("a full disk refuses the batch, keeps what was there, and goes on once there is room")
  func full() throws {
    try withDirectory { directory in
      let small = try SQLiteStore(directory: directory, pageCountMax: 40).openWriter()
      try small.apply(inserts(1...50), mark: mark(50))
      let failure = code { () throws(StoreError) in
        try small.apply(inserts(51...1_000, valueByteCount: 400), mark: mark(1_000))
      }
      #expect(failure == .full)
      #expect(try small.rowCount() == 50)
      #expect(try small.mark() == mark(50))
      try small.apply([.delete(origin: SequenceNumber(1))], mark: mark(51))
      small.close()

      let large = try SQLiteStore(directory: directory).openWriter()
      defer { large.close() }
      try large.apply(inserts(51...1_000, valueByteCount: 400), mark: mark(1_000))
      #expect(try large.rowCount() == 999)
    }
  }

  @Test("a scan goes through pages that end by rows and by bytes")
  func pages() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      defer { writer.close() }
      try writer.apply(inserts(1...2_500), mark: mark(2_500))
      #expect(try origins(writer) == Array(1...2_500))
      try writer.apply(inserts(3_001...3_009, valueByteCount: 1 << 20), mark: mark(3_009))
      let page = try writer.rows(after: SequenceNumber(3_000), limit: 100, detail: .values)
      #expect(page.map(\.origin.rawValue) == Array(3_001...3_005))
      let lengths = try writer.rows(after: SequenceNumber(3_000), limit: 100, detail: .lengths)
      #expect(lengths.map(\.valueByteCount) == Array(repeating: 1 << 20, count: 9))
    }
  }

  @Test("what a killed process had committed is there for the next one")
  func abandoned() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      try writer.apply(inserts(1...100), mark: mark(100))
      try withDirectory { copy in
        for suffix in ["", "-wal"] {
          try FileManager.default.copyItem(
            atPath: path(directory, suffix), toPath: path(copy, suffix))
        }
        let next = try SQLiteStore(directory: copy).openWriter()
        #expect(try next.mark() == mark(100))
        #expect(try origins(next) == Array(1...100))
        next.close()
      }
      writer.close()
    }
  }

  @Test("after close every call says closed")
  func closed() throws {
    try withDirectory { directory in
      let store = SQLiteStore(directory: directory)
      let writer = try store.openWriter()
      let reader = try store.openReader()
      reader.close()
      reader.close()
      writer.close()
      writer.close()
      #expect(code { () throws(StoreError) in _ = try writer.mark() } == .closed)
      #expect(code { () throws(StoreError) in _ = try writer.rowCount() } == .closed)
      #expect(code { () throws(StoreError) in _ = try writer.checkpoint(.passive) } == .closed)
      #expect(code { () throws(StoreError) in try writer.apply([], mark: mark(1)) } == .closed)
      for mode in [ReadMode.inPlace, .mayBlock] {
        let failure = code { () throws(StoreError) in
          _ = try reader.read(origin: SequenceNumber(1), mode: mode)
        }
        #expect(failure == .closed)
      }
    }
  }
}
