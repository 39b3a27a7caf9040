import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting
import Testing

@testable import Hindsight

/// What of the store's trouble gets in a caller's way, and when it is over.
@Suite("S040 the store's trouble")
struct StoreTroubleTests {
  /// Sets keys to values that fill segments, each of which the store has before the next one comes.
  private func setMany(
    _ numbers: Range<Int>, _ lab: Lab, _ random: inout SplitMix64
  ) async throws {
    for number in numbers {
      let key = try CacheKey("k:\(number)")
      let noise = (0..<12_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      _ = try await lab.run { try await $0.set(noise, for: key) }
      _ = try await lab.run { try await $0.settle() }
      lab.clock.advance(by: .seconds(1))
      lab.scheduler.runTimers()
      lab.scheduler.runUntilIdle()
    }
  }

  /// Has memory hold a value that the journal has no longer, but for its promotion, and kills the process.
  /// - Returns: its key.
  private func promote(_ lab: Lab) async throws -> CacheKey {
    let key = try CacheKey("k:0")
    var random = SplitMix64(seed: 3)
    _ = try await lab.run { try await $0.set([7], for: key) }
    try await setMany(1..<30, lab, &random)
    #expect(!lab.storage.names.contains("00000001.journal"))
    #expect(try await lab.run { try await $0.get(key) } == [7])
    _ = try await lab.run { try await $0.flush() }
    lab.kill()
    return key
  }

  @Test("a log that can't be moved keeps no row from the store, and is told until it can be")
  func log() async throws {
    let failpoints = Failpoints()
    let lab = Lab {
      $0.usesStore = true
      $0.queues.pendingRowCountMax = 2
    }
    lab.store = FailpointStore(SimulatedStore(), failpoints)
    failpoints.arm("store.checkpoint.before", .fail(.ioError))
    try await lab.open(lab.storage)
    for number in 0..<20 {
      let key = try CacheKey("k:\(number)")
      _ = try await lab.run { try await $0.set([1], for: key) }
      lab.clock.advance(by: .seconds(1))
      lab.scheduler.runTimers()
      lab.scheduler.runUntilIdle()
    }
    let cache = try #require(lab.cache)
    _ = try await lab.run { try await $0.settle() }
    #expect(failpoints.passages(of: "store.checkpoint.before") > 2)
    #expect(cache.statistics.storeTrouble?.contains("checkpoint") == true)
    failpoints.disarmAll()
    lab.clock.advance(by: .seconds(2))
    lab.scheduler.runTimers()
    lab.scheduler.runUntilIdle()
    #expect(cache.statistics.storeTrouble == nil)
    try await lab.end()
  }

  @Test("damage that a read meets doesn't hide whether a doubtful transaction was committed")
  func doubtfulAndDamaged() async throws {
    let failpoints = Failpoints()
    let lab = Lab { $0.usesStore = true }
    lab.store = FailpointStore(SimulatedStore(), failpoints)
    try await lab.open(lab.storage)
    _ = try await lab.run { try await $0.settle() }
    failpoints.arm("store.apply.after", .fail(.ioError))
    let key = try CacheKey("k:1")
    _ = try await lab.run { try await $0.set([1], for: key, acknowledgement: .durable) }
    lab.scheduler.runUntilIdle()
    let engine = try #require(lab.cache?.engine)
    #expect(engine.locked { $0.projection.trouble } != nil)
    failpoints.disarmAll()
    engine.store?.hasMetDamage.store(true, ordering: .relaxed)
    for _ in 0..<3 {
      lab.clock.advance(by: .seconds(2))
      lab.scheduler.runTimers()
      lab.scheduler.runUntilIdle()
    }
    #expect(engine.locked { $0.projection.trouble } == nil)
    #expect(engine.store?.hasMetDamage.load(ordering: .relaxed) == false)
    try await lab.end()
  }

  @Test(
    "what a damaged store says it has synced lets no segment go, from which it will be built anew")
  func damagedStoreKeepsHistory() async throws {
    let lab = Lab(memory: 2) {
      $0.usesStore = true
      $0.retention = Retention(byteCountMax: 1)
    }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    var random = SplitMix64(seed: 4)
    func segments() -> [String] { lab.storage.names.filter { $0.hasSuffix(".journal") }.sorted() }
    try await setMany(0..<20, lab, &random)
    #expect(segments().first != "00000001.journal", "history goes while the store is well")
    let engine = try #require(lab.cache?.engine)
    engine.store?.hasMetDamage.store(true, ordering: .relaxed)
    _ = try await lab.run { try await $0.settle() }
    lab.scheduler.runUntilIdle()
    let synced = engine.locked { $0.projection.synced }
    let count = segments().count
    try await setMany(20..<40, lab, &random)
    #expect(engine.locked { $0.projection.applied } > synced)
    var first: SequenceNumber?
    _ = try EventStream(lab.storage).replay { event in first = first ?? event.record.sequence }
    #expect(
      first.map { $0 <= synced.next } == true,
      "\(segments()) begin with \(String(describing: first))")
    #expect(segments().count > count)
    try await lab.end()
  }

