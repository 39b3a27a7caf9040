import Hindsight
import HindsightTesting
import Testing

/// Each kind of fault at calls of storage and store, early and late: nothing durable is lost, nothing
/// wrong is served, no operation hangs, the cache recovers by itself, and nothing leaks.
@Suite("S040 faults of calls")
struct FaultCallTests {
  @Test(
    "a call of the storage or the store that fails", .timeLimit(.minutes(10)),
    arguments: FaultKind.all(.operation) + FaultKind.all(.storeCall))
  func failing(kind: FaultKind) async throws {
    var hits = 0
    for (skipped, times) in [(0, 1), (2, 3), (7, 1)] {
      let what = "\(kind), after \(skipped), \(times) times"
      let trial = Trial(seed: UInt64(skipped))
      // There is something to recover, and something that was left unfinished.
      #expect(await trial.open() == nil)
      try await trial.work(20)
      trial.kill()
      trial.storage.setBytes([1, 2, 3], of: "00000009.journal.tmp")
      trial.injector.fire(kind, after: skipped, times: times)
      if let refused = await trial.open() {
        #expect([.system, .outOfSpace, .storeUnavailable].contains(refused.code), "\(what)")
        trial.injector.setOn(false)
        #expect(await trial.open() == nil, "\(what): not at the second attempt either")
        trial.injector.setOn(true)
      }
      try await trial.work(40)
      let isClosed = try await trial.close() == nil
      hits += trial.injector.count(kind)
      trial.injector.setOn(false)
      let durable = trial.durable
      if skipped % 2 == 0 { trial.crash() }
      #expect(await trial.open() == nil, "\(what)")
      #expect(try #require(trial.cache).recovery.lastSequence >= durable, "\(what)")
      if isClosed { #expect(try #require(trial.cache).recovery.wasClean, "\(what)") }
      try await trial.checkRecovered(what)
      try await trial.finish(what)
    }
    #expect(hits >= 1, "\(kind) came in \(hits) times")
  }

  /// What can't be read just now may be whole: no opening may pass it over, give it up as lost, or
  /// salvage it away.
  @Test(
    "a read that fails at any point of an opening loses nothing", .timeLimit(.minutes(10)),
    arguments: [FaultKind.readIOError, .openTooManyFiles, .sizeIOError], ["store lost", "salvage"])
  func reading(kind: FaultKind, what: String) async throws {
    let made = Trial(seed: 5) {
      if what == "salvage" { $0.corruption = .salvage }
      $0.retention.byteCountMax = what == "salvage" ? 100 << 10 : nil
    }
    #expect(await made.open() == nil)
    try await made.work(70)
    try await made.settle()
    #expect(try await made.close() == nil)
    #expect(made.storage.names.contains { $0.hasSuffix(".checkpoint") })
    var skipped = 0
    while true {
      let trial = try made.copy()
      if what == "store lost" { trial.store.restore(nil) }
      trial.injector.fire(kind, after: skipped)
      let refused = await trial.open()
      if let refused {
        #expect(refused.code == .system, "\(kind) after \(skipped): \(refused)")
        #expect(await trial.open() == nil)
      }
      let recovery = try #require(trial.cache).recovery
      #expect(recovery.lostValues == 0, "\(kind) after \(skipped)")
      #expect(recovery.journal != .salvaged, "\(kind) after \(skipped)")
      try await trial.checkRecovered("\(what), \(kind) after \(skipped)")
      if trial.injector.count(kind) == 0 { break }
      skipped += 1
      trial.kill()
    }
    #expect(skipped > 3)
  }
}
