import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting
import Logging
import Testing

/// A store that isn't what the journal says: lost, damaged, foreign, behind, ahead.
@Suite("S040 the store after a crash")
struct StoreRecoveryTests {
  private let clock = ManualClock()
  private let count = 40

  private func open(
    _ path: String, _ change: (inout CacheConfiguration) -> Void = { _ in }
  ) async throws -> Cache<Int> {
    try await Cache.open(
      at: path, configuration: configuration(clock: clock, memory: 5, store: 1_000, change))
  }

  private func fill(_ path: String, from start: Int = 0) async throws {
    let cache = try await open(path)
    for number in start..<count { try await cache.set(number, for: try CacheKey("k:\(number)")) }
    try await cache.settle()
    try await cache.close()
  }

  private func storeFiles(_ path: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path)
      .filter { $0.hasPrefix("store.sqlite") && !$0.contains("quarantine") }
  }

  private func removeStore(_ path: String) throws {
    for name in try storeFiles(path) {
      try FileManager.default.removeItem(atPath: path + "/" + name)
    }
  }

  private func copyStore(_ from: String, _ to: String) throws {
    try removeStore(to)
    for name in try storeFiles(from) {
      try FileManager.default.copyItem(atPath: from + "/" + name, toPath: to + "/" + name)
    }
  }

  /// Every value is there, and the journal and the rows verify.
  private func check(
    _ path: String, _ store: RecoverySummary.Store, lost: Int = 0
  ) async throws {
    let cache = try await open(path)
    #expect(cache.recovery.store == store)
    #expect(cache.recovery.lostValues == lost)
    for number in 0..<count {
      #expect(try await cache.get(try CacheKey("k:\(number)")) == number)
    }
    try await cache.settle()
    try await cache.close()
    let verified = try Verifier(directory: path).run()
    #expect(verified.isSound && verified.rows == count, "\(verified.problems)")
  }

  @Test("lost: it is built anew from the journal")
  func lost() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    try removeStore(directory.cache)
    try await check(directory.cache, .new)
  }

  @Test("lost, with long values: so many of them are in memory as a transaction takes")
  func lostLongValues() async throws {
    let directory = try TemporaryDirectory()
    let byteCount = 3 << 20
    func value(_ number: Int) -> [UInt8] {
      [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: byteCount)
    }
    let cache = try await Cache<[UInt8]>.open(
      at: directory.cache, coder: .bytes,
      configuration: configuration(clock: clock, memory: 2, store: 1_000))
    for number in 0..<20 { try await cache.set(value(number), for: CacheKey("k:\(number % 10)")) }
    try await cache.close()
    try removeStore(directory.cache)
    let store = try GatedStore(directory: directory.cache)
    let again = try await Cache<[UInt8]>.open(
      at: .custom(try PosixStorage(path: directory.cache), store), coder: .bytes,
      configuration: configuration(clock: clock, memory: 2, store: 1_000),
      logger: Logger(label: "test"))
    #expect(again.recovery.insertedRows == 10 && again.recovery.lostValues == 0)
    #expect(store.gate.withLock { $0.byteCountMax } <= (8 << 20) + byteCount)
    for number in 10..<20 {
      #expect(try await again.get(CacheKey("k:\(number - 10)")) == value(number), "\(number)")
    }
    try await again.close()
  }

  /// Pages that only reads meet: nothing writes to them, so only a read can tell.
  @Test("damaged where it is only read: lookups say so, and the next opening builds it anew")
  func damagedPage() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache)
    let keys = try (0..<900).map { try CacheKey("k:\($0)") }
    for (number, key) in keys.enumerated() { try await cache.set(number, for: key) }
    try await cache.settle()
    try await cache.close()
    let path = directory.cache + "/store.sqlite"
    var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
    // A leaf of the rows' tree (13) with the row of k:450.
    let page = try #require(
      stride(from: 4_096, to: bytes.count, by: 4_096).first { start in
        bytes[start] == 13
          && Data(bytes[start..<start + 4_096]).range(of: Data("k:450".utf8)) != nil
      })
    bytes.replaceSubrange(page..<page + 4_096, with: repeatElement(0, count: 4_096))
    try Data(bytes).write(to: URL(fileURLWithPath: path))

    let damaged = try await open(directory.cache)
    #expect(damaged.recovery.store == .resumed)
    let error = await failure { _ = try await damaged.get(keys[450]) }
    #expect(error?.code == .storeUnavailable)
    // A commit makes the readers give up their snapshots, with which the damage was met.
    try await damaged.set(-1, for: keys[0])
    try await damaged.settle()
    #expect(try await damaged.get(keys[800]) == 800)
    try await damaged.close()

    let mended = try await open(directory.cache)
    #expect(mended.recovery.store == .rebuilt)
    #expect(mended.recovery.lostValues == 0)
    for (number, key) in keys.enumerated() {
      #expect(try await mended.get(key) == (number == 0 ? -1 : number))
    }
    try await mended.close()
  }

  @Test("damaged: it is put aside and built anew", arguments: ["garbage", "truncated", "foreign"])
  func damaged(kind: String) async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    let path = directory.cache + "/store.sqlite"
    switch kind {
    case "garbage":
      try removeStore(directory.cache)
      try Data((0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        .write(to: URL(fileURLWithPath: path))
    case "truncated":
      let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      try bytes.prefix(bytes.count / 2).write(to: URL(fileURLWithPath: path))
    default:
      var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      bytes[68] ^= 0x55  // application_id (sqlite.org/fileformat.html)
      try bytes.write(to: URL(fileURLWithPath: path))
    }
    try await check(directory.cache, .rebuilt)
    let names = try FileManager.default.contentsOfDirectory(atPath: directory.cache)
    #expect(names.contains { $0.contains("quarantine") })
  }

  @Test("behind: it catches up from the journal")
  func behind() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache)
    for number in 0..<10 { try await cache.set(number, for: try CacheKey("k:\(number)")) }
    try await cache.settle()
    try await cache.close()
    let old = directory.path + "/old"
    try FileManager.default.createDirectory(atPath: old, withIntermediateDirectories: true)
    try copyStore(directory.cache, old)
    try await fill(directory.cache, from: 10)
    try copyStore(old, directory.cache)
    try await check(directory.cache, .resumed)
  }

  @Test("another cache's: it is reconciled, its rows are gone and ours are back")
  func anothers() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    let other = directory.path + "/other"
    try await withCache(at: other, of: Int.self, configuration: configuration(clock: clock)) {
      for number in 0..<60 { try await $0.set(-number, for: try CacheKey("k:\(number)")) }
      try await $0.settle()
    }
    try copyStore(other, directory.cache)
    try await check(directory.cache, .reconciled)
  }

  @Test("ahead of the journal: proof that the journal has lost something; salvage reconciles")
  func ahead() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache)
    for number in 0..<count { try await cache.set(number, for: try CacheKey("k:\(number)")) }
    try await cache.settle()
    try await cache.close()
    let old = directory.path + "/old"
    try FileManager.default.copyItem(atPath: directory.cache, toPath: old)
    let late = try await open(directory.cache)
    try await late.set(99, for: try CacheKey("late"))
    try await late.settle()
    try await late.close()
    try copyStore(directory.cache, old)
    let error = await failure { _ = try await open(old) }
    #expect(error?.code == .journalCorrupt && error?.message.contains("store") == true)
    let salvaged = try await open(old) { $0.corruption = .salvage }
    #expect(salvaged.recovery.journal == .salvaged && salvaged.recovery.store == .reconciled)
    #expect(try await salvaged.get(try CacheKey("late")) == nil)
    #expect(salvaged.statistics.lastSequence > late.statistics.lastSequence)
    try await salvaged.close()
    try await check(old, .resumed)
  }

  @Test("a row with a wrong value is lost, not served")
  func wrongRow() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    let path = directory.cache + "/store.sqlite"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    // Key and value stand side by side in the row: "k:7" and JSON "7".
    let row = try #require(bytes.range(of: Data("k:77".utf8)))
    bytes[row.upperBound - 1] = UInt8(ascii: "8")
    try bytes.write(to: URL(fileURLWithPath: path))
    let cache = try await open(directory.cache)
    #expect(reason(try await cache.lookup(try CacheKey("k:7"))) == .lost)
    #expect(try await cache.get(try CacheKey("k:8")) == 8)
    try await cache.close()
  }

  /// Makes the page with that row's key none.
  private func damagePage(of key: String, _ path: String) throws {
    let url = URL(fileURLWithPath: path + "/store.sqlite")
    var bytes = try Data(contentsOf: url)
    let size = Int(bytes[16]) << 8 | Int(bytes[17])
    let row = try #require(bytes.range(of: Data(key.utf8)))
    let page = row.lowerBound / size * size
    for at in page..<page + 8 { bytes[at] = 0xFF }
    try bytes.write(to: url)
  }

  @Test("a store that shows only in its rows that it is damaged is put aside by the next opening")
  func damagedRows() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    try damagePage(of: "k:17", directory.cache)
    let cache = try await open(directory.cache)
    #expect(cache.recovery.store == .resumed)
    try await cache.set(0, for: try CacheKey("k:0"))
    await #expect(throws: CacheError.self) { try await cache.settle() }
    try await cache.close()
    try await check(directory.cache, .rebuilt)
    try await check(directory.cache, .resumed)
  }

  @Test("without a journal, too: what it had is lost, the cache is not")
  func damagedRowsWithoutJournal() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache) { $0.usesJournal = false }
    for number in 0..<count { try await cache.set(number, for: try CacheKey("k:\(number)")) }
    try await cache.settle()
    try await cache.close()
    try damagePage(of: "k:17", directory.cache)
    let again = try await open(directory.cache) { $0.usesJournal = false }
    #expect(again.recovery.store == .rebuilt && again.recovery.quarantined.count == 1)
    #expect(again.count == TierCounts(memory: 0, store: 0))
    try await again.set(1, for: try CacheKey("k:1"))
    try await again.settle()
    try await again.close()
  }

  @Test(
    "a cache with a journal isn't opened without it: what was replaced meanwhile would come back")
  func journalLeftOut() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    let error = await failure {
      _ = try await open(directory.cache) { $0.usesJournal = false }
    }
    #expect(error?.code == .invalidConfiguration)
    #expect(error?.message.contains("00000001.journal") == true)
    try await check(directory.cache, .resumed)
  }

  @Test(
    "a row whose time was changed differs for a repair, too, which keeps its value",
    arguments: [true, false])
  func changedTime(journalHasValue: Bool) async throws {
    let directory = try TemporaryDirectory()
    let path = directory.cache
    func open() async throws -> Cache<[UInt8]> {
      try await Cache.open(
        at: path, coder: .bytes,
        configuration: configuration(clock: clock, memory: 2, store: 100) {
          $0.segmentByteCount = 64 << 10
          $0.comparesRows = true
        })
    }
    let cache = try await open()
    var random = SplitMix64(seed: 5)
    for number in 0..<12 {
      let noise = (0..<30_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      try await cache.set(noise, for: try CacheKey("k:\(number)"), acknowledgement: .durable)
    }
    try await cache.settle()
    try await cache.close()
    try changeTime(of: "k:0", path)
    if !journalHasValue {
      try FileManager.default.removeItem(atPath: path + "/00000001.journal")
    }
    func problems() throws -> [Verification.Problem] {
      try Verifier(directory: path).run().problems
    }
    #expect(try problems().map(\.file) == [StoreBounds.fileName])
    let again = try await open()
    #expect(again.recovery.deletedRows == 1 && again.recovery.insertedRows == 1)
    #expect(again.recovery.lostValues == 0)
    #expect(try await again.get(try CacheKey("k:0"))?.count == 30_000)
    try await again.close()
    #expect(try problems() == [])
  }

  private func changeTime(of key: String, _ path: String) throws {
    let writer = try SQLiteStore(directory: path).openWriter()
    defer { writer.close() }
    let rows = try writer.rows(after: .zero, limit: 1, detail: .values)
    let row = try #require(rows.first { $0.key.elementsEqual(key.utf8) })
    let changed = StoredRow(
      origin: row.origin, key: row.key, value: try #require(row.value), coder: row.coder,
      createdAt: Timestamp(microseconds: row.createdAt.rawValue - 5_000_000), expiry: row.expiry)
    let mark = try #require(try writer.mark())
    try writer.apply([.delete(origin: row.origin), .insert(changed)], mark: mark)
  }

  @Test("without a journal the index comes from the rows")
  func withoutJournal() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache) { $0.usesJournal = false }
    for number in 0..<count { try await cache.set(number, for: try CacheKey("k:\(number)")) }
    try await cache.settle()
    try await cache.close()
    #expect(
      try !FileManager.default.contentsOfDirectory(atPath: directory.cache).contains {
        $0.hasSuffix(".journal")
      })
    let again = try await open(directory.cache) { $0.usesJournal = false }
    #expect(again.count == TierCounts(memory: 0, store: count))
    for number in 0..<count {
      #expect(try await again.get(try CacheKey("k:\(number)")) == number)
    }
    try await again.close()
  }
}
