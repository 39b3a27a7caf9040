import HindsightCore
import HindsightJournal
import HindsightTesting
import Synchronization
import Testing

@testable import Hindsight

/// What a sync that fails takes with it, and what may still be said about it.
@Suite("S040 syncs that fail")
struct FailedSyncTests {
  private func open(
    _ change: (inout CacheConfiguration) -> Void = { _ in }
  ) async throws -> (Lab, FaultInjector) {
    let injector = FaultInjector(seed: 1)
    let lab = Lab(memory: 4, change)
    lab.storage = SimulatedStorage(injector)
    try await lab.open(lab.storage)
    try await lab.set("k:1", [1])
    try await lab.sync()
    return (lab, injector)
  }

  @Test("what a close wrote, and failed to sync, is synced before anything follows it")
  func closing() async throws {
    let (lab, injector) = try await open()
    // Several pages: what is appended behind them changes the last one only.
    try await lab.setNoise(1, byteCount: 20_000, seed: 1)
    // The close's own sync, and the rescue's: the pages read well, and are on no disk.
    injector.fire(.syncErrorKept, times: 2)
    await #expect(throws: CacheError.self) { try await lab.end() }
    #expect(injector.count(.syncErrorKept) == 2)
    lab.kill()
    try await lab.open(lab.storage)
    #expect(lab.cache?.recovery.journal == .clean)
    try await lab.set("k:2", [2])
    try await lab.sync()
    lab.crash()
    try await lab.open(lab.storage)
    #expect(try await lab.get("k:0")?.count == 20_000)
    #expect(try await lab.get("k:1") == [1])
    #expect(try await lab.get("k:2") == [2])
    try await lab.end()
  }

  @Test("what a salvage keeps is on the disk before a segment behind it says so")
  func salvage() async throws {
    let (lab, injector) = try await open()
    // Several pages: cutting the segment writes the last one anew.
    try await lab.setNoise(1, byteCount: 20_000, seed: 1)
    injector.fire(.syncErrorKept, times: 2)
    await #expect(throws: CacheError.self) { try await lab.sync() }
    lab.kill()
    injector.setOn(false)
    lab.storage.setBytes([1, 2, 3], of: "00000002.journal")
    lab.configuration.corruption = .salvage
    try await lab.open(lab.storage)
    #expect(lab.cache?.recovery.journal == .salvaged)
    try await lab.set("k:3", [3])
    try await lab.sync()
    lab.crash()
    lab.configuration.corruption = .refuse
    try await lab.open(lab.storage)
    #expect(try await lab.get("k:0")?.count == 20_000)
    #expect(try await lab.get("k:1") == [1])
    #expect(try await lab.get("k:3") == [3])
    try await lab.end()
  }

