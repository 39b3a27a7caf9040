import Foundation
import HindsightReplay
import HindsightTesting
import Synchronization
import Testing

@testable import Hindsight

@Suite("S041 memory hits from several threads")
struct HitTests {
  /// Upkeep's first step may come late, and whoever takes the lock ends its being shared.
  private let scheduler = HoldingScheduler()

  private func memoryOnly(_ limit: Int, ticks: Bool = false) async throws -> Cache<Int> {
    let configuration = configuration(memory: UInt64(limit)) {
      if ticks { $0.clock = SystemClock() }
      $0.scheduler = scheduler
    }
    if ticks { scheduler.holds("upkeep", true) }
    return try await Cache<Int>.open(at: nil, configuration: configuration)
  }

  private func close<Value>(_ cache: Cache<Value>) async throws {
    scheduler.holds("upkeep", false)
    try await cache.close()
  }

  private func isSharedNow<Value>(_ cache: Cache<Value>) -> Bool { cache.engine.state.isSharedNow }

  /// Has threads hit until they share the lock.
  /// - Returns: whether they do, within a minute.
  private func share<Value>(_ cache: Cache<Value>, _ key: CacheKey) -> Bool {
    let began = ContinuousClock.now
    let isShared = Atomic(false)
    onThreads(4) { _ in
      while !isShared.load(ordering: .relaxed), ContinuousClock.now - began < .seconds(60) {
        for _ in 0..<1_000 { _ = cache.memoryValue(for: key) }
        if isSharedNow(cache) { isShared.store(true, ordering: .relaxed) }
      }
    }
    return isShared.load(ordering: .relaxed)
  }

  /// Sets the cache's time ahead, and leaves the lock shared.
  /// - Returns: the tick in which that happened, or one before.
  private func leapWhileShared<Value>(_ cache: Cache<Value>, _ time: Duration) -> Int64 {
    let engine = cache.engine
    let state = engine.state.lock()
    var reading = SystemClock().reading()
    reading.wall = Timestamp(microseconds: reading.wall.rawValue + time.microseconds)
    _ = state.pointee.timeline.now(reading, last: .zero)
    let tick = state.pointee.ticked.tick
    state.pointee.hits.share(engine.state.lane)
    engine.state.share()
    engine.state.unlock()
    return tick
  }

  /// The keys from the least recent to the most recent one, told by what each new key evicts.
  private func order(_ cache: Cache<Int>, _ keys: [CacheKey]) async throws -> [Int] {
    var order: [Int] = []
    var left = Array(keys.indices)
    while !left.isEmpty {
      try await cache.set(0, for: try CacheKey("new:\(left.count)"))
      for gone in left where !cache.contains(keys[gone]) { order.append(gone) }
      left.removeAll { order.contains($0) }
    }
    return order
  }

  /// Whether some interleaving of the threads' hits ends with this order.
  ///
  /// Going from the least recent key up, each key's last hit must still be ahead of somebody: who
  /// makes it is past it then, and so is everybody else past theirs.
  private func isExplained(_ order: [Int], by hits: [[Int]]) -> Bool {
    let last = hits.map { hits in
      Dictionary(hits.enumerated().map { ($1, $0) }, uniquingKeysWith: { $1 })
    }
    var done = [Int](repeating: 0, count: hits.count)
    for key in order where last.contains(where: { $0[key] != nil }) {
      let threads = hits.indices.filter { last[$0][key] != nil }
      guard threads.contains(where: { last[$0][key]! >= done[$0] }) else { return false }
      for thread in threads { done[thread] = max(done[thread], last[thread][key]! + 1) }
    }
    return true
  }

