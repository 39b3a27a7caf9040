import Foundation
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Logging
import Synchronization
import Testing

@testable import Hindsight
@testable import HindsightStore

/// A disk that stalls, fills up and becomes free again: real threads, real files, failpoints.
@Suite("S040 a disk in trouble")
struct StallTests {
  private struct Held {
    let failpoints = Failpoints()
    private let gate = Gate()

    /// Operations at this place don't get on until `release`.
    func hold(_ name: String) {
      gate.isShut.store(true, ordering: .releasing)
      failpoints.arm(
        name, .call { [gate] in while gate.isShut.load(ordering: .acquiring) { usleep(500) } })
    }

    func release() { gate.isShut.store(false, ordering: .releasing) }

    private final class Gate: Sendable {
      let isShut = Atomic(false)
    }
  }

  private func open(
    _ directory: String, _ failpoints: Failpoints, _ log: CapturedLog = CapturedLog(),
    _ change: (inout CacheConfiguration) -> Void
  ) async throws -> Cache<[UInt8]> {
    var configuration = CacheConfiguration()
    configuration.segmentByteCount = 8 << 20
    change(&configuration)
    let storage = FailpointStorage(try PosixStorage(path: directory), failpoints)
    let store = FailpointStore(SQLiteStore(directory: directory), failpoints)
    return try await Cache.open(
      at: .custom(storage, store), coder: .bytes, configuration: configuration, logger: log.logger)
  }

  /// 64 KiB that deflate can't shorten.
  private func value(_ number: Int) -> [UInt8] {
    var random = SplitMix64(seed: UInt64(number))
    return (0..<8_192).map { _ in random.next() }.withUnsafeBytes { Array($0) }
  }

  private func key(_ number: Int) throws -> CacheKey { try CacheKey("k:\(number)") }