  @Test(
    "after it, nothing counts as written before it has been rescued; nor after a rotation's",
    arguments: [1, 40_000])
  func written(byteCount: Int) async throws {
    let (lab, injector) = try await open()
    let cache = try #require(lab.cache)
    let key = try CacheKey("k:2")
    var random = SplitMix64(seed: 91)
    let value = (0..<byteCount).map { _ in UInt8.random(in: 0...255, using: &random) }
    // The longer one fills its segment, of 64 KiB.
    try await lab.setNoise(1, byteCount: 50_000, seed: 1)
    try await lab.sync()
    _ = try await lab.scheduler.run { try await cache.set(value, for: key) }
    injector.fire(.syncErrorReverted, times: 2)
    for level in [Acknowledgement.durable, .written] {
      await #expect("\(level)") {
        try await lab.scheduler.run { _ = try await cache.flush(to: level) }
      } throws: { ($0 as? CacheError)?.code == .outcomeUnknown }
      // The next try is a second away, and fails again.
      injector.fire(.createIOError)
      lab.clock.advance(by: .seconds(2))
    }
    injector.setOn(false)
    lab.clock.advance(by: .seconds(2))
    lab.scheduler.runTimers()
    try await lab.scheduler.run { _ = try await cache.flush(to: .written) }
    lab.kill()
    try await lab.open(lab.storage)
    #expect(try #require(lab.cache).memoryValue(for: key) == value)
    try await lab.end()
  }

  @Test("what is being written when it fails doesn't count as written, either")
  func beingWritten() {
    var commit = CommitState(durable: SequenceNumber(1))
    #expect(commit.takeRoleForCaller() == true)
    let failure = StorageError("sync", "00000001.journal", .ioError)
    commit.fail(JournalTrouble(failure, retryAt: .seconds(1)), losesPages: true)
    let (resume, wantsSignal) = commit.wrote(through: SequenceNumber(2))
    #expect(resume.isEmpty && wantsSignal && !commit.isWriting)
    #expect(!commit.isAcknowledged(SequenceNumber(2), .written))
    commit.recover()
    _ = commit.synced(through: SequenceNumber(2))
    #expect(commit.isAcknowledged(SequenceNumber(2), .written))
  }

  @Test("a rotation that fails after its sync has made durable what it synced")
  func rotation() async throws {
    let (lab, injector) = try await open()
    let cache = try #require(lab.cache)
    var random = SplitMix64(seed: 90)
    let noise = (0..<140_000).map { _ in UInt8.random(in: 0...255, using: &random) }
    let key = try CacheKey("k:2")
    injector.fire(.createNoSpace, times: .max)
    _ = try await lab.scheduler.run {
      try await cache.set(noise, for: key, acknowledgement: .durable)
    }
    #expect(injector.count(.createNoSpace) > 0)
    injector.setOn(false)
    lab.crash()
    try await lab.open(lab.storage)
    #expect(try #require(lab.cache).memoryValue(for: key) == noise)
    try await lab.end()
  }

  @Test("no checkpoint is made of what isn't durable")
  func checkpoint() async throws {
    let (lab, _) = try await open { $0.segmentByteCount = 16 << 20 }
    let cache = try #require(lab.cache)
    // A checkpoint is due with the next frame.
    try await lab.setNoise(1, byteCount: 3 << 20, seed: 1)
    try await lab.sync()
    let created = Atomic(0)
    lab.storage.inject { operation, file in
      if operation == .create, file.contains(".checkpoint") {
        created.add(1, ordering: .relaxed)
      }
      return operation == .sync && file.contains(".journal") ? .ioError : nil
    }
    let key = try CacheKey("k:2")
    _ = try await lab.scheduler.run { try await cache.set([2], for: key) }
    for _ in 0..<3 {
      lab.clock.advance(by: .seconds(2))
      cache.engine.signalUpkeep()
      lab.scheduler.runTimers()
    }
    #expect(cache.engine.locked { $0.checkpointing.capture?.position != nil })
    #expect(created.load(ordering: .relaxed) == 0)
    lab.storage.inject(nil)
    lab.clock.advance(by: .seconds(2))
    lab.scheduler.runTimers()
    try await lab.scheduler.run { _ = try await cache.flush() }
    lab.scheduler.runUntilIdle()
    #expect(lab.storage.names.contains { $0.hasSuffix(".checkpoint") })
    try await lab.end()
  }

  @Test("INV016 reads of what has expired add nothing while the journal can't be written")
  func reads() async throws {
    let (lab, injector) = try await open()
    let cache = try #require(lab.cache)
    let key = try CacheKey("k:2")
    try await lab.set("k:2", [2], ttl: .seconds(5))
    injector.fire(.syncErrorReverted)
    injector.fire(.createIOError, times: .max)
    await #expect(throws: CacheError.self) { try await lab.sync() }
    let before = lab.lastSequence
    lab.clock.advance(by: .seconds(6))
    for _ in 0..<3 {
      #expect(!cache.contains(key))
      #expect(cache.memoryValue(for: key) == nil)
      let found = try await lab.scheduler.run { try await cache.get(key) }
      #expect(found == nil)
    }
    #expect(lab.lastSequence == before)
    injector.setOn(false)
    lab.clock.advance(by: .seconds(2))
    lab.scheduler.runTimers()
    #expect(!cache.contains(key))
    #expect(lab.lastSequence == before + 1, "that it has expired is told")
    try await lab.sync()
    try await lab.end()
  }

  @Test("flushing again and again while the journal can't be written adds up to a limit only")
  func flushes() async throws {
    let (lab, injector) = try await open { $0.queues.unwrittenByteCountMax = 1 }
    let cache = try #require(lab.cache)
    let keys = try (0..<4).map { try CacheKey("k:\($0)") }
    for key in keys { _ = try await lab.run { try await $0.set([1], for: key) } }
    injector.fire(.writeNoSpace, times: .max)
    await #expect(throws: CacheError.self) {
      try await lab.scheduler.run {
        try await cache.set([2], for: keys[0], acknowledgement: .written)
      }
    }
    let last = cache.statistics.lastSequence
    for _ in 0..<20 {
      for key in keys { #expect(cache.memoryValue(for: key) != nil) }
      _ = try? await lab.scheduler.run { try await cache.flush(to: .enqueued) }
    }
    // They tell the order of use once: a flush that waits for that can't be answered yet.
    #expect(cache.statistics.lastSequence == last + 1)
    injector.setOn(false)
    try await lab.end()
  }
}

@Suite("S040 time that reads have seen (INV016)")
struct SeenTimeTests {
  @Test("what a synchronous lookup found expired stays so when the clock steps back")
  func expiredStaysExpired() async throws {
    let lab = Lab()
    try await lab.open()
    let cache = try #require(lab.cache)
    let key = try CacheKey("k:1")
    let start = lab.clock.reading().wall
    _ = try await lab.scheduler.run {
      try await cache.set([1], for: key, memoryTTL: .seconds(20))
    }
    lab.clock.setWall(Timestamp(microseconds: start.rawValue + 30_000_000))
    #expect(cache.memoryValue(for: key) == nil)
    lab.clock.setWall(start)
    #expect(cache.memoryValue(for: key) == nil)
    #expect(!cache.contains(key))
    try await lab.end()
  }
}
