import Foundation
import HindsightCore
import HindsightTesting
import Testing

@testable import Hindsight

@Suite("S040 configurations that can't be")
struct ConfigurationTests {
  private static let wrong: [(String, @Sendable (inout CacheConfiguration) -> Void)] = [
    ("memory limit", { $0.memoryLimit = TierLimit(entryCountMax: 0) }),
    ("memory limit", { $0.memoryLimit = TierLimit(entryCountMax: .max) }),
    ("memory limit", { $0.memoryLimit = TierLimit(entryCountMax: 1 << 31) }),
    ("memory limit", { $0.memoryLimit = TierLimit(entryCountMax: 1, byteCountMax: 0) }),
    ("store's limit (999 entries)", { $0.storeLimit = TierLimit(entryCountMax: 999) }),
    (
      "store's limit (1999 bytes)",
      {
        $0.memoryLimit.byteCountMax = 2_000
        $0.storeLimit.byteCountMax = 1_999
      }
    ),
    ("segmentByteCount is 1;", { $0.segmentByteCount = 1 }),
    ("segmentByteCount", { $0.segmentByteCount = 2 << 30 }),
    ("unwrittenByteCountMax", { $0.queues.unwrittenByteCountMax = 0 }),
    ("unwrittenByteCountMax", { $0.queues.unwrittenByteCountMax = 64 << 20 }),
    ("unsyncedByteCountMax", { $0.queues.unsyncedByteCountMax = 0 }),
    ("pinnedByteCountMax", { $0.queues.pinnedByteCountMax = -1 }),
    ("pendingRowCountMax", { $0.queues.pendingRowCountMax = 0 }),
    ("sweepInterval", { $0.sweepInterval = .zero }),
    ("sweepInterval", { $0.sweepInterval = .seconds(-1) }),
    ("syncInterval", { $0.syncInterval = .microseconds(999) }),
    ("retention.ageMax", { $0.retention.ageMax = .seconds(-1) }),
  ]

  @Test("are refused, by name, before anything is made", arguments: wrong.indices)
  func refused(index: Int) async throws {
    let (name, change) = Self.wrong[index]
    let directory = try TemporaryDirectory()
    var configuration = CacheConfiguration()
    change(&configuration)
    await #expect {
      _ = try await Cache<[UInt8]>.open(
        at: directory.cache, coder: .bytes, configuration: configuration)
    } throws: { error in
      (error as? CacheError)?.code == .invalidConfiguration && "\(error)".contains(name)
    }
    #expect(!FileManager.default.fileExists(atPath: directory.cache))
  }

  @Test("intervals as long as a duration can be come never")
  func longIntervals() async throws {
    let directory = try TemporaryDirectory()
    var configuration = CacheConfiguration()
    configuration.sweepInterval = .seconds(Int64.max)
    configuration.syncInterval = .seconds(Int64.max)
    let cache = try await Cache<Int>.open(at: directory.cache, configuration: configuration)
    let key = try CacheKey("k:1")
    try await cache.set(1, for: key)
    // The journal's thread looks how long it may sleep.
    try await cache.set(2, for: key, acknowledgement: .durable)
    #expect(try await cache.get(key) == 2)
    try await cache.close()
  }

  @Test("any age of history can be kept, also before 1970")
  func longAge() async throws {
    let directory = try TemporaryDirectory()
    var configuration = CacheConfiguration()
    configuration.retention.ageMax = .seconds(Int64.max)
    configuration.clock = ManualClock(wall: Timestamp(microseconds: -2))
    let cache = try await Cache<Int>.open(at: directory.cache, configuration: configuration)
    // Retention is looked at then.
    try await cache.close()
  }

  @Test("negative TTLs are refused as such", arguments: [true, false])
  func negativeTTL(isMemory: Bool) async throws {
    var configuration = CacheConfiguration()
    if isMemory {
      configuration.memoryTTL = .milliseconds(-500)
    } else {
      configuration.storeTTL = .milliseconds(-500)
    }
    await #expect {
      _ = try await Cache<[UInt8]>.open(at: nil, coder: .bytes, configuration: configuration)
    } throws: {
      ($0 as? CacheError)?.code == .invalidTTL && "\($0)".hasSuffix("this one is -0.5 seconds")
    }
  }

  @Test("a duration in microseconds is exact, rounded up, and kept within what fits")
  func microseconds() {
    let each: Int128 = 1_000_000_000_000
    func expected(_ attoseconds: Int128) -> Int64 {
      let down = attoseconds / each
      return Int64(clamping: attoseconds > down * each ? down + 1 : down)
    }
    var random = SystemRandomNumberGenerator()
    let edges: [Int128] =
      [0, 1, each, 1 << 12, 1 << 64, 1 << 76, each << 53, each << 62, each << 63, each << 64]
      + (0..<300).map { _ in
        Int128.random(in: 0...(each << 64), using: &random) >> Int.random(in: 0..<100)
      }
    for edge in edges {
      for attoseconds in [edge - each, edge - 1, edge, edge + 1] {
        let duration = Duration(attoseconds: attoseconds)
        #expect(duration.microseconds == expected(attoseconds), "\(attoseconds) attoseconds")
      }
    }
    #expect(throws: CacheError.self) { try Duration(attoseconds: -1).asTTL() }
    #expect(throws: CacheError.self) { try Duration.microseconds((1 << 53) + 1_000_000).asTTL() }
  }
}
