import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Testing

/// Where retention stops at a segment without a checkpoint at its beginning, its events can't be applied.
@Suite("S040 events that no checkpoint leads to")
struct UnreachedEventsTests {
  /// What is left of a journal of four segments: the second to the fourth, and a checkpoint at the beginning
  /// of the last one. The second has events 2 to 5, the third 6 to 9.
  private func journal() throws -> SimulatedStorage {
    let journal = try CraftedJournal()
    let opened = journal.opened(memory: 5)
    try journal.append([opened])
    for _ in 0..<2 {
      try journal.writer.rotate()
      try journal.appendNothing(count: 2)
      try journal.appendNothing(count: 2)
    }
    try journal.writer.rotate()
    try journal.checkpoint(number: 1, last: journal.last, opened, position: .start(of: 4))
    try journal.appendNothing(count: 3)
    let storage = try journal.close()
    storage.delete("00000001.journal")
    return storage
  }

  @Test("a verification and a stream of events say which these are")
  func whole() throws {
    let storage = try journal()
    let found = Verifier(storage) { nil }.run()
    #expect(found.isSound && found.segments == 3 && found.events == 3, "\(found.problems)")
    #expect(found.notes.contains { $0.contains("no checkpoint leads to events 2 to 9") })
    let end = try EventStream(storage).replay { _ in }
    let all = SequenceNumber(2)...SequenceNumber(9)
    #expect(end.unreached == all && end.follows == all.upperBound)
    var told: [ClosedRange<SequenceNumber>] = []
    let passedOver = try EventStream(storage)
      .replay(hole: { Issue.record("\($0)") }, unreached: { told.append($0) }, { _ in })
    #expect(passedOver.isEmpty && told == [all])
  }

  @Test("a journal that is all there has none")
  func none() async throws {
    let lab = try await Lab.ofThreeSegments()
    #expect(try EventStream(lab.storage).replay { _ in }.unreached == nil)
    #expect(!lab.verify(lab.storage).notes.contains { $0.contains("no checkpoint leads") })
  }

  @Test(
    "a verification finds damage in them, and goes on behind it",
    arguments: ["00000002.journal", "00000003.journal"])
  func damaged(name: String) throws {
    for offset in [70, 130, 140, 180] {
      let storage = try journal()
      var bytes = try #require(storage.bytes(of: name))
      bytes[offset] ^= 1
      storage.setBytes(bytes, of: name)
      let found = Verifier(storage) { nil }.run()
      #expect(found.problems.map(\.file) == [name], "offset \(offset): \(found.problems)")
      #expect(found.events == 3)
    }
    let storage = try journal()
    for name in ["00000002.journal", "00000003.journal"] {
      var bytes = try #require(storage.bytes(of: name))
      bytes[70] ^= 1
      storage.setBytes(bytes, of: name)
    }
    let found = Verifier(storage) { nil }.run()
    #expect(found.problems.map(\.file) == ["00000002.journal", "00000003.journal"])
  }

  @Test("a verification finds events that are missing or repeated among them")
  func order() throws {
    let journal = try CraftedJournal()
    let opened = journal.opened(memory: 5)
    try journal.append([opened])
    try journal.writer.rotate()
    try journal.appendNothing(count: 2)
    journal.skip(1)
    try journal.appendNothing(count: 2)
    try journal.writer.rotate()
    try journal.checkpoint(number: 1, last: journal.last, opened, position: .start(of: 3))
    try journal.appendNothing(count: 1)
    let storage = try journal.close()
    storage.delete("00000001.journal")
    let found = Verifier(storage) { nil }.run()
    #expect(found.problems.map(\.file) == ["00000002.journal"], "\(found.problems)")
    #expect(found.problems.first?.offset != nil)
  }
}
