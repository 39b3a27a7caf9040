import Foundation
import Glibc
import HindsightCore
import HindsightTesting
import Synchronization
import Testing

@testable import HindsightStore

@Suite("S040 store: reading")
struct StoreReaderTests {
  /// A read in place, as it should come out; on a file system that can't refuse to wait it refuses all.
  private func expectInPlace(
    _ expected: StoreReadResult, _ origin: UInt64, _ readers: StoreReaders, _ store: SQLiteStore,
    at location: SourceLocation = #_sourceLocation
  ) throws {
    let found = try readers.readInPlace(origin: SequenceNumber(origin))
    #expect(found == (store.canReadInPlace ? expected : .wouldBlock), sourceLocation: location)
  }

  @Test("a row, a missing one and a long one, in place and blocking")
  func reads() throws {
    try withOpenStore { (store, writer, readers) in
      try writer.apply(inserts(1...2), mark: mark(2))
      try writer.apply(inserts(3...3, valueByteCount: 100_000), mark: mark(3))
      try expectInPlace(answer(2), 2, readers, store)
      try expectInPlace(.missing, 4, readers, store)
      try expectInPlace(answer(3, valueByteCount: 100_000), 3, readers, store)
      let batch = readers.readBlocking(origins: [3, 9, 1].map { SequenceNumber($0) })
      #expect(
        try batch.map { try $0.get() } == [answer(3, valueByteCount: 100_000), .missing, answer(1)])
      #expect(readers.queryCount == (store.canReadInPlace ? 6 : 3))
    }
  }

  @Test("a read sees every commit that was there when it began")
  func freshness() throws {
    try withOpenStore { (store, writer, readers) in
      for origin in 1...200 as ClosedRange<UInt64> {
        let number = SequenceNumber(origin)
        try expectInPlace(.missing, origin, readers, store)
        #expect(try readers.readBlocking(origins: [number])[0].get() == .missing)
        try writer.apply(inserts(origin...origin), mark: mark(origin))
        try expectInPlace(answer(origin), origin, readers, store)
        if origin % 3 == 0 { _ = try writer.checkpoint(.passive) }
        #expect(try readers.readBlocking(origins: [number])[0].get() == answer(origin))
        if origin % 2 == 0 {
          try writer.apply([.delete(origin: number)], mark: mark(origin))
          try expectInPlace(.missing, origin, readers, store)
        }
      }
    }
  }

  @Test(
    "a cold page is refused in place, served blocking, and warm afterwards",
    .enabled(
      if: SQLiteStore(directory: FileManager.default.temporaryDirectory.path).canReadInPlace,
      "the file system of temporary files has no reads that refuse to wait"))
  func neverBlocksInPlace() throws {
    try withDirectory { directory in
      let store = SQLiteStore(directory: directory)
      let filler = try store.openWriter()
      try filler.apply(inserts(1...20_000, valueByteCount: 400), mark: mark(20_000))
      _ = try filler.checkpoint(.truncate)
      filler.close()
      // No connection is open: closing a descriptor of ours would drop its locks.
      try evict(path(directory))

      let writer = try store.openWriter()
      let readers = try StoreReaders(backend: store)
      defer {
        readers.close()
        writer.close()
      }
      let cold = SequenceNumber(15_000)
      #expect(try readers.readInPlace(origin: cold) == .wouldBlock)
      #expect(
        try readers.readBlocking(origins: [cold])[0].get() == answer(15_000, valueByteCount: 400))
      #expect(try readers.readInPlace(origin: cold) == answer(15_000, valueByteCount: 400))
      // The refusal ended no more than that read: others go on, and so does the writer.
      try writer.apply(inserts(20_001...20_001), mark: mark(20_001))
      #expect(try readers.readInPlace(origin: SequenceNumber(20_001)) == answer(20_001))
    }
  }

  @Test(
    "where the file system has no reads that refuse to wait, none is tried",
    .enabled(
      if: !SQLiteStore(directory: Self.tmpfs).canReadInPlace,
      "tmpfs of this kernel has them, or there is none"))
  func neverInVain() throws {
    try withOpenStore(in: Self.tmpfs) { (_, writer, readers) in
      try writer.apply(inserts(1...1), mark: mark(1))
      #expect(try readers.readInPlace(origin: SequenceNumber(1)) == .wouldBlock)
      #expect(readers.queryCount == 0)
      #expect(try readers.readBlocking(origins: [SequenceNumber(1)])[0].get() == answer(1))
    }
  }

  private static let tmpfs = "/dev/shm"

  @Test("without an idle connection a read would block")
  func noneIdle() throws {
    try withOpenStore(inPlaceReaderCount: 0) { (_, writer, readers) in
      try writer.apply(inserts(1...1), mark: mark(1))
      #expect(try readers.readInPlace(origin: SequenceNumber(1)) == .wouldBlock)
      #expect(try readers.readBlocking(origins: [SequenceNumber(1)])[0].get() == answer(1))
    }
  }

  @Test("readers on several threads agree with a writer that commits and checkpoints")
  func concurrency() async throws {
    let directory = try TemporaryDirectory()
    let store = SQLiteStore(directory: directory.path)
    let writer = try store.openWriter()
    let readers = try StoreReaders(backend: store)
    let progress = Progress()
    let last = 600 as UInt64
    // Row n is deleted by the commit that inserts row n + 50.
    try await withThrowingTaskGroup(of: Int.self) { group in
      for task in 0..<4 as Range<UInt64> {
        group.addTask {
          var generator = SplitMix64(seed: task)
          var servedCount = 0
          while true {
            let newest = progress.committed.load(ordering: .acquiring)
            if newest == last { return servedCount }
            let origin = max(1, newest &- generator.next() % 60)
            if origin > newest { continue }
            let number = SequenceNumber(origin)
            let result =
              task < 3
              ? try readers.readInPlace(origin: number)
              : try readers.readBlocking(origins: [number])[0].get()
            switch result {
            case .row: #expect(result == answer(origin, valueByteCount: 400))
            case .missing: #expect(origin + 50 <= progress.committed.load(ordering: .acquiring) + 1)
            case .wouldBlock: #expect(task < 3)
            }
            servedCount += 1
            await Task.yield()
          }
        }
      }
      for origin in 1...last {
        var operations = inserts(origin...origin, valueByteCount: 400)
        if origin > 50 { operations.append(.delete(origin: SequenceNumber(origin - 50))) }
        try writer.apply(operations, mark: mark(origin))
        progress.committed.store(origin, ordering: .releasing)
        if origin % 20 == 0 {
          #expect(try writer.checkpoint(.passive).isBlockedByReader == false)
        }
        await Task.yield()
      }
      for try await servedCount in group { #expect(servedCount > 0) }
    }
    readers.close()
    #expect(try writer.checkpoint(.truncate).walByteCount == 0)
    #expect(try findings(directory.path) == [])
    writer.close()
  }
}

/// What the writer has committed.
private final class Progress: Sendable {
  let committed = Atomic<UInt64>(0)
}
