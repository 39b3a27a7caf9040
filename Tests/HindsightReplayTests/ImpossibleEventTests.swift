import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Testing

/// An event that can't be is what a verification is there to find: it says so, whatever of it is in the
/// state by then.
@Suite("S040 events that can't be")
struct ImpossibleEventTests {
  enum Kind: CaseIterable { case set, lentSet, opened, promoted }

  /// Two frames; the second has an event that goes beyond a limit behind one that doesn't.
  private func journal(_ kind: Kind) throws -> SimulatedStorage {
    let journal = try CraftedJournal()
    switch kind {
    case .set, .lentSet:
      let reason = kind == .set ? "test" : nil
      try journal.append([journal.opened(memory: 1)])
      try journal.append([
        journal.set("k:a", reason: reason), journal.set("k:b", reason: reason),
      ])
    case .opened:
      try journal.append([journal.opened(memory: 5), journal.set("k:a"), journal.set("k:b")])
      try journal.append([journal.opened(memory: 4), journal.opened(memory: 1)])
    case .promoted:
      try journal.append([
        journal.opened(memory: 1, store: 5), journal.set("k:a", store: true),
      ])
      try journal.append([
        journal.set("k:b", memory: false, store: true),
        .promoted(origin: SequenceNumber(3), memoryExpiry: Timestamp(microseconds: 1_001)),
      ])
    }
    return try journal.close()
  }

  @Test("a verification names what breaks INV017, and goes no further", arguments: Kind.allCases)
  func limits(kind: Kind) throws {
    let storage = try journal(kind)
    let found = Verifier(storage) { nil }.run()
    #expect(found.problems.map(\.file) == ["00000001.journal"], "\(found.problems)")
    #expect(found.problems.first?.message.contains("limit") == true, "\(found.problems)")
    // The frame isn't in, nor is any event of it.
    let whole = SimulatedStorage()
    let bytes = try #require(storage.bytes(of: "00000001.journal"))
    let offset = try #require(found.problems.first?.offset)
    whole.setBytes(Array(bytes[..<Int(offset)]), of: "00000001.journal")
    let before = Verifier(whole) { nil }.run()
    #expect(before.isSound && before.lastSequence > 0)
    #expect(found.lastSequence == before.lastSequence && found.digest == before.digest)
  }
}