  @Test(
    "each thread's own hits stay in order, some interleaving explains the whole, none is lost",
    arguments: [false, true])
  func order(ticks: Bool) async throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    for round in 0..<20 {
      let keys = try (0..<40).map { try CacheKey("k:\($0)") }
      let cache = try await memoryOnly(keys.count, ticks: ticks)
      for (value, key) in keys.enumerated() { try await cache.set(value, for: key) }
      let hits = (0..<3).map { _ in
        (0..<Int.random(in: 1...4_000, using: &random)).map { _ in
          Int.random(in: 0..<keys.count - 5, using: &random)
        }
      }
      onThreads(4) { thread in
        guard thread < hits.count else {
          // Somebody who has the hits settled, at any moment.
          for _ in 0..<(ticks ? 20 : 200) {
            _ = cache.contains(keys[0])
            if ticks { usleep(20) }
          }
          return
        }
        for key in hits[thread] { precondition(cache.memoryValue(for: keys[key]) == key) }
      }
      #expect(
        cache.statistics.hits.memory == hits.reduce(0) { $0 + $1.count },
        "seed \(seed), round \(round)")
      let order = try await order(cache, keys)
      let untouched = keys.indices.filter { key in !hits.contains { $0.contains(key) } }
      #expect(Array(order.prefix(untouched.count)) == untouched, "seed \(seed), round \(round)")
      #expect(isExplained(order, by: hits), "seed \(seed), round \(round): \(order)")
      try await close(cache)
    }
  }

  @Test("threads that only hit share the lock, each in a lane, until somebody does something else")
  func sharing() async throws {
    let keys = try (0..<40).map { try CacheKey("k:\($0)") }
    let cache = try await memoryOnly(keys.count, ticks: true)
    for (value, key) in keys.enumerated() { try await cache.set(value, for: key) }
    #expect(share(cache, keys[39]))
    let shared = cache.statistics.hits.memory
    #expect(!isSharedNow(cache), "whoever needs the state has it alone")

    // By the lanes, from several threads: all counted, and moved before anything else is decided.
    let hits = (0..<3).map { thread in (0..<3_000).map { 10 * thread + $0 % 7 } }
    #expect(share(cache, keys[39]))
    let before = cache.statistics.hits.memory
    #expect(before > shared)
    onThreads(3) { thread in
      for key in hits[thread] { precondition(cache.memoryValue(for: keys[key]) == key) }
    }
    #expect(cache.statistics.hits.memory == before + 9_000)
    let order = try await order(cache, keys)
    #expect(isExplained(order, by: hits), "\(order)")
    try await close(cache)
  }

  @Test("a hit that needs the lock again comes after those by the lanes")
  func lanesThenLock() async throws {
    let keys = try (0..<5).map { try CacheKey("k:\($0)") }
    let cache = try await memoryOnly(keys.count, ticks: true)
    for (value, key) in keys.enumerated() { try await cache.set(value, for: key) }
    #expect(share(cache, keys[4]))
    for key in [3, 1, 4, 0, 2] {
      #expect(isSharedNow(cache))
      #expect(cache.memoryValue(for: keys[key]) == key)
      // The clock ticks every 4 milliseconds, and the first hit after that reads the time.
      usleep(key % 2 == 0 ? 0 : 20_000)
    }
    #expect(try await order(cache, keys) == [3, 1, 4, 0, 2])
    try await close(cache)
  }

  @Test("INV016 in a lane a hit ends at the TTL, too, and what was invalidated is gone at once")
  func lanesAndEnds() async throws {
    let cache = try await memoryOnly(40, ticks: true)
    let (long, short) = (try CacheKey("k:long"), try CacheKey("k:short"))
    try await cache.set(1, for: long)
    try await cache.set(2, for: short, memoryTTL: .seconds(600))
    #expect(share(cache, long))
    for _ in 0..<4 { #expect(cache.memoryValue(for: short) == 2) }
    let tick = leapWhileShared(cache, .seconds(601))
    // What time it is, the first hit after a tick asks.
    while SystemClock().tick() == tick { usleep(1_000) }
    #expect(isSharedNow(cache))
    #expect(cache.memoryValue(for: short) == nil)
    #expect(cache.memoryValue(for: long) == 1)

    #expect(share(cache, long))
    #expect(cache.memoryValue(for: short) == nil, "in a lane that knows what time it is")
    #expect(try await cache.invalidate(long))
    onThreads(3) { _ in #expect(cache.memoryValue(for: long) == nil) }
    try await close(cache)
  }

  @Test("the check of orders knows a wrong one")
  func checkOfOrders() {
    #expect(isExplained([0, 1, 2], by: [[0, 1], [2]]))
    #expect(isExplained([2, 0, 1], by: [[0, 1], [2]]))
    #expect(!isExplained([1, 0, 2], by: [[0, 1], [2]]))
    #expect(!isExplained([0, 1], by: [[0, 1, 0], [0, 1, 0]]))
    #expect(isExplained([0, 1], by: [[0, 1], [1, 0]]))
  }

  @Test("one thread's hits give exactly the order of the hits, over a full log, too")
  func oneThread() async throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    let keys = try (0..<30).map { try CacheKey("k:\($0)") }
    let cache = try await memoryOnly(keys.count)
    for (value, key) in keys.enumerated() { try await cache.set(value, for: key) }
    var model = Array(keys.indices)
    for _ in 0..<5_000 {
      let key = Int.random(in: 0..<keys.count, using: &random)
      #expect(try await cache.get(keys[key]) == key)
      model.removeAll { $0 == key }
      model.append(key)
    }
    #expect(try await order(cache, keys) == model, "seed \(seed)")
    try await cache.close()
  }

  @Test(
    "hits amid sets, expiries, evictions, invalidations and clears: each value is its key's, and the journal verifies",
    arguments: [AccessLog.recency, .off, .lookups])
  func stress(_ accessLog: AccessLog) async throws {
    let directory = try TemporaryDirectory()
    let seed = UInt64.random(in: 0 ... .max)
    let cache = try await Cache<[UInt8]>.open(
      at: directory.cache, coder: .bytes,
      configuration: configuration(memory: 40, store: 60) {
        $0.clock = SystemClock()
        $0.accessLog = accessLog
        $0.sweepInterval = .milliseconds(5)
        $0.acknowledgement = .enqueued
      })
    let keys = try (0..<100).map { try CacheKey("\($0 % 2 == 0 ? "even" : "odd"):\($0)") }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<4 {
        group.addTask {
          var random = SplitMix64(seed: seed &+ UInt64(task))
          for _ in 0..<3_000 {
            // Squaring prefers the low numbers.
            let draw = Double.random(in: 0..<1, using: &random)
            let at = Int(draw * draw * 100)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<75:
              if let value = cache.memoryValue(for: keys[at]) { #expect(value == [UInt8(at)]) }
            case 75..<97:
              let ttl: Duration = .milliseconds(Int.random(in: 0..<40, using: &random))
              try await cache.set([UInt8(at)], for: keys[at], memoryTTL: ttl, storeTTL: ttl * 2)
            case 97: try await cache.invalidate(keys[at])
            case 98: _ = cache.statistics
            default: try await cache.clear(registry: "odd")
            }
          }
        }
      }
      try await group.waitForAll()
    }
    try await cache.close()
    let verified = try Verifier(directory: directory.cache).run()
    #expect(verified.isSound, "seed \(seed): \(verified.problems)")
  }

  @Test("INV016 on the system's clock a hit ends at the TTL, and not before")
  func ticks() async throws {
    let cache = try await Cache<Int>.open(at: nil)
    let key = try CacheKey("k:1")
    let ttl = Duration.milliseconds(60)
    // Where other tests keep every thread busy, the whole TTL may pass before the first lookup.
    try await eventually("there is a hit before the TTL is over") {
      let began = ContinuousClock.now
      try await cache.set(1, for: key, memoryTTL: ttl)
      var hits = 0
      while cache.memoryValue(for: key) != nil { hits += 1 }
      let took = ContinuousClock.now - began
      #expect(took >= ttl - .milliseconds(1), "\(took)")
      return hits > 0
    }
    try await cache.close()
  }

  @Test("keys of every length are found, beside one another")
  func lengths() async throws {
    let cache = try await memoryOnly(1_024)
    let keys = try (1...1_024).map { try CacheKey(String(repeating: "x", count: $0)) }
    for (value, key) in keys.enumerated() { try await cache.set(value, for: key) }
    for (value, key) in keys.enumerated() {
      #expect(try await cache.get(try CacheKey(key.rawValue)) == value)
    }
    #expect(Set(keys).count == keys.count)
    try await cache.close()
  }
}
