import HindsightCore
import HindsightJournal
import HindsightTesting
import Testing

@testable import HindsightReplay

/// What a stranger's journal makes its reader decode is limited, whether or not it is new.
@Suite("S040 work of a replay")
struct ReplayWorkTests {
  private func limits(_ decoded: Int) -> ReplayLimits {
    var limits = ReplayLimits.none
    limits.decodedEventCountMax = decoded
    return limits
  }

  private func touched(_ count: Int) -> [Event] { [Event](repeating: .touched([]), count: count) }

  private func isLimit(_ problem: Verification.Problem) -> Bool {
    problem.message.contains("limit for a journal")
  }

  @Test("a frame of a few bytes that has very many events, or keys that were used")
  func bomb() throws {
    let used = Event.touched([SequenceNumber](repeating: SequenceNumber(2), count: 100))
    for events in [touched(20_000), [Event](repeating: used, count: 400)] {
      let journal = try CraftedJournal()
      try journal.append([journal.opened(memory: 5), journal.set("k:a")])
      try journal.append(events)
      let storage = try journal.close()
      for (most, isWithin) in [(1_000, false), (41_000, true)] {
        let found = Verifier(storage, limits: limits(most)) { nil }.run()
        #expect(found.isSound == isWithin, "\(found.problems)")
        #expect(found.problems.allSatisfy(isLimit), "\(found.problems)")
        #expect(isWithin || found.lastSequence == 2)
      }
      #expect(throws: DamageError.self) {
        _ = try EventStream(storage, limits: limits(1_000)).replay { _ in }
      }
      #expect(Verifier(storage) { nil }.run().isSound)
    }
  }

  @Test("what a cache writes itself needs nothing of it, however long it is")
  func honest() async throws {
    let lab = Lab(memory: 100) { $0.accessLog = .lookups }
    try await lab.open()
    for number in 0..<300 {
      try await lab.set("k:\(number % 120)", Array("value \(number)".utf8))
      _ = try await lab.get("k:\(number % 90)")
    }
    try await lab.close()
    // Headers of checkpoints are read before anything is known of the journal's size.
    #expect(Verifier(lab.storage, limits: limits(100)) { nil }.run().isSound)
  }

  /// Checkpoints of a state without entries, each behind a hole.
  private func holes(count: Int, isSame: Bool) throws -> SimulatedStorage {
    let journal = try CraftedJournal()
    let opened = journal.opened(memory: 5)
    try journal.append([opened])
    try journal.append(touched(20_000))
    for number in 1...UInt32(count) {
      journal.skip(10)
      try journal.checkpoint(
        number: number, last: journal.last, opened, position: .start(of: 7))
      if !isSame { try journal.appendNothing(count: 1) }
    }
    journal.skip(10)
    try journal.appendNothing(count: 1)
    return try journal.close()
  }

  private func holes(_ storage: SimulatedStorage, _ limits: ReplayLimits) throws -> [String] {
    var holes: [String] = []
    _ = try EventStream(storage, limits: limits).replay(
      hole: { holes.append($0.message) }, { _ in })
    return holes
  }

  @Test("checkpoints that lead to the same damage again and again")
  func sameDamage() throws {
    let storage = try holes(count: 50, isSame: true)
    #expect(try holes(storage, .none).count == 1)
    let found = Verifier(storage, limits: .none) { nil }.run()
    #expect(found.problems.map(\.file) == ["00000001.journal"], "\(found.problems)")
  }

  @Test("checkpoints that lead on by a frame each, through all that comes before it")
  func passedOver() throws {
    let storage = try holes(count: 50, isSame: false)
    #expect(try holes(storage, .none).count == 51)
    let ended = try holes(storage, limits(50_000))
    #expect(ended.count < 10 && ended.last?.contains("limit for a journal") == true, "\(ended)")
    let found = Verifier(storage, limits: limits(50_000)) { nil }.run()
    #expect(found.problems.count < 10 && found.problems.contains(where: isLimit))
  }
}
