import Foundation
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting
import Logging
import Synchronization
import Testing

@testable import Hindsight

@Suite("S040 the live cache")
struct EngineTests {
  @Test("T040.16 a thousand concurrent operations all complete and agree with a model")
  func concurrent() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await Cache<Int>.open(
      at: directory.cache, configuration: configuration(memory: 10))
    let keys = try (0..<30).map { try CacheKey("k:\($0)") }
    // Of each key: the values set, by their places in the history.
    let history = try await withThrowingTaskGroup(of: (Int, UInt64, Int)?.self) { group in
      for number in 0..<1_000 {
        group.addTask {
          let at = number % keys.count
          switch number % 4 {
          case 0, 1:
            let origin = try await cache.set(number, for: keys[at])
            return (at, origin.rawValue, number)
          case 2:
            // Whatever is read was set under this key.
            if let value = try await cache.get(keys[at]) { #expect(value % keys.count == at) }
            return nil
          default:
            _ = cache.contains(keys[at])
            return nil
          }
        }
      }
      return try await group.reduce(into: [(Int, UInt64, Int)]()) { all, one in
        if let one { all.append(one) }
      }
    }
    #expect(history.count == 500)
    for at in keys.indices {
      let last = history.filter { $0.0 == at }.max { $0.1 < $1.1 }
      #expect(try await cache.get(keys[at]) == last?.2)
    }
    #expect(cache.count.memory <= 10)
    try await cache.close()
    let verified = try Verifier(directory: directory.cache).run()
    #expect(verified.isSound && verified.rows > 0, "\(verified.problems)")
  }

