import Hindsight
import HindsightReplay
import Synchronization
import SystemPackage
import Testing

@testable import HindsightTesting

/// What fails halfway leaves no space taken, however often it is tried again.
@Suite("S040 files that could not be finished")
struct UnfinishedFileTests {
  private func value(_ number: Int) -> [UInt8] {
    var random = SplitMix64(seed: UInt64(number))
    return (0..<2_000).map { _ in UInt8.random(in: 0...255, using: &random) }
  }

  private func unfinished(_ storage: SimulatedStorage) -> [String] {
    storage.names.filter { $0.hasSuffix(".tmp") }
  }

  private func segments(_ storage: SimulatedStorage) -> [String] {
    storage.names.filter { $0.hasSuffix(".journal") }
  }

  private func letTimePass(_ lab: Lab) {
    lab.clock.advance(by: .seconds(2))
    lab.scheduler.runTimers()
  }

  /// A cache that has gone on in memory for a while, as its disk was full.
  private func labWithGap() async throws -> Lab {
    let lab = Lab(memory: 4) {
      $0.journalFailure = .continueInMemory
      $0.queues.unwrittenByteCountMax = 4 << 10
    }
    try await lab.open()
    try await lab.attempt("k:0", value(0))
    try await lab.attemptSync()
    lab.storage.inject { operation, _ in
      operation == .write || operation == .allocate ? .noSpace : nil
    }
    let cache = try #require(lab.cache)
    for number in 0..<8 {
      let (key, value) = (try CacheKey("k:\(number)"), value(number))
      try await lab.scheduler.run {
        _ = try await cache.set(value, for: key, acknowledgement: .written)
      }
    }
    #expect(cache.statistics.unjournaledEvents > 0)
    return lab
  }

  /// The gap ends, what comes then is durable, and after a crash the cache opens as it was.
  private func checkRecovery(of lab: Lab, _ value: [UInt8]) async throws {
    try await lab.recoverFromTrouble()
    #expect(lab.journalTrouble == nil)
    try await lab.attempt("k:0", value)
    try await lab.attemptSync()
    let digest = try #require(lab.cache).stateDigest.digest
    lab.crash()
    lab.storage.inject(nil)
    let verified = lab.verify(lab.storage)
    #expect(verified.problems.isEmpty && verified.digest == digest, "\(verified.problems)")
    try await lab.open(lab.storage)
    try await lab.end()
  }

  @Test(
    "a checkpoint that can't be written, at its beginning or later, is removed again",
    arguments: [SimulatedStorage.Operation.write, .sync, .rename])
  func checkpoint(operation: SimulatedStorage.Operation) async throws {
    let lab = Lab(memory: 100) { $0.retention = .unlimited }
    try await lab.open()
    let failures = Mutex(0)
    lab.storage.inject { found, name in
      guard found == operation, name.contains(".checkpoint") else { return nil }
      failures.withLock { $0 += 1 }
      return .noSpace
    }
    for number in 0..<150 { try await lab.set("k:\(number % 50)", value(number)) }
    try await lab.sync()
    #expect(failures.withLock { $0 } > 1)
    #expect(unfinished(lab.storage).isEmpty)
    try await lab.end()
    #expect(unfinished(lab.storage).isEmpty)
    #expect(!lab.storage.names.contains { $0.hasSuffix(".checkpoint") })
    #expect(lab.verify(lab.storage).isSound)
  }

  @Test(
    "a segment that can't be written is removed again",
    arguments: [SimulatedStorage.Operation.allocate, .write, .sync, .rename])
  func segment(operation: SimulatedStorage.Operation) async throws {
    let lab = Lab()
    try await lab.open()
    lab.storage.inject { found, name in
      let isFirst = name.hasPrefix("00000001.journal")
      return found == (isFirst ? .write : operation) ? .noSpace : nil
    }
    let cache = try #require(lab.cache)
    let key = try CacheKey("k:1")
    _ = try await lab.scheduler.run { try await cache.set([1], for: key) }
    for _ in 0..<3 {
      letTimePass(lab)
      #expect(lab.journalTrouble != nil)
      #expect(unfinished(lab.storage).isEmpty)
    }
    lab.storage.inject(nil)
    try await lab.recoverFromTrouble()
    #expect(lab.journalTrouble == nil)
    try await lab.end()
    #expect(lab.verify(lab.storage).isSound)
  }

  @Test("a bridge over a gap that fails again and again leaves no segment each time")
  func bridge() async throws {
    for (operation, suffix) in [
      (SimulatedStorage.Operation.write, ".checkpoint.tmp"), (.allocate, ".journal.tmp"),
    ] {
      let lab = try await labWithGap()
      let allowed = Mutex(operation == .allocate ? 1 : 0)
      lab.storage.inject { found, name in
        guard found == operation, name.hasSuffix(suffix) else { return nil }
        return allowed.withLock { left in
          left -= 1
          return left < 0 ? .noSpace : nil
        }
      }
      for _ in 0..<20 { letTimePass(lab) }
      #expect(lab.journalTrouble != nil)
      #expect(segments(lab.storage).count <= 2, "\(operation): \(lab.storage.names)")
      #expect(unfinished(lab.storage).isEmpty)
      lab.storage.inject(nil)
      try await checkRecovery(of: lab, value(1))
    }
  }

  @Test("a segment that is given up gives back the space that was allocated ahead")
  func truncated() async throws {
    let lab = Lab()
    try await lab.open()
    try await lab.set("k:1", value(1))
    lab.storage.inject { operation, name in
      operation == .sync && name.hasPrefix("00000001.journal") ? .ioError : nil
    }
    try await lab.attemptSync()
    lab.storage.inject(nil)
    let names = segments(lab.storage)
    #expect(names.count == 2)
    let bytes = try #require(lab.storage.bytes(of: names[0]))
    #expect(bytes.count < lab.configuration.segmentByteCount / 2)
    try await lab.end()
    #expect(lab.verify(lab.storage).isSound)
  }

  @Test("a segment whose file can't be closed is followed all the same", arguments: 1...3)
  func close(failing: Int) async throws {
    let lab = try await labWithGap()
    let count = Mutex(0)
    lab.storage.inject { operation, name in
      guard operation == .close, name.contains(".journal") else { return nil }
      return count.withLock { count in
        count += 1
        return count == failing ? .ioError : nil
      }
    }
    try await checkRecovery(of: lab, value(9))
    #expect(lab.verify(lab.storage).isSound)
  }
}
