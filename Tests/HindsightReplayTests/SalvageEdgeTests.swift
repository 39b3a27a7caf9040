import Hindsight
import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Testing

/// Damage that meets a salvage which was interrupted, or that makes one forget what it knows.
@Suite("S040 salvages at their edges")
struct SalvageEdgeTests {
  private func flip(_ storage: SimulatedStorage, _ name: String, at offset: Int) throws {
    var bytes = try #require(storage.bytes(of: name))
    bytes[offset < 0 ? bytes.count + offset : offset] ^= 1
    storage.setBytes(bytes, of: name)
  }

  @Test(
    "a salvage that was interrupted before a segment without a whole frame is done again",
    arguments: [false, true])
  func interrupted(hasTornTail: Bool) async throws {
    let lab = try await Lab.ofThreeSegments()
    let storage = lab.storage
    for name in storage.names where name.hasSuffix(".checkpoint") { storage.delete(name) }
    let bytes = try #require(storage.bytes(of: Lab.lastOfThree))
    let tail = hasTornTail ? Array(bytes[64..<200]) : []
    storage.setBytes(Array(bytes[..<64]) + tail, of: Lab.lastOfThree)
    try flip(storage, "00000001.journal", at: 100_000)
    storage.inject { operation, file in
      operation == .rename && file == Lab.lastOfThree ? .ioError : nil
    }
    lab.configuration.corruption = .salvage
    await #expect(throws: CacheError.self) { try await lab.open(storage) }
    lab.kill()
    storage.inject(nil)
    // Its segment continues long before the last one does: a hole that nobody may pass over.
    lab.configuration.corruption = .refuse
    let refused = await #expect(throws: CacheError.self) { try await lab.open(storage) }
    #expect(refused?.code == .journalCorrupt)
    #expect(refused?.message.contains(Lab.lastOfThree) == true)
    #expect(!lab.verify(storage).problems.isEmpty)
    lab.configuration.corruption = .salvage
    try await lab.open(storage)
    try await lab.set("k:new", [1])
    try await lab.sync()
    lab.crash()
    lab.configuration.corruption = .refuse
    try await lab.open(storage)
    #expect(try await lab.get("k:new") == [1])
    try await lab.end()
  }

  @Test("the numbers of a last frame whose header alone is whole are not used again")
  func numbers() throws {
    let journal = try CraftedJournal()
    try journal.append([journal.opened(memory: 10), journal.set("k:a")])
    try journal.append([journal.set("k:b")])
    try journal.writer.sync()
    try journal.writer.rotate()
    try journal.append([journal.set("k:c")])
    try journal.append([journal.set("k:d"), journal.set("k:e")])
    try journal.writer.sync()
    let last = journal.last
    let storage = try journal.close()
    for name in ["00000001.journal", "00000002.journal"] { try flip(storage, name, at: -1) }
    let options = JournalOptions { Timestamp(microseconds: 1) }
    let recovered = try JournalRecovery(storage, options, store: nil)
      .open(from: .newest, salvages: true, into: DeafSink())
    #expect(recovered.writer.durable > last)
  }

  @Test("nor are those of events that only a checkpoint's head speaks of, wherever its entries are")
  func numbersOfCheckpoint() throws {
    for isDamaged in [false, true] {
      let journal = try CraftedJournal()
      let opened = journal.opened(memory: 10)
      try journal.append([opened, journal.set("k:a")])
      try journal.writer.sync()
      // Of a segment that is lost.
      journal.skip(5)
      let last = journal.last
      try journal.checkpoint(number: 1, last: last, opened, position: .start(of: 2))
      let storage = try journal.close()
      if isDamaged { try flip(storage, "00000001.checkpoint", at: -1) }
      try flip(storage, "00000001.journal", at: -1)
      let options = JournalOptions { Timestamp(microseconds: 1) }
      let recovered = try JournalRecovery(storage, options, store: nil)
        .open(from: .newest, salvages: true, into: DeafSink())
      #expect(recovered.writer.durable >= last, "damaged: \(isDamaged)")
    }
  }

  @Test("a gap that the journal doesn't tell yet is told, also where older segments are cut out")
  func untoldGap() async throws {
    let journal = try CraftedJournal()
    let opened = journal.opened(memory: 5)
    try journal.append([opened, journal.set("k:a")])
    try journal.writer.sync()
    try journal.writer.rotate()
    try journal.appendNothing(count: 2)
    try journal.writer.sync()
    let first = journal.last.next
    journal.skip(4)
    try journal.checkpoint(
      number: 1, last: journal.last, opened, position: .start(of: 3), gapFirst: first)
    let storage = try journal.close()
    try flip(storage, "00000001.journal", at: 20)
    let lab = Lab(memory: 5) { $0.corruption = .salvage }
    try await lab.open(storage)
    #expect(lab.cache?.recovery.journal == .salvaged)
    try await lab.end()
    var gaps: [Gap] = []
    _ = try EventStream(storage).replay { event in
      if case .gap(let gap) = event.record.event { gaps.append(gap) }
    }
    #expect(gaps.contains { $0.first == first }, "\(gaps)")
  }

  @Test("a gap is told where the damage that is cut out begins with what told of it")
  func gapBeforeDamage() throws {
    let journal = try CraftedJournal()
    let opened = journal.opened(memory: 5)
    try journal.append([opened, journal.set("k:a")])
    try journal.writer.sync()
    let first = journal.last.next
    journal.skip(4)
    let bridged = journal.last
    try journal.checkpoint(
      number: 1, last: bridged, opened, position: .start(of: 2), gapFirst: first)
    try journal.writer.skip(through: bridged)
    try journal.append([.gap(Gap(first: first, last: bridged, cause: .writeFailed))])
    try journal.append([journal.set("k:b")])
    try journal.writer.sync()
    try journal.writer.rotate()
    try journal.append([journal.set("k:c")])
    try journal.writer.sync()
    let last = journal.last
    let storage = try journal.close()
    try flip(storage, "00000002.journal", at: 64 + 30)
    let options = JournalOptions { Timestamp(microseconds: 1) }
    let recovered = try JournalRecovery(storage, options, store: nil)
      .open(from: .newest, salvages: true, into: DeafSink())
    #expect(recovered.report.last == bridged)
    try recovered.writer.close()
    var gaps: [Gap] = []
    let end = try EventStream(storage).replay { event in
      if case .gap(let gap) = event.record.event { gaps.append(gap) }
    }
    #expect(end.tail == .end && end.last > last)
    #expect(
      gaps.contains { $0.first == bridged.next && $0.last == last && $0.cause == .salvaged },
      "\(gaps)")
    #expect(gaps.contains { $0.first == first && $0.cause == .writeFailed }, "\(gaps)")
  }
}
