import Hindsight
import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Testing

/// An opening believes a checkpoint where the journal goes on, so a verification doesn't.
@Suite("S040 where checkpoints go on")
struct CheckpointPlaceTests {
  /// What is wrong with the place.
  enum Wrong: CaseIterable {
    case nothing, segmentStart, beyond, frameBefore, insideFrame, checksum
  }

  /// A segment of three frames, and a checkpoint behind the second one.
  private func journal(_ wrong: Wrong) throws -> SimulatedStorage {
    let journal = try CraftedJournal()
    let opened = journal.opened(memory: 5)
    try journal.append([opened])
    let before = journal.writer.end
    try journal.appendNothing(count: 2)
    let end = journal.writer.end
    var (last, position, checksum) = (journal.last, end.position, end.previousChecksum)
    try journal.appendNothing(count: 3)
    switch wrong {
    case .nothing: break
    case .segmentStart: position = .start(of: position.segment)
    case .beyond: position.byteOffset += 4_000
    case .frameBefore: position = before.position
    case .insideFrame: last = SequenceNumber(last.rawValue - 1)
    case .checksum: checksum ^= 1
    }
    try journal.checkpoint(
      number: 1, last: last, opened, position: position, previousChecksum: checksum)
    let storage = try journal.close()
    // Space that was allocated ahead, as a killed writer leaves it.
    let bytes = try #require(storage.bytes(of: "00000001.journal"))
    storage.setBytes(bytes + [UInt8](repeating: 0, count: 8_000), of: "00000001.journal")
    return storage
  }

  @Test("a verification names a checkpoint that goes on elsewhere", arguments: Wrong.allCases)
  func place(wrong: Wrong) throws {
    let found = Verifier(try journal(wrong)) { nil }.run()
    #expect(found.lastSequence == 6 && found.events == 6)
    // From its segment's beginning all that a checkpoint contains is passed over.
    let isRight = wrong == .nothing || wrong == .segmentStart
    #expect(
      found.problems.map(\.file) == (isRight ? [] : ["00000001.checkpoint"]), "\(found.problems)")
    if wrong == .beyond {
      let says = found.notes.contains { $0.contains("drops what follows event 3") }
      #expect(says, "\(found.notes)")
    }
  }

  @Test(
    "a verification compares a checkpoint with the replayed state, whatever its own digest says")
  func state() throws {
    for (limit, isRight) in [(UInt64(5), true), (6, false)] {
      let journal = try CraftedJournal()
      try journal.append([journal.opened(memory: 5)])
      try journal.appendNothing(count: 2)
      try journal.checkpoint(
        number: 1, last: journal.last, journal.opened(memory: limit),
        position: journal.writer.end.position,
        previousChecksum: journal.writer.end.previousChecksum)
      let found = Verifier(try journal.close()) { nil }.run()
      #expect(found.checkpointsReplayed == (isRight ? 1 : 0))
      #expect(found.isSound == isRight)
      #expect(
        found.problems.allSatisfy { "\($0)".contains("digest") }, "\(found.problems)")
      #expect(found.events == 3 && found.limitChecks == 1 && found.ttlChecks == 0)
    }
  }

  @Test("a journal whose numbers leave no room for another event is refused")
  func noRoom() async throws {
    for (isLast, last) in [(false, UInt64(1) << 61 - 3), (true, 1 << 61 - 2)] {
      let journal = try CraftedJournal()
      try journal.append([journal.opened(memory: 5)])
      let gap = Gap(first: journal.last.next, last: SequenceNumber(last), cause: .storeAhead)
      journal.skip(last - journal.last.rawValue)
      try journal.append([.gap(gap), .closed(clean: true)])
      let lab = Lab()
      do {
        try await lab.open(try journal.close())
        #expect(!isLast)
        try await lab.end()
      } catch let error as CacheError {
        #expect(isLast && error.code == .journalCorrupt && error.message.contains("no room"))
      }
    }
  }

  @Test("also of the checkpoint that the replay begins with", arguments: Wrong.allCases)
  func first(wrong: Wrong) throws {
    let journal = try CraftedJournal()
    let opened = journal.opened(memory: 5)
    try journal.append([opened])
    try journal.writer.rotate()
    try journal.appendNothing(count: 2)
    let before = journal.writer.end
    try journal.appendNothing(count: 2)
    let end = journal.writer.end
    var (last, position, checksum) = (journal.last, end.position, end.previousChecksum)
    switch wrong {
    case .nothing: break
    case .segmentStart: position = .start(of: position.segment)
    case .beyond: position.byteOffset -= 1
    case .frameBefore: position = before.position
    case .insideFrame: last = SequenceNumber(last.rawValue - 1)
    case .checksum: checksum ^= 1
    }
    try journal.checkpoint(
      number: 1, last: last, opened, position: position, previousChecksum: checksum)
    let storage = try journal.close()
    storage.delete("00000001.journal")
    let found = Verifier(storage) { nil }.run()
    let isRight = wrong == .nothing || wrong == .segmentStart
    let isNamed = found.problems.contains { $0.file == "00000001.checkpoint" }
    #expect(isNamed == !isRight, "\(found.problems)")
    #expect(found.isSound == isRight, "\(found.problems)")
  }
}