  @Test("a row that can't be read just now, of a promoted value, ends an opening and loses nothing")
  func promotedUnreadable() async throws {
    let failpoints = Failpoints()
    let lab = Lab(memory: 2) {
      $0.usesStore = true
      $0.retention = Retention(byteCountMax: 1)
    }
    lab.store = FailpointStore(SimulatedStore(), failpoints)
    try await lab.open(lab.storage)
    let key = try await promote(lab)
    failpoints.arm("store.read.before", .fail(.ioError))
    await #expect(throws: CacheError.self) { try await lab.open(lab.storage) }
    #expect(failpoints.passages(of: "store.read.before") == 1)
    failpoints.disarmAll()
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    #expect(cache.recovery.lostValues == 0 && cache.memoryValue(for: key) == [7])
    try await lab.end()
  }

  @Test("a row that holds another value than was promoted gives memory none")
  func promotedDamaged() async throws {
    let lab = Lab(memory: 2) {
      $0.usesStore = true
      $0.retention = Retention(byteCountMax: 1)
    }
    let store = SimulatedStore()
    lab.store = store
    try await lab.open(lab.storage)
    let key = try await promote(lab)
    store.killProcess()
    // One bit of that row's value, and of no other.
    let whole = store.image()
    var seed: UInt64 = 0
    while store.rows.first?.value == [7] {
      store.restore(whole)
      store.damage(.storeRowDamaged, FaultInjector(seed: seed))
      seed += 1
    }
    #expect(store.rows.first?.value.elementsEqual([39]) == true)
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    #expect(cache.memoryValue(for: key) == nil)
    #expect(try await lab.run { try await $0.get(key) } == nil)
    try await lab.end()
  }

  @Test("a queue that is full and refuses is emptied all the same, without a timer for syncs")
  func refusingQueue() async throws {
    let lab = Lab {
      $0.usesStore = true
      $0.backpressure = .fail
      $0.syncInterval = nil
      $0.queues.pendingRowCountMax = 3
    }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    var refused = 0
    for number in 0..<20 {
      let key = try CacheKey("k:\(number)")
      do {
        _ = try await lab.run { try await $0.set([1], for: key) }
      } catch let error as CacheError where error.code == .backpressure {
        refused += 1
        lab.scheduler.runUntilIdle()
      }
    }
    #expect(1...6 ~= refused)
    try await lab.end()
  }

  @Test("an opening that leaves the store away keeps none of its rows waiting")
  func noStore() async throws {
    let lab = Lab { $0.usesStore = true }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    for number in 0..<20 {
      let key = try CacheKey("k:\(number)")
      _ = try await lab.run { try await $0.set([1], for: key) }
    }
    _ = try await lab.run { try await $0.settle() }
    try await lab.end()
    lab.configuration.usesStore = false
    try await lab.open(lab.storage)
    let engine = try #require(lab.cache?.engine)
    #expect(engine.locked { state in state.projection.rowCount } == 0)
    try await lab.end()
  }

  @Test("S041 a look at memory alone that finds a value that no longer decodes counts no miss")
  func undecodable() async throws {
    let directory = try TemporaryDirectory()
    let key = try CacheKey("k:1")
    try await withCache(at: directory.cache, of: String.self) { cache in
      try await cache.set("text", for: key)
    }
    try await withCache(at: directory.cache, of: Int.self) { cache in
      #expect(cache.memoryValue(for: key) == nil)
      #expect(cache.statistics.misses == 0)
      #expect(!cache.contains(key))
    }
  }
}
