import Foundation
import HindsightCore
import HindsightThreads
import Synchronization
import Testing

@testable import HindsightStore

@Suite("S040 store: checkpoints, other programs, inspection")
struct StoreCheckpointTests {
  @Test("a checkpoint moves all of the log and tells which mark is safe")
  func complete() throws {
    try withDirectory { directory in
      let store = SQLiteStore(directory: directory)
      let writer = try store.openWriter()
      defer { writer.close() }
      #expect(try writer.checkpoint(.passive).synced == nil)
      try writer.apply(inserts(1...100), mark: mark(100))
      #expect(writer.walByteCount > 0)
      #expect(
        try writer.checkpoint(.passive)
          == CheckpointOutcome(synced: mark(100), walByteCount: 0, isBlockedByReader: false))
      // What the checkpoint covered is in the database itself.
      try withDirectory { copy in
        try FileManager.default.copyItem(atPath: path(directory), toPath: path(copy))
        let next = try SQLiteStore(directory: copy).openWriter()
        #expect(try next.mark() == mark(100))
        next.close()
      }
    }
  }

  @Test("our own readers' snapshots never hold a checkpoint up, nor the log's new start")
  func ownReaders() throws {
    try withDirectory { directory in
      let store = SQLiteStore(directory: directory)
      let writer = try store.openWriter()
      let readers = try StoreReaders(backend: store)
      defer {
        readers.close()
        writer.close()
      }
      for round in 1...20 as ClosedRange<UInt64> {
        _ = try readers.readInPlace(origin: SequenceNumber(round))
        _ = readers.readBlocking(origins: [SequenceNumber(round)])
        try writer.apply(inserts(round...round, valueByteCount: 50_000), mark: mark(round))
        _ = try readers.readInPlace(origin: SequenceNumber(round))
        let outcome = try writer.checkpoint(.passive)
        #expect(!outcome.isBlockedByReader && outcome.synced == mark(round))
      }
      let attributes = try FileManager.default.attributesOfItem(atPath: path(directory, "-wal"))
      #expect(try #require(attributes[.size] as? Int) < 200_000)
    }
  }

  @Test("background work stands back between two pages that it moves")
  func standsBack() throws {
    final class Outcome: Sendable {
      let checkpoint = Mutex<CheckpointOutcome?>(nil)
      let hasStoodBack = Atomic(false)
    }
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      defer { writer.close() }
      try writer.apply(inserts(1...100, valueByteCount: 4_000), mark: mark(100))
      StandingBack.fallAsleep()
      defer { StandingBack.wakeUp() }
      let outcome = Outcome()
      let isOver = DispatchSemaphore(value: 0)
      Thread.detachNewThread {
        let lock = UnsafeMutablePointer<HoldState>.allocate(capacity: 1)
        lock.initialize(to: HoldState())
        StandingBack.volunteering(for: lock) {
          let before = StandingBack.next
          outcome.checkpoint.withLock { $0 = try? writer.checkpoint(.passive) }
          outcome.hasStoodBack.store(StandingBack.next != before, ordering: .relaxed)
        }
        lock.deinitialize(count: 1)
        lock.deallocate()
        isOver.signal()
      }
      isOver.wait()
      #expect(outcome.checkpoint.withLock { $0?.synced } == mark(100))
      let hasStoodBack = outcome.hasStoodBack.load(ordering: .relaxed)
      #expect(hasStoodBack)
    }
  }

  @Test("another program's long read is reported; the mark is safe all the same")
  func externalReader() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      defer { writer.close() }
      try writer.apply(inserts(1...10), mark: mark(10))
      let theirs = try SQLiteConnection(path: path(directory), access: .readOnly)
      try theirs.execute("BEGIN; SELECT count(*) FROM entries", .read)
      try writer.apply(inserts(11...20), mark: mark(20))
      let blocked = try writer.checkpoint(.passive)
      #expect(blocked.isBlockedByReader)
      #expect(blocked.synced == mark(20))
      #expect(blocked.walByteCount > 0)
      theirs.close()
      let free = try writer.checkpoint(.passive)
      #expect(!free.isBlockedByReader && free.walByteCount == 0)
    }
  }

  @Test("the view shows what the origin system had")
  func view() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      defer { writer.close() }
      let json = StoredRow(
        origin: SequenceNumber(1), key: Array("pypi:flask".utf8)[...],
        value: Array(#"{"name":"flask"}"#.utf8)[...], coder: 1,
        createdAt: Timestamp(microseconds: 1_767_225_600_250_000),
        expiry: Timestamp(microseconds: 1_767_225_600_250_000 + 90_500_000))
      try writer.apply([.insert(json), .insert(row(2))], mark: mark(2))
      let theirs = try SQLiteConnection(path: path(directory), access: .readOnly)
      let rows = try theirs.query(
        """
        SELECT key || '|' || value || '|' || created_at || '|' || ttl_seconds FROM cache
        WHERE typeof(value) = 'text'
        """, .read
      ) { $0.text(0) }
      #expect(rows == [#"pypi:flask|{"name":"flask"}|2026-01-01T00:00:00.250Z|90.5"#])
      #expect(
        try theirs.query("SELECT typeof(value) FROM cache ORDER BY key", .read) { $0.text(0) }
          == ["text", "blob"])
    }
  }

  @Test("an inspector sees one moment, beside a writer that goes on")
  func inspector() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      try writer.apply(inserts(1...10), mark: mark(10))
      let inspector = try StoreInspector(directory: directory)
      try writer.apply(inserts(11...20) + [.delete(origin: SequenceNumber(1))], mark: mark(20))
      #expect(inspector.mark == mark(10))
      #expect(try inspector.rowCount() == 10)
      let rows = try inspector.rows(after: .zero, detail: .values)
      #expect(rows.map(\.origin.rawValue) == Array(1...10))
      #expect(try inspector.quickCheck() == [])
      writer.close()
    }
  }

  @Test(
    "an inspector works on a closed store, changes nothing in it and leaves nothing beside it",
    arguments: ["plain", "a %20?mode=rw&x#é"])
  func inspectorAlone(name: String) throws {
    try withDirectory { parent in
      let directory = parent + "/" + name
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: false)
      #expect(
        code { () throws(StoreError) in _ = try StoreInspector(directory: directory) } == .cantOpen)
      let writer = try SQLiteStore(directory: directory).openWriter()
      try writer.apply(inserts(1...10), mark: mark(10))
      writer.close()
      let before = try Data(contentsOf: URL(fileURLWithPath: path(directory)))
      let inspector = try StoreInspector(directory: directory)
      #expect(inspector.mark?.applied == SequenceNumber(10))
      #expect(try inspector.rowCount() == 10)
      #expect(try !inspector.isOutdated())
      #expect(try Data(contentsOf: URL(fileURLWithPath: path(directory))) == before)
      let names = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(names == ["store.sqlite"])
    }
  }

  @Test("an inspector of a closed store knows when somebody has opened it meanwhile")
  func inspectorOvertaken() throws {
    try withDirectory { directory in
      let store = SQLiteStore(directory: directory)
      let writer = try store.openWriter()
      try writer.apply(inserts(1...10), mark: mark(10))
      writer.close()
      let inspector = try StoreInspector(directory: directory)
      let second = try store.openWriter()
      #expect(try inspector.isOutdated())
      try second.apply(inserts(11...20), mark: mark(20))
      second.close()
      #expect(try inspector.isOutdated())
      // One that was opened beside a writer is in a snapshot.
      let third = try store.openWriter()
      let beside = try StoreInspector(directory: directory)
      try third.apply(inserts(21...30), mark: mark(30))
      #expect(try !beside.isOutdated() && beside.rowCount() == 20)
      third.close()
    }
  }

  @Test("a damaged page is found by the check")
  func damage() throws {
    try withDirectory { directory in
      let writer = try SQLiteStore(directory: directory).openWriter()
      try writer.apply(inserts(1...500, valueByteCount: 300), mark: mark(500))
      writer.close()
      let url = URL(fileURLWithPath: path(directory))
      var bytes = try Data(contentsOf: url)
      for offset in 40_960..<40_990 { bytes[offset] ^= 0xFF }
      try bytes.write(to: url)
      let inspector = try StoreInspector(directory: directory)
      #expect(try !inspector.quickCheck().isEmpty)
      #expect(
        code { () throws(StoreError) in
          var last = SequenceNumber.zero
          while let end = try inspector.rows(after: last, detail: .values).last {
            last = end.origin
          }
        } == .corrupt)
    }
  }
}