  @Test("what has expired without being read is found by the sweeper, within a second or so")
  func sweeper() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await Cache<Int>.open(at: directory.cache)
    try await cache.set(
      1, for: try CacheKey("k:1"), memoryTTL: .milliseconds(50), storeTTL: .milliseconds(50))
    try await eventually {
      cache.statistics.expiries == TierCounts(memory: 1, store: 1)
    }
    try await cache.settle()
    #expect(try StoreInspector(directory: directory.cache).rowCount() == 0)
    try await cache.close()
  }

  @Test("close ends every thread and descriptor, and a dropped cache ends by itself")
  func leaks() async throws {
    func descriptors(_ path: String) throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count {
        let link = "/proc/self/fd/\($0)"
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: link)
        return target?.hasPrefix(path) ?? false
      }
    }
    let directory = try TemporaryDirectory()
    var schedulers: [CountingScheduler] = []
    for round in 0..<5 {
      let scheduler = CountingScheduler()
      var configuration = CacheConfiguration()
      configuration.scheduler = scheduler
      var cache: Cache<Int>? = try await Cache<Int>.open(
        at: directory.cache + "\(round)", configuration: configuration)
      try await cache?.set(1, for: try CacheKey("k:1"))
      #expect(scheduler.living > 0)
      #expect(try descriptors(directory.path) > 0)
      if round % 2 == 0 { try await cache?.close() }
      cache = nil
      try await eventually { scheduler.living == 0 }
      schedulers.append(scheduler)
    }
    try await eventually { try descriptors(directory.path) == 0 }
    // Engine, threads and what they hold are gone.
    #expect(schedulers.allSatisfy { $0.retainedSteps == 0 })
    // A dropped cache was closed properly all the same.
    let again = try await Cache<Int>.open(at: directory.cache + "1")
    #expect(again.recovery.journal == .clean)
    #expect(try await again.get(try CacheKey("k:1")) == 1)
    try await again.close()
    try await eventually { try descriptors(directory.path) == 0 }
  }

  @Test("withCache closes on every way out, and close may be called again")
  func withCacheCloses() async throws {
    struct Failure: Error {}
    let directory = try TemporaryDirectory()
    await #expect(throws: Failure.self) {
      try await withCache(at: directory.cache, of: Int.self) { cache in
        try await cache.set(1, for: try CacheKey("k:1"))
        throw Failure()
      }
    }
    let cache = try await Cache<Int>.open(at: directory.cache)
    #expect(cache.recovery.journal == .clean)
    try await cache.close()
    try await cache.close()
    await #expect(throws: CacheError.self) { try await cache.set(1, for: try CacheKey("k:1")) }
    await #expect(throws: CacheError.self) { _ = try await cache.get(try CacheKey("k:1")) }
    #expect(cache.memoryValue(for: try CacheKey("k:1")) == nil)
  }

  @Test("S040 a second open in the same process names the holder")
  func locked() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await Cache<Int>.open(at: directory.cache)
    let error = await failure { _ = try await Cache<Int>.open(at: directory.cache) }
    #expect(error?.code == .locked)
    #expect(error?.message.contains("process \(getpid())") == true)
    try await cache.close()
  }

  @Test("a value that no longer decodes is a miss, and is invalidated with that reason")
  func undecodable() async throws {
    let directory = try TemporaryDirectory()
    let key = try CacheKey("k:1")
    _ = try await withCache(at: directory.cache, of: String.self) { cache in
      try await cache.set("text", for: key)
    }
    let cache = try await Cache<Int>.open(at: directory.cache)
    #expect(reason(try await cache.lookup(key)) == .invalidated)
    #expect(cache.count == TierCounts(memory: 0, store: 0))
    try await cache.close()
    var reasons: [String] = []
    _ = try EventStream(try PosixStorage(path: directory.cache)).replay { event in
      if case .invalidated(let it) = event.record.event { reasons.append(it.reason ?? "") }
    }
    #expect(reasons.count == 1 && reasons[0].contains("decode"), "\(reasons)")
  }

  @Test(
    "what an error of decoding says is asked for without the lock: it may use the cache",
    .timeLimit(.minutes(1)))
  func undecodableSpeaks() async throws {
    struct Speaking: Error, CustomStringConvertible {
      let cache: Cache<Int>
      var description: String { String(repeating: "\(cache.count.store) é", count: 40_000) }
    }
    let directory = try TemporaryDirectory()
    let key = try CacheKey("k:1")
    let opened = Mutex<Cache<Int>?>(nil)
    func open() async throws -> Cache<Int> {
      let coder = ValueCoder<Int>(
        id: 200, encode: { _ in [1] },
        decode: { _ in throw Speaking(cache: opened.withLock { $0! }) })
      let cache = try await Cache.open(
        at: directory.cache, coder: coder, configuration: configuration())
      opened.withLock { $0 = cache }
      return cache
    }
    let first = try await open()
    try await first.set(1, for: key)
    try await first.settle()
    try await first.close()
    let cache = try await open()
    #expect(reason(try await cache.lookup(key)) == .invalidated)
    try await cache.close()
    opened.withLock { $0 = nil }
  }

  @Test("keys, values, TTLs and reasons out of range are refused, and nothing is journaled")
  func limits() async throws {
    #expect(throws: CacheError.self) { try CacheKey("") }
    #expect(throws: CacheError.self) { try CacheKey(String(repeating: "k", count: 1_025)) }
    #expect(throws: CacheError.self) { try CacheKey(registry: "", package: "a") }
    let directory = try TemporaryDirectory()
    let cache = try await Cache.open(at: directory.cache, coder: .bytes)
    let key = try CacheKey(String(repeating: "k", count: 1_024))
    func refused(_ code: CacheError.Code, _ body: () async throws -> Void) async {
      let error = await failure(body)
      #expect(error?.code == code)
    }
    await refused(.invalidValue) {
      try await cache.set([UInt8](repeating: 0, count: (16 << 20) + 1), for: key)
    }
    await refused(.invalidTTL) { try await cache.set([1], for: key, memoryTTL: .seconds(-1)) }
    await refused(.invalidTTL) {
      try await cache.set([1], for: key, storeTTL: .seconds(Int64.max))
    }
    await refused(.invalidTTL) { _ = try Duration.ttl(seconds: .nan) }
    await refused(.invalidTTL) { _ = try Duration.ttl(seconds: .infinity) }
    #expect(try Duration.ttl(seconds: 1e-7) == .microseconds(1))
    #expect(try Duration.ttl(seconds: 1.1) == .microseconds(1_100_000))
    #expect(try Duration.ttl(seconds: -0.0) == .zero)
    await refused(.invalidReason) {
      try await cache.set([1], for: key, reason: String(repeating: "r", count: 257))
    }
    #expect(cache.statistics.lastSequence == 1)
    let largest = [UInt8](repeating: 7, count: 16 << 20)
    try await cache.set(largest, for: key, reason: String(repeating: "r", count: 256))
    try await cache.settle()
    #expect(try await cache.get(key) == largest)
    try await cache.close()
    let again = try await Cache.open(at: directory.cache, coder: .bytes)
    #expect(try await again.get(key) == largest)
    try await again.close()
  }

  @Test("a full queue makes writes fail where that is configured, else wait; hits never do")
  func backpressure() async throws {
    for policy in [BackpressurePolicy.fail, .wait] {
      let directory = try TemporaryDirectory()
      let store = try GatedStore(directory: directory.cache)
      let cache = try await Cache.open(
        at: .custom(try PosixStorage(path: directory.cache), store), coder: .bytes,
        configuration: configuration {
          $0.backpressure = policy
          $0.queues.pinnedByteCountMax = 64 << 10
        }, logger: Logger(label: "test"))
      store.holdWrites(true)
      let value = [UInt8](repeating: 3, count: 8 << 10)
      for number in 0..<9 { try await cache.set(value, for: try CacheKey("k:\(number)")) }
      #expect(cache.statistics.pinnedByteCount <= 80 << 10)
      let writing = Task { try await cache.set([1], for: try CacheKey("k:late")) }
      if policy == .fail {
        await #expect {
          _ = try await writing.value
        } throws: {
          "\($0)".contains("bytes of values wait") && "\($0)".contains("pinnedByteCountMax (65536)")
        }
      } else {
        try await eventually("it waits") { cache.engine.locked { !$0.roomWaiters.isEmpty } }
        #expect(cache.memoryValue(for: try CacheKey("k:late")) == nil)
      }
      #expect(cache.memoryValue(for: try CacheKey("k:3")) == value)
      store.holdWrites(false)
      if policy == .wait { _ = try await writing.value }
      try await cache.close()
    }
  }

  @Test("a cancelled write that waits for room has not happened, and says so")
  func cancellation() async throws {
    let directory = try TemporaryDirectory()
    let store = try GatedStore(directory: directory.cache)
    let cache = try await Cache.open(
      at: .custom(try PosixStorage(path: directory.cache), store), coder: .bytes,
      configuration: configuration { $0.queues.pinnedByteCountMax = 64 << 10 },
      logger: Logger(label: "test"))
    store.holdWrites(true)
    let value = [UInt8](repeating: 3, count: 8 << 10)
    for number in 0..<9 { try await cache.set(value, for: try CacheKey("k:\(number)")) }
    let writing = Task { try await cache.set([1], for: try CacheKey("k:late")) }
    try await eventually("it waits") { cache.engine.locked { !$0.roomWaiters.isEmpty } }
    writing.cancel()
    let error = await failure { _ = try await writing.value }
    #expect(error?.code == .cancelled)
    store.holdWrites(false)
    try await cache.settle()
    #expect(try await cache.get(try CacheKey("k:late")) == nil)
    try await cache.close()
  }

  @Test("with the access log off, a hit before a sync puts no empty frame into the journal")
  func noEmptyFrame() async throws {
    let directory = try TemporaryDirectory()
    let (key, other) = (try CacheKey("k:1"), try CacheKey("k:2"))
    let path = directory.cache
    let (clock, scheduler) = (ManualClock(), ManualScheduler())
    let settings = configuration(clock: clock) {
      $0.accessLog = .off
      $0.scheduler = scheduler
    }
    let cache = try await scheduler.run {
      try await Cache<Int>.open(at: path, configuration: settings)
    }
    try await scheduler.run { _ = try await cache.set(1, for: key, acknowledgement: .durable) }
    try await scheduler.run { _ = try await cache.set(1, for: other, acknowledgement: .durable) }
    #expect(cache.memoryValue(for: key) == 1)
    clock.advance(by: .seconds(2))  // the background sync is due
    scheduler.runTimers()
    try await scheduler.run { _ = try await cache.set(2, for: key, acknowledgement: .durable) }
    // As a reader beside it sees the journal: with the second value in it.
    let verified = Verifier(try PosixStorage(path: path)) { nil }.run()
    #expect(verified.isSound && verified.lastSequence == 4, "\(verified.problems)")
    try await scheduler.run { try await cache.close() }
  }

  @Test("T010.23 statistics count per registry, and keys without a colon under none")
  func statistics() async throws {
    let cache = try await Cache<Int>.open(at: nil)
    for key in ["pypi:a", "pypi:b", "npm:a", "plain"] {
      try await cache.set(1, for: try CacheKey(key))
    }
    _ = try await cache.get(try CacheKey("pypi:a"))
    _ = try await cache.get(try CacheKey("pypi:z"))
    let statistics = cache.statistics
    let registries = cache.registryStatistics()
    #expect(registries.mapValues(\.entries) == ["pypi": 2, "npm": 1, "": 1])
    #expect(registries["pypi"]?.bytes == 14)
    #expect(statistics.hits.memory == 1 && statistics.misses == 1 && statistics.sets == 4)
    try await cache.close()
  }
}

/// Counts activities that have not finished, and whether anything still holds what they ran.
private final class CountingScheduler: BackgroundScheduler {
  private final class Token: Sendable {}
  private struct Weak: Sendable { weak let token: Token? }

  private let threads = ThreadScheduler()
  private let state = Mutex<(living: Int, tokens: [Weak])>((0, []))

  var living: Int { state.withLock { $0.living } }
  var retainedSteps: Int { state.withLock { $0.tokens.count { $0.token != nil } } }

  func start(
    _ name: String, step: @escaping @Sendable () -> BackgroundWait
  ) throws(CacheError) -> any BackgroundActivity {
    let token = Token()
    state.withLock { state in
      state.living += 1
      state.tokens.append(Weak(token: token))
    }
    return try threads.start(name) { [self] in
      withExtendedLifetime(token) {
        let wait = step()
        if case .finished = wait { state.withLock { $0.living -= 1 } }
        return wait
      }
    }
  }
}
