import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightTesting
import SystemPackage
import Testing

/// What a verification and a stream of events say of damage is what there is, and what an opening does.
@Suite("S040 what is said of damage")
struct DamagedHistoryTests {
  private static let last = Lab.lastOfThree

  private func flip(_ storage: SimulatedStorage, _ name: String, at offset: Int) throws {
    var bytes = try #require(storage.bytes(of: name))
    bytes[offset] ^= 4
    storage.setBytes(bytes, of: name)
  }

  private struct History {
    var sequences: [UInt64] = []
    var holes: [Verification.Problem] = []
    var passedOver: [Verification.Problem] = []
  }

  private func history(_ storage: SimulatedStorage) throws -> History {
    final class Collector { var history = History() }
    let collector = Collector()
    let passedOver = try EventStream(storage).replay(
      hole: { collector.history.holes.append($0) },
      { collector.history.sequences.append($0.record.sequence.rawValue) })
    collector.history.passedOver = passedOver
    return collector.history
  }

  // MARK: Events

  @Test("events end where their reader wants no more, and tell nothing of what comes behind")
  func stopped() async throws {
    struct Enough: Error {}
    let lab = try await Lab.ofThreeSegments()
    lab.storage.delete(Self.last)
    var sequences: [UInt64] = []
    #expect(throws: Enough.self) {
      _ = try EventStream(lab.storage).replay(
        hole: { Issue.record("\($0)") },
        { event in
          sequences.append(event.record.sequence.rawValue)
          if sequences.count == 3 { throw Enough() }
        })
    }
    #expect(sequences == [1, 2, 3])
  }

  @Test("events name the segment that is missing at the end")
  func missingLastSegment() async throws {
    let lab = try await Lab.ofThreeSegments()
    let whole = try history(lab.storage)
    #expect(whole.holes.isEmpty)
    lab.storage.delete(Self.last)
    let found = try history(lab.storage)
    #expect(found.sequences.count < whole.sequences.count)
    #expect(found.holes.map(\.file) == [Self.last], "\(found.holes)")
    #expect(found.holes.first?.message.contains("missing") == true)
    // Also where the newest checkpoint ends with the segment before it.
    lab.storage.delete("00000003.checkpoint")
    #expect(try history(lab.storage).holes.map(\.file) == [Self.last])
  }

  @Test("events go on behind damage, from the next checkpoint")
  func behindDamage() async throws {
    let lab = try await Lab.ofThreeSegments()
    let last = lab.history.keys.max()
    try flip(lab.storage, "00000002.journal", at: 100_000)
    let found = try history(lab.storage)
    #expect(found.sequences.first == 1 && found.sequences.last == last)
    #expect(zip(found.sequences, found.sequences.dropFirst()).count { $0 + 1 != $1 } == 1)
    #expect(found.holes.map(\.file) == ["00000002.journal"], "\(found.holes)")
  }

  @Test("events go on behind what a salvage cut out")
  func behindSalvage() async throws {
    let lab = try await Lab.ofThreeSegments()
    let bytes = try #require(lab.storage.bytes(of: Self.last))
    lab.storage.setBytes([UInt8](bytes.dropLast(200)), of: Self.last)
    lab.configuration.corruption = .salvage
    try await lab.open(lab.storage)
    #expect(lab.cache?.recovery.journal == .salvaged)
    try await lab.set("k:after", [1])
    let set = lab.lastSequence
    try await lab.end()
    let found = try history(lab.storage)
    #expect(found.sequences.contains(set))
    #expect(found.holes.map(\.file) == [Self.last], "\(found.holes)")
  }

  @Test("events say that the history begins late where the oldest checkpoint is damaged")
  func damagedOldestCheckpoint() async throws {
    let lab = try await Lab.ofThreeSegments()
    lab.storage.delete("00000001.journal")
    #expect(try history(lab.storage).passedOver.isEmpty)
    try flip(lab.storage, "00000001.checkpoint", at: 5_000)
    let found = try history(lab.storage)
    #expect(!found.sequences.isEmpty)
    #expect(found.passedOver.map(\.file) == ["00000001.checkpoint"])
  }

  @Test("a segment of another journal in the first one's place leaves ours what it is")
  func foreignFirstSegment() async throws {
    let other = Lab(memory: 4)
    try await other.open()
    try await other.set("other:1", [1])
    try await other.close()
    let lab = try await Lab.ofThreeSegments()
    let whole = try history(lab.storage)
    let foreign = try #require(other.storage.bytes(of: "00000001.journal"))
    lab.storage.setBytes(foreign, of: "00000001.journal")
    let found = try history(lab.storage)
    #expect(!found.sequences.isEmpty && found.sequences.last == whole.sequences.last)
    let verified = lab.verify(lab.storage)
    #expect(verified.segments == 2)
    #expect(verified.problems.first?.file == "00000001.journal", "\(verified.problems)")
    #expect(verified.problems.first?.message.contains("belongs to journal") == true)
    // A repair opens the cache so.
    #expect(try LastOpened.read(lab.storage)?.memoryLimit.entryCountMax == 100)
  }

  // MARK: Verification

  @Test("damage in the last segment that a checkpoint of the end covers: opening is not refused")
  func coveredTail() async throws {
    let lab = try await Lab.ofThreeSegments()
    let last = try #require(lab.history.keys.max())
    try flip(lab.storage, Self.last, at: 5_000)
    let found = lab.verify(lab.storage)
    #expect(found.problems.map(\.file) == [Self.last], "\(found.problems)")
    #expect(found.problems.first?.message.contains("a checkpoint contains what follows") == true)
    #expect(found.notes.count == 1 && found.notes[0].contains("is not refused"), "\(found.notes)")
    #expect(found.isClosed && found.lastSequence == last && found.damagedThrough == last)
    try await lab.open(lab.storage)
    #expect(lab.cache?.recovery.wasClean == true && lab.cache?.count.memory == 65)
    try await lab.end()
  }

  @Test("an empty last segment: the others are verified all the same")
  func emptyLastSegment() async throws {
    let lab = try await Lab.ofThreeSegments()
    lab.storage.delete("00000003.checkpoint")
    lab.storage.setBytes([], of: Self.last)
    let found = lab.verify(lab.storage)
    #expect(found.segments == 2 && found.events > 40 && found.checkpoints == 2)
    #expect(found.problems.map(\.file) == [Self.last], "\(found.problems)")
    #expect(found.notes.contains { $0.contains("is refused") }, "\(found.notes)")
    #expect(try history(lab.storage).sequences.count == found.events)
    await #expect(throws: CacheError.self) { try await lab.open(lab.storage) }
  }

  @Test("checkpoints without any segment are damage")
  func noSegments() async throws {
    let lab = try await Lab.ofThreeSegments()
    for name in lab.storage.names where name.hasSuffix(".journal") { lab.storage.delete(name) }
    let found = lab.verify(lab.storage)
    #expect(found.problems.count == 1, "\(found.problems)")
    #expect(found.problems.first?.message.contains("no segment") == true)
    #expect(found.checkpoints == 3)
  }

  @Test(
    "what can't be read is no damage",
    arguments: ["00000001.journal", "00000003.journal", "00000003.checkpoint"])
  func unreadable(name: String) async throws {
    let lab = try await Lab.ofThreeSegments()
    lab.storage.inject { operation, file in
      operation == .open && file == name ? .permissionDenied : nil
    }
    let found = lab.verify(lab.storage)
    #expect(!found.isSound && found.problems.allSatisfy(\.isFailure), "\(found.problems)")
    #expect(found.problems.count == 1, "\(found.problems)")
    #expect(found.failure?.file == name)
    #expect(name != "00000003.checkpoint" || found.lastSequence == lab.history.keys.max())
    #expect(!found.notes.contains { $0.contains("refused") }, "\(found.notes)")
    #expect {
      _ = try self.history(lab.storage)
    } throws: { ($0 as? DamageError)?.storageFailure?.file == name }
  }

  @Test("whether an opening is refused is said as it is, for random bytes of any file")
  func openings() async throws {
    let lab = try await Lab.ofThreeSegments()
    let whole = lab.storage
    let files = whole.names.filter { $0 != "lock" }
    var random = SplitMix64(seed: 21)
    var outcomes: [Bool: Int] = [:]
    for round in 0..<60 {
      let name = try #require(files.randomElement(using: &random))
      let damaged = whole.copy()
      let bytes = try #require(whole.bytes(of: name))
      let used = (bytes.lastIndex { $0 != 0 } ?? 0) + 1
      // At the end, too, where closing wrote.
      let at = Int.random(in: (round % 2 == 0 ? 0 : used - 100)..<used, using: &random)
      switch round % 3 {
      case 0: damaged.delete(name)
      case 1: damaged.setBytes([UInt8](bytes[..<at]), of: name)
      default: try flip(damaged, name, at: at)
      }
      let what = "round \(round): \(name) at \(at)"
      let found = lab.verify(damaged)
      var isRefused = false
      do {
        try await lab.open(damaged.copy())
        try await lab.end()
      } catch let error as CacheError {
        #expect(error.code == .journalCorrupt)
        isRefused = true
      }
      outcomes[isRefused, default: 0] += 1
      #expect(found.notes.contains { $0.contains("is refused") } == isRefused, "\(what): \(found)")
      #expect(!isRefused || !found.isSound, "\(what)")
      if !found.isSound, !isRefused {
        let says = found.notes.contains { $0.contains("is not refused") }
        #expect(says || found.problems.contains { $0.message.contains("torn tail") }, "\(what)")
      }
    }
    #expect(outcomes.count == 2, "\(outcomes)")
  }
}
