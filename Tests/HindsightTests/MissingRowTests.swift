import Dispatch
import Hindsight
import HindsightCore
import HindsightJournal
import HindsightStore
import HindsightTesting
import Logging
import Synchronization
import Testing

@Suite("S041 rows that a snapshot lacks")
struct MissingRowTests {
  /// A SQLite store some of whose reads find nothing, as in a snapshot from before the row's commit.
  private final class LateStore: StoreBackend {
    private let store: SQLiteStore
    let missingReadCount = Mutex(0)
    /// So many reads wait for `next` each, and say with `begun` that they do.
    let heldReadCount = Mutex(0)
    let begun = Mutex(0)
    let next = DispatchSemaphore(value: 0)

    init(directory: String) { store = SQLiteStore(directory: directory) }

    func openWriter() throws(StoreError) -> any StoreWriter { try store.openWriter() }
    func openReader() throws(StoreError) -> any StoreReader {
      Reader(try store.openReader(), self)
    }
    func markAtRest() throws(StoreError) -> StoreMark? { try store.markAtRest() }
    func quarantine() throws(StoreError) -> String? { try store.quarantine() }

    private final class Reader: StoreReader {
      private let reader: any StoreReader
      private let owner: LateStore

      init(_ reader: any StoreReader, _ owner: LateStore) {
        self.reader = reader
        self.owner = owner
      }

      func read(origin: SequenceNumber, mode: ReadMode) throws(StoreError) -> StoreReadResult {
        if mode == .inPlace { return .wouldBlock }
        let isHeld = owner.heldReadCount.withLock { count in
          count -= 1
          return count >= 0
        }
        if isHeld {
          owner.begun.withLock { $0 += 1 }
          owner.next.wait()
        }
        let isMissing = owner.missingReadCount.withLock { count in
          count -= 1
          return count >= 0
        }
        return isMissing ? .missing : try reader.read(origin: origin, mode: mode)
      }

      func close() { reader.close() }
    }
  }

  @Test(
    "a row that is missing though its origin stands is read again, and lost after three times",
    arguments: 0...3)
  func readAgain(missing: Int) async throws {
    let directory = try TemporaryDirectory()
    let storage = try PosixStorage(path: directory.cache)
    let store = LateStore(directory: directory.cache)
    let cache = try await Cache<[UInt8]>.open(
      at: .custom(storage, store), coder: .bytes, configuration: configuration(memory: 1),
      logger: Logger(label: "late", factory: { _ in SwiftLogNoOpLogHandler() }))
    let key = try CacheKey("k:1")
    try await cache.set([7], for: key)
    try await cache.set([8], for: try CacheKey("k:other"))  // takes the one place in memory
    try await cache.settle()
    store.missingReadCount.withLock { $0 = missing }
    let found = try await cache.lookup(key)
    if missing < 3 {
      #expect(answer(found)?.value == [7] && answer(found)?.tier == .store)
    } else {
      #expect(reason(found) == .lost)
    }
    let isLost = missing < 3 ? 0 : 1
    #expect(cache.count.store == 2 - isLost)
    #expect(cache.statistics.evictions.store == isLost)
    try await cache.close()
  }

  @Test("rows that are missing since their entry was replaced meanwhile don't count together")
  func replacedMeanwhile() async throws {
    let directory = try TemporaryDirectory()
    let store = LateStore(directory: directory.cache)
    let cache = try await Cache<[UInt8]>.open(
      at: .custom(try PosixStorage(path: directory.cache), store), coder: .bytes,
      configuration: configuration(memory: 1),
      logger: Logger(label: "late", factory: { _ in SwiftLogNoOpLogHandler() }))
    let (key, other) = (try CacheKey("k:1"), try CacheKey("k:other"))
    func replace(_ value: UInt8) async throws {
      try await cache.set([value], for: key)
      try await cache.set([0], for: other)  // takes the one place in memory
      try await cache.settle()
    }
    try await replace(0)
    store.heldReadCount.withLock { $0 = 5 }
    async let lookup = cache.lookup(key)
    for round in 1...5 {
      try await eventually("a read") { store.begun.withLock { $0 } == round }
      try await replace(UInt8(round))
      store.next.signal()
    }
    let found = try await lookup
    #expect(answer(found)?.value == [5], "\(found)")
    #expect(cache.statistics.evictions.store == 0)
    try await cache.close()
  }
}
