import Foundation
import Hindsight
import HindsightStore
import HindsightTesting
import Testing

/// A directory that is opened in another way than it was made, or from which something was taken away.
@Suite("S040 reopening with other settings")
struct ChangedSettingsTests {
  private let clock = ManualClock()

  private func open(
    _ path: String, _ change: (inout CacheConfiguration) -> Void = { _ in }
  ) async throws -> Cache<Int> {
    try await Cache.open(
      at: path, configuration: configuration(clock: clock, memory: 5, store: 1_000, change))
  }

  private func fill(
    _ path: String, _ change: (inout CacheConfiguration) -> Void = { _ in }
  ) async throws {
    let cache = try await open(path, change)
    for number in 0..<40 { try await cache.set(number, for: try CacheKey("k:\(number)")) }
    try await cache.settle()
    try await cache.close()
  }

  private func remove(_ suffixes: String..., from path: String) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: path)
    where suffixes.contains(where: name.hasSuffix) {
      try FileManager.default.removeItem(atPath: path + "/" + name)
    }
  }

  @Test("a journal isn't begun beside rows that it knows nothing of: they would all be deleted")
  func journalTurnedOn() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache) { $0.usesJournal = false }
    let error = await failure { _ = try await open(directory.cache) }
    #expect(error?.code == .journalCorrupt && error?.message.contains("usesJournal") == true)
    let again = try await open(directory.cache) { $0.usesJournal = false }
    #expect(again.count.store == 40)
    try await again.close()
  }

  @Test("a store that was made without a journal, and has no rows, may get one")
  func journalTurnedOnWithoutRows() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache) { $0.usesJournal = false }
    let cleared = try await open(directory.cache) { $0.usesJournal = false }
    _ = try await cleared.clear()
    try await cleared.close()
    let cache = try await open(directory.cache)
    try await cache.set(7, for: try CacheKey("k:7"))
    try await cache.close()
    let again = try await open(directory.cache)
    #expect(again.recovery.journal == .clean && again.count.store == 1)
    try await again.close()
  }

  @Test("a journal that is gone is damage, where the store has applied events of it")
  func journalRemoved() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    try remove(".journal", ".checkpoint", from: directory.cache)
    for usesStore in [true, false] {
      let error = await failure {
        _ = try await open(directory.cache) { $0.usesStore = usesStore }
      }
      #expect(error?.code == .journalCorrupt)
      #expect(error?.message.contains("/cache: 00000001.journal: the journal is missing") == true)
    }
    // Its rows are there for who goes on without it.
    let rows = try await open(directory.cache) { $0.usesJournal = false }
    #expect(rows.count.store == 40)
    try await rows.close()
  }

  @Test("… also where a comparison of the rows hadn't ended")
  func journalRemovedAmidComparison() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    try remove(".journal", ".checkpoint", from: directory.cache)
    let writer = try SQLiteStore(directory: directory.cache).openWriter()
    try writer.apply([], mark: StoreMark(journalID: .nobody, applied: .zero))
    writer.close()
    let error = await failure { _ = try await open(directory.cache) }
    #expect(error?.code == .journalCorrupt && error?.message.contains("it is gone") == true)
    // Who asks for it goes on without the rows.
    let salvaged = try await open(directory.cache) { $0.corruption = .salvage }
    #expect(salvaged.recovery.deletedRows == 40)
    try await salvaged.close()
  }

  @Test("a salvage without a journal numbers on above what the store had applied")
  func journalSalvaged() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    try remove(".journal", ".checkpoint", from: directory.cache)
    let cache = try await open(directory.cache) { $0.corruption = .salvage }
    #expect(cache.recovery.journal == .salvaged && cache.recovery.deletedRows == 40)
    #expect(cache.statistics.lastSequence > 41)
    try await cache.close()
  }

  @Test("without a journal the store isn't left out: what was replaced meanwhile would come back")
  func storeLeftOut() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache) { $0.usesJournal = false }
    let error = await failure {
      _ = try await open(directory.cache) {
        $0.usesJournal = false
        $0.usesStore = false
      }
    }
    #expect(error?.code == .invalidConfiguration && error?.message.contains("usesStore") == true)
  }

  @Test("checkpoints without segments are a journal, too")
  func checkpointsOnly() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache) { $0.usesJournal = false }
    let checkpoint = Data("what it holds doesn't matter".utf8)
    try checkpoint.write(to: URL(fileURLWithPath: directory.cache + "/00000001.checkpoint"))
    let error = await failure {
      _ = try await open(directory.cache) { $0.usesJournal = false }
    }
    #expect(error?.code == .invalidConfiguration)
    #expect(error?.message.contains("00000001.checkpoint") == true)
  }
}
