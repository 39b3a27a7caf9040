import Foundation
import Hindsight
import HindsightReplay
import HindsightStore
import HindsightTesting
import Testing

/// A store that was put aside may be the only one that has a value: retention drops events once the store has
/// synced their rows.
@Suite("S040 values of a store that was put aside")
struct PutAsideStoreTests {
  private let clock = ManualClock()
  private static let count = 12

  private func open(_ path: String, compares: Bool = false) async throws -> Cache<[UInt8]> {
    try await Cache.open(
      at: path, coder: .bytes,
      configuration: configuration(clock: clock, memory: 2, store: 100) {
        $0.segmentByteCount = 64 << 10
        $0.comparesRows = compares
      })
  }

  /// Values that don't compress, about two of which fill a segment.
  private static let values: [[UInt8]] = {
    var random = SplitMix64(seed: 5)
    return (0..<count).map { _ in (0..<30_000).map { _ in .random(in: 0...255, using: &random) } }
  }()

  /// A cache whose journal has the first values no longer.
  private func fill(_ path: String) async throws {
    let cache = try await open(path)
    for (number, value) in Self.values.enumerated() {
      try await cache.set(value, for: CacheKey("k:\(number)"), acknowledgement: .durable)
    }
    try await cache.settle()
    try await cache.close()
    let checkpoints = try FileManager.default.contentsOfDirectory(atPath: path)
      .filter { $0.hasSuffix(".checkpoint") }.sorted()
    for name in (1...4).map({ "0000000\($0).journal" }) + checkpoints.dropLast(2) {
      try FileManager.default.removeItem(atPath: path + "/" + name)
    }
  }

  /// Opens, and looks for all values, now and after another opening.
  private func check(
    _ path: String, _ store: RecoverySummary.Store, lost: Set<Int> = [], compares: Bool = false
  ) async throws {
    for session in 0..<2 {
      let cache = try await open(path, compares: compares && session == 0)
      #expect(cache.recovery.store == (session == 0 ? store : .resumed))
      #expect(cache.recovery.lostValues == (session == 0 ? lost.count : 0))
      for (number, value) in Self.values.enumerated() {
        let found = try await cache.get(CacheKey("k:\(number)"))
        #expect(found == (lost.contains(number) ? nil : value), "\(session) \(number)")
      }
      try await cache.settle()
      try await cache.close()
    }
    let verified = try Verifier(directory: path).run()
    #expect(verified.isSound && verified.rows == UInt64(Self.count - lost.count))
  }

  @Test("another program's by its header: all are found, and it stays as it is")
  func foreign() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    let url = URL(fileURLWithPath: directory.cache + "/store.sqlite")
    var bytes = try Data(contentsOf: url)
    bytes[68] ^= 0x55  // application_id (sqlite.org/fileformat.html)
    try bytes.write(to: url)
    try await check(directory.cache, .rebuilt)
    #expect(try Data(contentsOf: URL(fileURLWithPath: url.path + ".quarantine-1")) == bytes)
  }

  @Test("damaged in its rows: those are found that can be read")
  func damaged() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    let url = URL(fileURLWithPath: directory.cache + "/store.sqlite")
    var bytes = try Data(contentsOf: url)
    // In the middle of a value: the page leads nowhere any more.
    let middle = try #require(bytes.range(of: Data(Self.values[1][10_000..<10_064])))
    let page = middle.lowerBound / 4_096 * 4_096
    for at in page..<page + 4 { bytes[at] = 0xFF }
    try bytes.write(to: url)
    try await check(directory.cache, .rebuilt, lost: [1], compares: true)
  }

  @Test("by an opening that was killed before it had its values: the next one finds them")
  func interrupted() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    #expect(try SQLiteStore(directory: directory.cache).quarantine() == "store.sqlite.quarantine-1")
    try await check(directory.cache, .new)
  }

  @Test("one of which nothing can be read keeps no cache from opening")
  func unreadable() async throws {
    let directory = try TemporaryDirectory()
    try await fill(directory.cache)
    #expect(try SQLiteStore(directory: directory.cache).quarantine() != nil)
    let aside = URL(fileURLWithPath: directory.cache + "/store.sqlite.quarantine-1")
    try Data(contentsOf: aside).prefix(100).write(to: aside)
    let cache = try await open(directory.cache)
    #expect(cache.recovery.lostValues > 0)
    #expect(try await cache.get(CacheKey("k:11")) == Self.values[11])
    try await cache.close()
  }
}
