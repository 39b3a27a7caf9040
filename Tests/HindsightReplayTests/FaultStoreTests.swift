import Hindsight
import HindsightTesting
import Testing

/// A store that was changed at rest, or whose log can't be emptied.
@Suite("S040 faults of the store")
struct FaultStoreTests {
  @Test(
    "a changed store is put right, or refused, and nothing wrong is served",
    .timeLimit(.minutes(10)),
    arguments: FaultKind.all(.store).filter { $0 != .storeExternalReader })
  func changed(kind: FaultKind) async throws {
    for seed in 0..<4 as Range<UInt64> {
      let what = "\(kind), seed \(seed)"
      let trial = Trial(seed: seed) { $0.retention = .unlimited }
      let other = Trial(seed: seed + 100)
      for trial in [trial, other] {
        #expect(await trial.open() == nil)
        try await trial.work(30)
        try await trial.settle()
      }
      let older = trial.store.image()
      try await trial.work(30)
      try await trial.settle()
      #expect(try await trial.close() == nil)
      #expect(
        trial.store.damage(kind, trial.injector, older: older, other: other.store.image()))
      #expect(trial.injector.count(kind) == 1)
      let refused = await trial.open()
      if kind == .storeAhead {
        #expect(refused?.code == .journalCorrupt, "\(what)")
        #expect(refused?.message.contains("store") == true, "\(what)")
        trial.configuration.corruption = .salvage
        #expect(await trial.open() == nil, "\(what)")
      } else {
        #expect(refused == nil, "\(what): \(String(describing: refused))")
      }
      let recovery = try #require(trial.cache).recovery
      #expect(recovery.store == expectation(kind), "\(what): \(recovery.store)")
      #expect(trial.store.quarantineCount == (kind == .storeTruncated ? 1 : 0), "\(what)")
      trial.mayLoseValues = kind == .storeRowDamaged || kind == .storeRowMissing
      try await trial.checkRecovered(what)
      try await trial.finish(what)
    }
  }

  private func expectation(_ kind: FaultKind) -> RecoverySummary.Store {
    switch kind {
    case .storeDeleted: .new
    case .storeTruncated: .rebuilt
    case .storeReplaced, .storeAhead: .reconciled
    default: .resumed
    }
  }

  @Test("a foreign reader that blocks the log: it grows, and is emptied when that is gone")
  func externalReader() async throws {
    let trial = Trial(seed: 3)
    #expect(await trial.open() == nil)
    trial.store.setExternalReader(true)
    try await trial.work(40)
    try await trial.settle()
    trial.advance(.seconds(3))
    #expect(trial.injector.count(.storeExternalReader) == 1)
    let blocked = try #require(trial.cache).statistics.storeLogByteCount
    #expect(blocked > 0)
    // What is committed is safe all the same: the log itself was synced.
    #expect(trial.store.syncedMark == trial.store.mark)
    trial.store.setExternalReader(false)
    try await trial.set("k:1")
    try await trial.settle()
    trial.advance(.seconds(3))
    #expect(try #require(trial.cache).statistics.storeLogByteCount == 0)
    trial.crash()
    #expect(await trial.open() == nil)
    try await trial.checkRecovered("external reader")
    try await trial.finish("external reader")
  }
}
