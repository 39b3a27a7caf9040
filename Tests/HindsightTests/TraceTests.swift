import Foundation
import Hindsight
import HindsightTesting
import Testing

/// Real access traces with the hits of a textbook LRU, from a folder beside the project. Data only;
/// not part of the project, so the tests are skipped where it is absent.
private enum Traces {
  static let directory = URL(fileURLWithPath: #filePath)
    .appendingPathComponent("../../../../shared/traces").standardized.path

  static let areThere = FileManager.default.fileExists(atPath: directory)

  /// One key per line, in access order.
  static func keys(_ name: String) throws -> [CacheKey] {
    let gzip = Process()
    let output = Pipe()
    gzip.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    gzip.arguments = ["gzip", "-dc", "\(directory)/\(name).keys.gz"]
    gzip.standardOutput = output
    try gzip.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    gzip.waitUntilExit()
    try #require(gzip.terminationStatus == 0)
    return try text.split(separator: UInt8(ascii: "\n")).map {
      try CacheKey(String(decoding: $0, as: UTF8.self))
    }
  }
}

/// Looks up; on a miss inserts.
/// - Returns: how many were hits.
private func run(
  _ keys: some Collection<CacheKey>, _ cache: Cache<[UInt8]>
) async throws -> Int {
  var hits = 0
  for key in keys {
    if try await cache.get(key) != nil {
      hits += 1
    } else {
      try await cache.set([1], for: key, acknowledgement: .enqueued)
    }
  }
  return hits
}

/// The same in parts, between which the cache is closed, or killed after a sync, by turns.
private func runReopened(
  _ keys: [CacheKey], entries limit: Int, _ accessLog: AccessLog
) async throws -> Int {
  let directory = try TemporaryDirectory()
  let clock = ManualClock()
  var hits = 0
  let parts = 9
  for part in 0..<parts {
    let path = directory.path + "/\(part)"
    let cache = try await Cache.open(
      at: path, coder: .bytes,
      configuration: configuration(clock: clock, memory: UInt64(limit)) {
        $0.usesStore = false
        $0.accessLog = accessLog
      })
    hits += try await run(
      keys[keys.count * part / parts..<keys.count * (part + 1) / parts], cache)
    // By turns: what close leaves behind, and what a process killed after a sync does.
    let next = directory.path + "/\(part + 1)"
    if part % 2 == 0 { try await cache.close() } else { _ = try await cache.flush() }
    try FileManager.default.copyItem(atPath: path, toPath: next)
    if part % 2 != 0 { try await cache.close() }
  }
  return hits
}

@Suite("INV017 exact LRU on a made trace")
struct MadeTraceTests {
  /// The hits that an LRU of so many entries has, and the keys: see the file.
  private func trace() throws -> (hits: [(limit: Int, hits: Int)], keys: [CacheKey]) {
    let file = URL(fileURLWithPath: #filePath)
      .appendingPathComponent("../../../Fixtures/traces/zipf.txt").standardized
    var hits: [(limit: Int, hits: Int)] = []
    var keys: [CacheKey] = []
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
      let words = line.split(separator: " ")
      switch words[0] {
      case "#": continue
      case "hits": hits.append((try #require(Int(words[1])), try #require(Int(words[2]))))
      default: keys.append(try CacheKey(String(line)))
      }
    }
    #expect(hits.count == 7 && keys.count == 6_000)
    return (hits, keys)
  }

  @Test("T040.07 in memory only")
  func memoryOnly() async throws {
    let (expected, keys) = try trace()
    for (limit, hits) in expected {
      let cache = try await Cache.open(
        at: nil, coder: .bytes, configuration: configuration(memory: UInt64(limit)))
      #expect(try await run(keys, cache) == hits, "with \(limit) entries")
      try await cache.close()
    }
  }

  @Test("T040.07 in two tiers, each of which has its own hits")
  func twoTiers() async throws {
    let (expected, keys) = try trace()
    func hits(_ limit: Int) throws -> Int {
      try #require(expected.first { $0.limit == limit }).hits
    }
    let directory = try TemporaryDirectory()
    let cache = try await Cache.open(
      at: directory.cache, coder: .bytes, configuration: configuration(memory: 10, store: 50))
    #expect(try await run(keys, cache) == hits(50))
    #expect(try cache.statistics.hits.memory == hits(10))
    try await cache.close()
  }

  @Test(
    "T040.15 the order survives closing, and a kill after a sync",
    arguments: [AccessLog.recency, .lookups])
  func reopened(_ accessLog: AccessLog) async throws {
    let (expected, keys) = try trace()
    for (limit, hits) in expected where limit == 50 || limit == 500 {
      let found = try await runReopened(keys, entries: limit, accessLog)
      #expect(found == hits, "with \(limit) entries")
    }
  }
}

@Suite("INV017 exact LRU on real traces", .enabled(if: Traces.areThere))
struct TraceTests {
  @Test(
    "T040.07 in memory only",
    arguments: [
      ("cloudphysics", [1: 2_685, 2: 3_347, 3: 3_908, 4: 4_666, 5: 4_904, 1_000: 19_049]),
      ("multi1", [100: 2_881, 500: 7_375, 1_000: 7_648, 2_000: 13_196]),
      ("multi2", [100: 1_772, 500: 9_466, 1_000: 12_577, 2_000: 12_892]),
      ("multi3", [100: 1_978, 500: 9_875, 1_000: 11_401, 2_000: 13_485]),
      ("sprite", [1_000: 121_452]), ("loop", [1_000: 0]),
    ])
  func memoryOnly(_ trace: String, _ expected: [Int: Int]) async throws {
    let keys = try Traces.keys(trace)
    for (limit, hits) in expected {
      let cache = try await Cache.open(
        at: nil, coder: .bytes, configuration: configuration(memory: UInt64(limit)))
      #expect(try await run(keys, cache) == hits, "\(trace) with \(limit) entries")
      try await cache.close()
    }
  }

  @Test(
    "T040.15 the order survives closing, and a kill after a sync",
    arguments: [AccessLog.recency, .lookups])
  func reopened(_ accessLog: AccessLog) async throws {
    for (trace, limit, expected) in [("multi1", 2_000, 13_196), ("multi3", 500, 9_875)] {
      let keys = try Traces.keys(trace)
      let hits = try await runReopened(keys, entries: limit, accessLog)
      #expect(hits == expected, "\(trace) with \(limit) entries")
    }
  }
}