  @Test(
    "a stalled sync: writes wait or fail, memory stays bounded, hits go on",
    .timeLimit(.minutes(10)), arguments: [BackpressurePolicy.fail, .wait])
  func stalledSync(policy: BackpressurePolicy) async throws {
    let directory = try TemporaryDirectory()
    let held = Held()
    let limit = 512 << 10
    let cache = try await open(directory.cache, held.failpoints) {
      $0.usesStore = false
      $0.backpressure = policy
      $0.queues.unsyncedByteCountMax = limit
    }
    try await cache.set(value(0), for: key(0))
    held.hold("segment.sync.before")
    let writing = Task {
      for number in 1...40 { try await cache.set(value(number), for: key(number)) }
    }
    if policy == .fail {
      let error = await failure { try await writing.value }
      #expect(error?.code == .backpressure)
    } else {
      try await eventually("the queue is full") {
        cache.statistics.unsyncedByteCount > UInt64(limit)
      }
      try await eventually("it waits") { cache.engine.locked { !$0.roomWaiters.isEmpty } }
    }
    let statistics = cache.statistics
    #expect(statistics.unsyncedByteCount <= UInt64(limit + (66 << 10)))
    #expect(statistics.sets < 12)
    // The sync is held: a hit that waited for it would wait forever.
    for _ in 0..<10_000 { #expect(cache.memoryValue(for: try key(0)) != nil) }
    held.release()
    if policy == .wait { try await writing.value }
    try await cache.flush()
    try await cache.set([1], for: key(41))
    try await cache.close()
  }

  @Test("a stalled sync: what reads record is bounded, too, however often it is written")
  func stalledSyncOfLookups() async throws {
    let directory = try TemporaryDirectory()
    let held = Held()
    let limit = 64 << 10
    let cache = try await open(directory.cache, held.failpoints) {
      $0.usesStore = false
      $0.accessLog = .lookups
      $0.queues.unsyncedByteCountMax = limit
      $0.queues.unwrittenByteCountMax = limit
    }
    try await cache.set([1], for: key(0))
    held.hold("segment.sync.before")
    let name = String(repeating: "k", count: 500)
    for round in 0..<20 {
      for number in 0..<200 {
        #expect(try await cache.get(try CacheKey("\(name):\(round):\(number)")) == nil)
      }
      try await cache.flush(to: .written)
    }
    #expect(cache.statistics.unsyncedByteCount <= UInt64(3 * limit))
    #expect(cache.statistics.lookupsNotLogged > 3_000)
    #expect(try await cache.get(key(0)) == [1])
    held.release()
    try await cache.flush()
    #expect(try await cache.get(key(1)) == nil)
    #expect(cache.statistics.unsyncedByteCount <= UInt64(limit))
    try await cache.close()
  }

  @Test("a stalled write: events wait up to their limit, then writes are refused")
  func stalledWrite() async throws {
    let directory = try TemporaryDirectory()
    let held = Held()
    let limit = 1 << 20
    let cache = try await open(directory.cache, held.failpoints) {
      $0.backpressure = .fail
      $0.acknowledgement = .enqueued
      $0.accessLog = .lookups
      $0.queues.unwrittenByteCountMax = limit
    }
    held.hold("segment.write.before")
    var sets = 0
    let error = await failure {
      while sets < 100 {
        try await cache.set(value(sets), for: key(sets))
        sets += 1
      }
    }
    #expect(error?.code == .backpressure)
    #expect(error?.message.contains("queues.unwrittenByteCountMax (1048576)") == true)
    #expect(sets < 30, "\(sets) × 64 KiB against a limit of 1 MiB and a frame on its way")
    // Reads that should be logged are answered, and counted where they could not be.
    for _ in 0..<1_000 { #expect(cache.memoryValue(for: try key(0)) != nil) }
    #expect(cache.statistics.lookupsNotLogged == 1_000)
    held.release()
    try await cache.settle()
    try await cache.close()
    #expect(Verifier(try PosixStorage(path: directory.cache)) { nil }.run().isSound)
  }

  @Test(
    "a full disk that becomes free again: the cache resumes by itself, and says so",
    arguments: [JournalFailurePolicy.refuseWrites, .continueInMemory])
  func fullDisk(policy: JournalFailurePolicy) async throws {
    let directory = try TemporaryDirectory()
    let (failpoints, log) = (Failpoints(), CapturedLog())
    let cache = try await open(directory.cache, failpoints, log) {
      $0.journalFailure = policy
      $0.queues.unwrittenByteCountMax = 512 << 10
    }
    for name in ["segment.write.before", "segment.allocate.before", "checkpoint.write.before"] {
      failpoints.arm(name, .fail(.noSpace))
    }
    var refused: [CacheError.Code] = []
    for number in 0..<40 {
      if let error = await failure({ try await cache.set(value(number), for: key(number)) }) {
        refused.append(error.code)
      }
    }
    try await eventually("the trouble shows") { cache.statistics.journalTrouble != nil }
    #expect(cache.statistics.journalTrouble?.contains("outOfSpace") == true)
    let lost = cache.statistics.unjournaledEvents
    if policy == .refuseWrites {
      // The first one found out: it is in force, its fate was open. The others never happened.
      #expect(Set(refused.dropFirst()) == [.outOfSpace] && refused.count >= 39)
      #expect(lost == 0)
    } else {
      #expect(refused.isEmpty && lost > 0)
      #expect(cache.memoryValue(for: try key(39)) == value(39))
    }
    #expect(log.texts(.error).contains { $0.hasPrefix("the journal can't be written") })
    failpoints.disarmAll()
    try await eventually("it resumes") { cache.statistics.journalTrouble == nil }
    #expect(log.texts(.notice).contains { $0.hasPrefix("the journal can be written again") })
    try await cache.set([7], for: key(100), acknowledgement: .durable)
    let told = log.texts(.warning).filter { $0.hasPrefix("events were never journaled") }
    #expect(told.count == (policy == .continueInMemory ? 1 : 0), "\(told)")
    try await cache.close()
    try await check(directory.cache, hasGap: policy == .continueInMemory)
  }

  @Test("in memory alone, writes go on until the store's queue is full: it waits for the journal")
  func storeBehindJournal() async throws {
    let directory = try TemporaryDirectory()
    let failpoints = Failpoints()
    let cache = try await open(directory.cache, failpoints) {
      $0.journalFailure = .continueInMemory
      $0.queues.pendingRowCountMax = 20
    }
    for name in ["segment.write.before", "segment.create.before"] {
      failpoints.arm(name, .fail(.noSpace))
    }
    try await cache.set([0], for: key(0))
    var sets = 1
    let error = await failure {
      while sets < 100 {
        try await cache.set([1], for: key(sets))
        sets += 1
      }
    }
    #expect(error?.code == .outOfSpace && sets == 21)
    failpoints.disarmAll()
    try await eventually("it resumes") { cache.statistics.journalTrouble == nil }
    try await cache.set([2], for: key(21))
    try await cache.close()
  }

  private func check(_ directory: String, hasGap: Bool) async throws {
    var gaps = 0
    _ = try EventStream(try PosixStorage(path: directory)).replay { event in
      if case .gap = event.record.event { gaps += 1 }
    }
    #expect(gaps == (hasGap ? 1 : 0))
    let verified = try Verifier(directory: directory).run()
    #expect(verified.isSound, "\(verified.problems)")
    let again = try await Cache.open(at: directory, coder: .bytes)
    #expect(try await again.get(key(100)) == [7])
    if hasGap { #expect(try await again.get(key(39)) == value(39)) }
    try await again.close()
  }

  @Test("a reader of another process that holds the store's log back is seen, and spoken of")
  func heldLog() async throws {
    let directory = try TemporaryDirectory()
    let log = CapturedLog()
    let cache = try await open(directory.cache, Failpoints(), log) {
      $0.segmentByteCount = 64 << 20
    }
    try await cache.set(value(0), for: key(0))
    try await cache.settle()
    let reader = try SQLiteConnection(
      path: directory.cache + "/store.sqlite", access: .readWrite)
    try reader.execute("BEGIN; SELECT count(*) FROM entries", .read)
    for number in 1...265 { try await cache.set(value(number), for: key(number)) }
    try await cache.settle()
    try await eventually("the log is held") {
      log.texts(.warning).contains { $0.contains("keeps the store's log") }
    }
    #expect(cache.statistics.isStoreLogHeld)
    #expect(cache.statistics.storeLogByteCount > 16 << 20)
    try reader.execute("COMMIT", .read)
    reader.close()
    try await cache.set(value(1), for: key(1))
    try await cache.settle()
    try await eventually("the log is emptied") {
      !cache.statistics.isStoreLogHeld && cache.statistics.storeLogByteCount < 1 << 20
    }
    try await cache.close()
  }
}
