import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Synchronization
import SystemPackage
import Testing

/// Operations of the storage that fail while the cache works.
@Suite("S040 storage faults")
struct FaultTests {
  /// Fails the nth operation that changes something, and so many after it.
  private final class Saboteur: Sendable {
    private let state: Mutex<(count: Int, from: Int, to: Int, hits: Int)>
    let code: Errno

    init(from: Int, count: Int, code: Errno) {
      state = Mutex((0, from, from + count, 0))
      self.code = code
    }

    var hits: Int { state.withLock { $0.hits } }

    func sabotage(_ storage: SimulatedStorage) {
      storage.inject { [self] operation, _ in
        switch operation {
        case .read, .size, .list, .open, .lock, .close: return nil
        default: break
        }
        return state.withLock { state in
          state.count += 1
          guard state.from <= state.count, state.count < state.to else { return nil }
          state.hits += 1
          return code
        }
      }
    }
  }

  private let keys = 6

  /// Works on, whatever fails. What was acknowledged as durable is noted.
  /// - Returns: the last sequence acknowledged as durable, and how many writes were refused.
  private func work(_ lab: Lab, seed: UInt64) async throws -> (durable: UInt64, refused: Int) {
    var random = SplitMix64(seed: seed)
    var durable: UInt64 = 0
    var refused = 0
    for _ in 0..<20 {
      let noise = (0..<Int.random(in: 1...12_000, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      let key = "k:\(Int.random(in: 0..<keys, using: &random))"
      do {
        try await lab.attempt(key, noise)
        if Int.random(in: 0..<3, using: &random) == 0 {
          try await lab.attemptSync()
          durable = lab.lastSequence
        }
      } catch let error as CacheError {
        #expect(
          [.outcomeUnknown, .outOfSpace, .system, .journalUnavailable].contains(error.code),
          "\(error)")
        refused += 1
      }
    }
    return (durable, refused)
  }

  @Test(
    "after a fault at any operation the cache resumes by itself, and nothing durable is lost",
    arguments: [Errno.ioError, .noSpace, .diskQuotaExceeded], [1, 4])
  func everyOperation(code: Errno, count: Int) async throws {
    var hits = 0
    var refused = 0
    for at in 1...45 {
      let what = "\(code) at operation \(at), \(count) times"
      let lab = Lab(memory: 4)
      try await lab.open()
      let saboteur = Saboteur(from: at, count: count, code: code)
      saboteur.sabotage(lab.storage)
      let outcome = try await work(lab, seed: UInt64(at))
      hits += saboteur.hits
      refused += outcome.refused
      lab.storage.inject(nil)
      // It has resumed, or does so now; then it works as ever.
      try await lab.recoverFromTrouble()
      try await lab.attempt("k:0", [1, 2, 3])
      try await lab.attemptSync()
      let last = lab.lastSequence
      #expect(last > outcome.durable, "\(what)")
      let (digest, live) = try await lab.snapshot(keys)
      #expect(lab.journalTrouble == nil, "\(what)")
      lab.crash()
      #expect(lab.verify(lab.storage).digest == digest, "\(what)")
      try await lab.open(lab.storage)
      let cache = try #require(lab.cache)
      #expect(cache.recovery.lastSequence == last, "\(what)")
      for key in 0..<keys {
        #expect(try await cache.get(try CacheKey("k:\(key)")) == live["k:\(key)"], "\(what)")
      }
      try await lab.end()
      #expect(lab.verify(lab.storage).problems.isEmpty, "\(what)")
    }
    #expect(hits > 30)
    if count > 1 { #expect(refused > 0) }
  }

  @Test("out of space: refused before anything happens, visible, and over by itself")
  func outOfSpace() async throws {
    let lab = Lab(memory: 4)
    try await lab.open()
    try await lab.set("k:1", [1])
    try await lab.sync()
    lab.storage.inject { operation, _ in
      operation == .write || operation == .allocate ? .noSpace : nil
    }
    await #expect(throws: CacheError.self) { try await lab.attempt("k:2", [2]) }
    let sequence = lab.lastSequence
    do {
      try await lab.attempt("k:3", [3])
      Issue.record("a write without space was accepted")
    } catch let error as CacheError {
      #expect(error.code == .outOfSpace)
    }
    #expect(lab.lastSequence == sequence)
    #expect(try #require(lab.journalTrouble).contains("space"))
    let cache = try #require(lab.cache)
    #expect(try await cache.get(try CacheKey("k:1")) == [1])
    #expect(try await cache.get(try CacheKey("k:3")) == nil)
    lab.storage.inject(nil)
    try await lab.recoverFromTrouble()
    #expect(lab.journalTrouble == nil)
    try await lab.attempt("k:3", [3])
    #expect(try await cache.get(try CacheKey("k:3")) == [3])
    try await lab.end()
    #expect(lab.verify(lab.storage).isSound)
  }

  @Test("a failed sync poisons its segment: that descriptor is never synced again")
  func poisoned() async throws {
    let lab = Lab(memory: 4)
    try await lab.open()
    try await lab.set("k:1", [1])
    let synced = Mutex<[String]>([])
    let hasFailed = Mutex(false)
    lab.storage.inject { operation, file in
      guard operation == .sync else { return nil }
      synced.withLock { $0.append(file) }
      return hasFailed.withLock { hasFailed in
        defer { hasFailed = true }
        return hasFailed ? nil : .ioError
      }
    }
    try await lab.attemptSync()
    let files = synced.withLock { $0 }
    // The file keeps the name under which it was created.
    #expect(files.filter { $0.hasPrefix("00000001.journal") }.count == 1, "\(files)")
    #expect(lab.storage.names.contains("00000002.journal"))
    let last = lab.lastSequence
    lab.crash()
    try await lab.open(lab.storage)
    #expect(lab.cache?.recovery.lastSequence == last)
    try await lab.end()
  }
}

extension Lab {
  /// Sets and cuts a frame; lets time pass while it waits for a rescue.
  func attempt(_ key: String, _ value: [UInt8]) async throws {
    let cacheKey = try CacheKey(key)
    let cache = try #require(cache)
    try await patiently {
      try await cache.set(value, for: cacheKey)
      try await cache.flush(to: .written)
    }
  }

  func attemptSync() async throws {
    let cache = try #require(cache)
    try await patiently { try await cache.flush(to: .durable) }
  }

  /// Lets time pass until the journal can be written again.
  func recoverFromTrouble() async throws {
    for _ in 0..<10 where journalTrouble != nil {
      clock.advance(by: .seconds(2))
      scheduler.runTimers()
    }
  }

  var journalTrouble: String? { cache?.statistics.journalTrouble }

  /// The digest of the live state, and what it holds.
  func snapshot(_ count: Int) async throws -> (digest: String, values: History.Value) {
    let cache = try #require(cache)
    let digest = cache.stateDigest.digest
    var values: History.Value = [:]
    for key in 0..<count { values["k:\(key)"] = try await cache.get(try CacheKey("k:\(key)")) }
    return (digest, values)
  }

  private func patiently<R: Sendable>(
    _ body: @escaping @Sendable () async throws -> R
  ) async throws {
    _ = try await scheduler.run(
      whenIdle: {
        clock.advance(by: .seconds(1))
        scheduler.runTimers()
      }, body)
  }
}
