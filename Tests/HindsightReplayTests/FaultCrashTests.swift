import Hindsight
import HindsightTesting
import Testing

/// Losses of power at every kind of moment and with every kind of outcome, and disks that lie.
@Suite("S040 faults of crashes")
struct FaultCrashTests {
  /// Opens until no loss of power comes in between.
  private func open(_ trial: Trial) async -> CacheError? {
    for _ in 0..<5 {
      let refused = await trial.open()
      guard trial.injector.isPowerOut else { return refused }
      trial.crash()
    }
    return await trial.open()
  }

  private func enableOutcomes(_ injector: FaultInjector) {
    for kind in FaultKind.all(.crashOutcome) { injector.enable(kind, oneIn: 1) }
  }

  @Test(
    "what was durable survives a loss of power at any moment", .timeLimit(.minutes(10)),
    arguments: FaultKind.all(.crashMoment))
  func moment(kind: FaultKind) async throws {
    var hits = 0
    for seed in 0..<3 as Range<UInt64> {
      let what = "\(kind), seed \(seed)"
      let trial = Trial(seed: seed)
      enableOutcomes(trial.injector)
      #expect(await trial.open() == nil)
      try await trial.work(20)
      switch kind {
      case .crashDuringRecovery, .crashTwiceDuringRecovery:
        trial.crash()
        trial.injector.fire(.crashDuringRecovery, after: 2 + Int(seed) * 3)
        if kind == .crashTwiceDuringRecovery { trial.injector.fire(kind, after: Int(seed) * 4) }
      default:
        trial.injector.fire(kind, after: Int(seed) * 2)
        try await trial.work(50)
        trial.crash()
      }
      let durable = trial.durable
      #expect(await open(trial) == nil, "\(what)")
      #expect(try #require(trial.cache).recovery.lastSequence >= durable, "\(what)")
      try await trial.checkRecovered(what)
      hits += trial.injector.count(kind)
      try await trial.finish(what)
    }
    #expect(hits >= 2, "\(kind) came in \(hits) times")
  }

  @Test(
    "whatever becomes of what was not synced, a prefix is there", .timeLimit(.minutes(10)),
    arguments: FaultKind.all(.crashOutcome))
  func outcome(kind: FaultKind) async throws {
    var hits = 0
    for seed in 0..<3 as Range<UInt64> {
      let what = "\(kind), seed \(seed)"
      let trial = Trial(seed: seed)
      trial.injector.enable(kind, oneIn: 1)
      #expect(await trial.open() == nil)
      try await trial.work(30)
      // Names are unsynced only in the middle of something.
      if kind.rawValue.hasPrefix("names") { trial.injector.fire(.crashAtDirectorySync) }
      try await trial.work(30)
      if !trial.injector.isPowerOut {
        try await trial.set("k:2")
        try await trial.cut()
        try await trial.set("k:3")
        try await trial.cut()
        if kind == .storeCommitsLost { try await trial.settle() }
      }
      trial.crash()
      hits += trial.injector.count(kind)
      let durable = trial.durable
      #expect(await trial.open() == nil, "\(what)")
      let recovery = try #require(trial.cache).recovery
      #expect(recovery.lastSequence >= durable, "\(what)")
      if recovery.journal == .tornTail { #expect(recovery.quarantined.count == 1, "\(what)") }
      try await trial.checkRecovered(what)
      try await trial.finish(what)
    }
    // Time passes while nothing happens, and once it has, the store's last commits are synced: under a
    // sanitizer an operation is slow enough for that.
    let mayNotCome = kind == .storeCommitsLost && Thinning.step > 1
    #expect(hits >= 1 || mayNotCome, "\(kind) came in \(hits) times")
  }

  /// Durable data may be gone: what is left is a prefix, or is refused and named.
  @Test(
    "a disk that lies is found out, or has lost the end", .timeLimit(.minutes(10)),
    arguments: FaultKind.all(.lie))
  func lies(kind: FaultKind) async throws {
    var hits = 0
    for seed in 0..<5 as Range<UInt64> {
      let what = "\(kind), seed \(seed)"
      let trial = Trial(seed: seed)
      #expect(await trial.open() == nil)
      try await trial.work(20)
      trial.injector.fire(kind, after: Int(seed) * 3, times: Int(seed % 3) + 1)
      try await trial.work(30)
      trial.crash()
      hits += trial.injector.count(kind)
      trial.injector.setOn(false)
      if let refused = await trial.open() {
        #expect(refused.code == .journalCorrupt, "\(what): \(refused)")
        #expect(refused.message.contains("0000"), "\(what): no file named in \(refused)")
        trial.configuration.corruption = .salvage
        #expect(await trial.open() == nil, "\(what)")
        let recovery = try #require(trial.cache).recovery
        #expect(recovery.journal == .salvaged && !recovery.damage.isEmpty, "\(what)")
        try await trial.checkNothingInvented(what)
      } else if kind == .directoryRemoved, try #require(trial.cache).recovery.journal == .new {
        #expect(try #require(trial.cache).count == TierCounts(memory: 0, store: 0), "\(what)")
        try await trial.checkNothingInvented(what)
      } else {
        try await trial.checkRecovered(what)
      }
      try await trial.finish(what, isDamaged: true)
    }
    #expect(hits >= 2, "\(kind) came in \(hits) times")
  }
}
