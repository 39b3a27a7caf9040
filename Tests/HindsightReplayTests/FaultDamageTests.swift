import Hindsight
import HindsightReplay
import HindsightTesting
import Testing

/// Files that were changed while nobody had them open: the undamaged state, a prefix with a report,
/// or a refusal that names the file and changes nothing. With salvage it opens, and never serves
/// anything that wasn't there.
@Suite("S040 faults of files")
struct FaultDamageTests {
  /// Several segments and checkpoints, over two sessions.
  private func made(isClosed: Bool) async throws -> Trial {
    let trial = Trial(seed: isClosed ? 8 : 9) { $0.retention = .unlimited }
    #expect(await trial.open() == nil)
    try await trial.work(30)
    #expect(try await trial.close() == nil)
    #expect(await trial.open() == nil)
    try await trial.work(45)
    try await trial.settle()
    try await trial.set("k:4")
    try await trial.cut()
    if isClosed { #expect(try await trial.close() == nil) } else { trial.kill() }
    #expect(trial.storage.names.filter { $0.hasSuffix(".journal") }.count > 1)
    #expect(trial.storage.names.contains { $0.hasSuffix(".checkpoint") })
    return trial
  }

  @Test(
    "a changed file is noticed, and nothing wrong is served", .timeLimit(.minutes(10)),
    arguments: FaultKind.all(.damage))
  func damaged(kind: FaultKind) async throws {
    var hits = 0
    for isClosed in [true, false] {
      let made = try await made(isClosed: isClosed)
      let last = Verifier(made.storage) { nil }.run().lastSequence
      for seed in 0..<3 as Range<UInt64> {
        let trial = try made.copy()
        guard let damage = trial.storage.damage(kind, seed: seed) else { continue }
        hits += 1
        try await check(
          trial, damage, "\(damage), seed \(seed), closed: \(isClosed)", last, made.storage)
      }
    }
    #expect(hits >= 3, "\(kind) came in \(hits) times")
  }

  private func check(
    _ trial: Trial, _ damage: Damage, _ what: String, _ last: UInt64, _ made: SimulatedStorage
  ) async throws {
    let before = trial.storage.copy()
    // What is missing at an end can't be seen: a checkpoint, the last frames, the first or last segment.
    let segments = made.names.filter { $0.hasSuffix(".journal") }
    let isAtEnd =
      damage.file == segments.last || damage.kind == .missingSegment && damage.file == segments[0]
    let mayBeInvisible =
      damage.kind == .missingCheckpoint
      || isAtEnd && [.missingSegment, .cut, .zeroedRange].contains(damage.kind)
    let problems = Verifier(before) { nil }.run().problems
    #expect(mayBeInvisible || !problems.isEmpty, "\(what): not seen by verify")
    if let refused = await trial.open() {
      #expect(refused.code == .journalCorrupt, "\(what): \(refused)")
      // The journal reaches back behind every checkpoint.
      #expect(damage.file.hasSuffix(".journal"), "\(what): \(refused)")
      #expect(
        refused.message.contains(".journal") || refused.message.contains(".checkpoint"),
        "\(what): \(refused)")
      for name in before.names {
        let isSame = trial.storage.bytes(of: name) == before.bytes(of: name)
        #expect(isSame, "\(what): \(name) was changed")
      }
      trial.configuration.corruption = .salvage
      #expect(await trial.open() == nil, "\(what)")
      let recovery = try #require(trial.cache).recovery
      #expect(recovery.journal == .salvaged && !recovery.damage.isEmpty, "\(what)")
      // What is gone can't tell which numbers it used.
      let isGone = [.missingSegment, .duplicatedSegment, .cut, .zeroedRange, .garbageRange]
        .contains(damage.kind)
      let sequence = try #require(trial.cache).stateDigest.sequence
      #expect(isGone || sequence > last || recovery.lastSequence == 0, "\(what)")
      try await trial.checkNothingInvented(what)
    } else {
      let recovery = try #require(trial.cache).recovery
      #expect(recovery.lastSequence <= last, "\(what)")
      if recovery.lastSequence < last, !mayBeInvisible {
        #expect(recovery.journal == .tornTail && recovery.quarantined.count == 1, "\(what)")
      }
      try await trial.checkRecovered(what)
    }
    try await trial.finish(what, isDamaged: true)
  }
}
