import Foundation
import Hindsight
import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting
import Logging
import Testing

/// Old history goes, but never what recovery or the store still needs.
@Suite("S040 retention")
struct RetentionTests {
  private let clock = ManualClock()
  private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

  private func open(
    _ path: String, _ store: GatedStore?, _ retention: Retention,
    segment: UInt64 = 64 << 10, log: CapturedLog? = nil
  ) async throws -> Cache<[UInt8]> {
    try await Cache.open(
      at: .custom(try PosixStorage(path: path), store), coder: .bytes,
      configuration: configuration(clock: clock, memory: 4, store: 8) {
        $0.usesStore = store != nil
        $0.segmentByteCount = segment
        $0.retention = retention
      }, logger: log?.logger ?? logger)
  }

  /// About half a segment.
  private func fill(_ cache: Cache<[UInt8]>, _ count: Int) async throws {
    var random = SplitMix64(seed: 7)
    for number in 0..<count {
      let noise = (0..<30_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      try await cache.set(noise, for: try CacheKey("k:\(number)"), acknowledgement: .durable)
    }
  }

  private func verify(_ path: String) throws -> Verification {
    Verifier(try PosixStorage(path: path)) { () throws(StoreError) in nil }.run()
  }

  @Test("by bytes: the oldest segments go, and what is left still opens and verifies")
  func byBytes() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache, nil, Retention(byteCountMax: 256 << 10))
    try await fill(cache, 40)
    try await eventually { cache.statistics.journalByteCount <= 512 << 10 }
    try await cache.close()
    let digest = cache.stateDigest.digest
    let verified = try verify(directory.cache)
    #expect(verified.isSound && verified.firstSequence > 1, "\(verified.problems)")
    #expect(verified.digest == digest)
    let again = try await open(directory.cache, nil, .unlimited)
    #expect(again.recovery.journal == .clean)
    #expect(again.memoryValue(for: try CacheKey("k:39"))?.count == 30_000)
    try await again.close()
  }

  @Test("checkpoints come by what was written, whatever was dropped, and one at the end")
  func checkpointsAfterDropping() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(
      directory.cache, nil, Retention(byteCountMax: 0), segment: 256 << 10)
    try await fill(cache, 20)
    try await eventually { try verify(directory.cache).firstSequence > 1 }
    // Less than a segment: none begins, with a checkpoint of its own.
    try await fill(cache, 4)
    try await cache.close()
    let again = try await open(directory.cache, nil, .unlimited)
    #expect(again.recovery.journal == .clean)
    #expect(again.recovery.replayedEvents == 0)
    try await again.close()
  }

  @Test("old segments go with a message, checkpoints that newer ones outdo without")
  func messages() async throws {
    func told(_ retention: Retention, _ level: Logger.Level) async throws -> [String] {
      let directory = try TemporaryDirectory()
      let log = CapturedLog()
      for _ in 0..<6 {
        let cache = try await open(
          directory.cache, nil, retention, segment: 128 << 10, log: log)
        try await fill(cache, 6)
        try await cache.close()
      }
      return log.texts(level).filter { $0.hasPrefix("history dropped") }
    }
    let segments = try await told(Retention(byteCountMax: 256 << 10), .info)
    #expect(!segments.isEmpty && segments.allSatisfy { $0.contains(".journal") }, "\(segments)")
    let checkpoints = try await told(.unlimited, .debug)
    #expect(
      !checkpoints.isEmpty && checkpoints.allSatisfy { !$0.contains(".journal") },
      "\(checkpoints)")
    #expect(try await told(.unlimited, .info).isEmpty)
  }

  @Test("history that can't be dropped is named as that, not as a checkpoint that failed")
  func notDropped() async throws {
    let directory = try TemporaryDirectory()
    let (failpoints, log) = (Failpoints(), CapturedLog())
    failpoints.arm("segment.remove.before", .fail(.ioError))
    let storage = FailpointStorage(try PosixStorage(path: directory.cache), failpoints)
    let cache = try await Cache.open(
      at: .custom(storage, nil), coder: .bytes,
      configuration: configuration(clock: clock, memory: 4) {
        $0.usesStore = false
        $0.segmentByteCount = 64 << 10
        $0.retention = Retention(byteCountMax: 0)
      }, logger: log.logger)
    try await fill(cache, 20)
    try await eventually {
      log.texts(.error).contains { $0.hasPrefix("history isn't dropped") && $0.contains("remove") }
    }
    try await cache.close()
    #expect(!log.texts(.error).contains { $0.contains("a checkpoint can't be written") })
  }

  @Test("by age: segments that ended before go, younger ones stay")
  func byAge() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(
      directory.cache, nil, Retention(byteCountMax: nil, ageMax: .seconds(3_600)))
    try await fill(cache, 10)
    #expect(try verify(directory.cache).firstSequence == 1)
    clock.advance(by: .seconds(7_200))
    try await fill(cache, 10)
    try await eventually { try verify(directory.cache).firstSequence > 1 }
    let size = cache.statistics.journalByteCount
    #expect((200_000...450_000).contains(size), "\(size)")
    try await cache.close()
  }

  @Test("by age, with a clock that was set back in between: no segment goes before an older one")
  func byAgeOnAnotherClock() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(
      directory.cache, nil, Retention(byteCountMax: nil, ageMax: .seconds(3_600)))
    let start = clock.reading().wall
    try await fill(cache, 6)
    // Segments are stamped with the wall clock: these seem to be older than those before them.
    clock.setWall(start.adding(Microseconds(rawValue: -86_400_000_000)))
    try await fill(cache, 6)
    clock.setWall(start.adding(.seconds(60)))
    try await fill(cache, 6)
    try await cache.close()
    let verified = try verify(directory.cache)
    #expect(verified.isSound && verified.firstSequence == 1, "\(verified.problems)")
    let again = try await open(directory.cache, nil, .unlimited)
    #expect(again.memoryValue(for: try CacheKey("k:5"))?.count == 30_000)
    try await again.close()
  }

  @Test("by age: a segment is as old as its last event, not as its first")
  func byAgeOfTheLastEvent() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(
      directory.cache, nil, Retention(byteCountMax: nil, ageMax: .seconds(3_600)))
    try await fill(cache, 1)
    clock.advance(by: .seconds(7_200))
    try await fill(cache, 12)
    try await cache.close()
    let verified = try verify(directory.cache)
    #expect(verified.segments > 4 && verified.firstSequence == 1, "\(verified.problems)")
  }

  @Test("by bytes: no more goes than has to")
  func noMore() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache, nil, Retention(byteCountMax: 512 << 10))
    try await fill(cache, 40)
    try await cache.close()
    let files = try names(directory.cache, ".journal").sorted()
    let byteCount = try files.reduce(0) {
      $0 + (try Data(contentsOf: URL(fileURLWithPath: directory.cache + "/" + $1))).count
    }
    #expect(byteCount > 400 << 10, "\(byteCount) in \(files)")
    let verified = try verify(directory.cache)
    #expect(verified.isSound && verified.firstSequence > 1, "\(verified.problems)")
  }

  @Test("unlimited: everything stays")
  func unlimited() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache, nil, .unlimited)
    try await fill(cache, 20)
    try await cache.close()
    let verified = try verify(directory.cache)
    #expect(verified.firstSequence == 1 && verified.segments > 5)
  }

  @Test("a crash after the segments went and before their checkpoints did leaves a whole journal")
  func halfDone() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache, nil, .unlimited)
    try await fill(cache, 20)
    try await cache.close()
    let digest = try verify(directory.cache).digest
    for name in ["00000001.journal", "00000002.journal", "00000003.journal"] {
      try FileManager.default.removeItem(atPath: directory.cache + "/" + name)
    }
    let verified = try verify(directory.cache)
    #expect(verified.isSound && verified.firstSequence > 1, "\(verified.problems)")
    #expect(verified.digest == digest)
    let again = try await open(directory.cache, nil, .unlimited)
    #expect(again.recovery.journal == .clean)
    try await again.close()
  }

  private func names(_ path: String, _ suffix: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(suffix) }
  }

  @Test(
    "sessions that are too short for the store to be synced meanwhile: at their end, the oldest segments go"
  )
  func shortSessions() async throws {
    let directory = try TemporaryDirectory()
    for session in 0..<6 {
      let store = try GatedStore(directory: directory.cache)
      let cache = try await open(directory.cache, store, Retention(byteCountMax: 128 << 10))
      #expect(cache.recovery.lostValues == 0)
      if session > 0 { #expect(try await cache.get(try CacheKey("k:9"))?.count == 30_000) }
      try await fill(cache, 10)
      try await cache.close()
      let verified = try verify(directory.cache)
      #expect(verified.isSound, "\(verified.problems)")
    }
    #expect(try names(directory.cache, ".journal").count <= 12)
    #expect(try verify(directory.cache).firstSequence > 20)
  }

  @Test(
    "short sessions: at their end, the checkpoints go that newer ones stand in for",
    arguments: [true, false])
  func supersededCheckpoints(hasStore: Bool) async throws {
    let directory = try TemporaryDirectory()
    for _ in 0..<6 {
      let store = hasStore ? try GatedStore(directory: directory.cache) : nil
      let cache = try await open(directory.cache, store, .unlimited, segment: 16 << 20)
      try await fill(cache, 4)
      try await cache.close()
    }
    #expect(try names(directory.cache, ".checkpoint").count == 2)
    let verified = try verify(directory.cache)
    #expect(verified.isSound && verified.firstSequence == 1, "\(verified.problems)")
  }

  @Test("where little happens, nothing is looked through at the end, unless a limit is exceeded")
  func littleHappens() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await open(directory.cache, nil, .unlimited)
    try await fill(cache, 20)
    try await cache.close()
    let unlimited = try await open(directory.cache, nil, .unlimited)
    try await unlimited.close()
    #expect(try verify(directory.cache).firstSequence == 1)
    let limited = try await open(directory.cache, nil, Retention(byteCountMax: 128 << 10))
    try await limited.close()
    #expect(try verify(directory.cache).firstSequence > 1)
  }

  @Test("what a store that lags still needs stays, whatever the limits")
  func neededByTheStore() async throws {
    let directory = try TemporaryDirectory()
    let store = try GatedStore(directory: directory.cache)
    let cache = try await open(directory.cache, store, Retention(byteCountMax: 128 << 10))
    try await cache.settle()
    store.holdWrites(true)
    let applied = cache.statistics.appliedSequence
    try await fill(cache, 20)
    // Retention runs after each checkpoint.
    try await eventually("there are two checkpoints") {
      try FileManager.default.contentsOfDirectory(atPath: directory.cache)
        .count { $0.hasSuffix(".checkpoint") } >= 2
    }
    #expect(cache.statistics.appliedSequence == applied)
    #expect(try verify(directory.cache).firstSequence <= applied + 1)
    #expect(cache.statistics.journalByteCount > 500 << 10)
    store.holdWrites(false)
    try await eventually {
      // The store's rows are synced every two seconds.
      clock.advance(by: .seconds(2))
      try await cache.settle()
      try await fill(cache, 4)
      return try verify(directory.cache).firstSequence > applied + 1
    }
    try await cache.close()
  }
}
