import Hindsight
import HindsightCore
import HindsightJournal
import Testing

@testable import HindsightReplay
@testable import HindsightTesting

/// A stream of events gives the state that a checkpoint holds wherever that stands in for events.
@Suite("S040 states that a history begins with")
struct RestoredStateTests {
  /// What a stream gave: the states as "sequence: key's origin", the events by their names.
  private func told(_ storage: SimulatedStorage, _ key: String) throws -> [String] {
    final class Collector { var told: [String] = [] }
    let collector = Collector()
    _ = try EventStream(storage).replay(
      hole: { _ in collector.told.append("hole") },
      restored: { state in
        let slot = state.find(Array(key.utf8)[...])
        let origin = slot.map { "\(state.origin(of: $0))" } ?? "none"
        collector.told.append("\(state.head.sequence): \(origin)")
      },
      { event in
        switch event.record.event {
        case .gap(let gap): collector.told.append("gap to \(gap.last)")
        case .set(let set) where set.key.elementsEqual(key.utf8):
          collector.told.append("set \(event.record.sequence)")
        default: break
        }
      })
    return collector.told
  }

  @Test("behind a gap, after it was lost: the value that was set meanwhile")
  func gap() async throws {
    let lab = Lab(memory: 4) {
      $0.journalFailure = .continueInMemory
      $0.queues.unwrittenByteCountMax = 4 << 10
    }
    try await lab.open()
    try await lab.set("k:a", [1])
    try await lab.sync()
    lab.storage.inject { operation, _ in
      operation == .write || operation == .allocate ? .noSpace : nil
    }
    let noise = (0..<12).map { [UInt8](repeating: UInt8($0), count: 1_000) }
    for (number, value) in noise.enumerated() { try await lab.attempt("k:\(number)", value) }
    try await lab.attempt("k:a", [2])
    lab.storage.inject(nil)
    try await lab.recoverFromTrouble()
    try await lab.attemptSync()
    try await lab.end()
    let told = try told(lab.storage, "k:a")
    #expect(told.count == 3 && told[0] == "set 2", "\(told)")
    let state = try #require(told.dropFirst().first).split(separator: ": ")
    #expect(told.last == "gap to \(state[0])")
    #expect(try #require(UInt64(state[1])) > 2, "\(told)")
  }

  @Test("behind a hole, after what is wrong; at the beginning only where that is gone")
  func holes() async throws {
    let lab = try await Lab.ofThreeSegments()
    #expect(try told(lab.storage, "k:0") == ["set 2"])
    var bytes = try #require(lab.storage.bytes(of: "00000002.journal"))
    bytes[100_000] ^= 4
    lab.storage.setBytes(bytes, of: "00000002.journal")
    let crossed = try told(lab.storage, "k:0")
    #expect(crossed.count == 3 && crossed[..<2] == ["set 2", "hole"], "\(crossed)")
    #expect(crossed[2].hasSuffix(": 2"))
    lab.storage.delete("00000001.journal")
    lab.storage.delete("00000002.journal")
    let trimmed = try told(lab.storage, "k:0")
    #expect(trimmed.count == 1 && trimmed[0].hasSuffix(": 2"), "\(trimmed)")
  }

  @Test("a checkpoint that turns out damaged is no state; nor is one told twice")
  func damagedCheckpoint() throws {
    let journal = try CraftedJournal()
    let opened = journal.opened(memory: 5)
    try journal.append([opened])
    try journal.writer.rotate()
    try journal.checkpoint(number: 1, last: journal.last, opened, position: .start(of: 2))
    try journal.appendNothing(count: 2)
    try journal.writer.rotate()
    try journal.checkpoint(number: 2, last: journal.last, opened, position: .start(of: 3))
    let storage = try journal.close()
    storage.delete("00000001.journal")
    #expect(try told(storage, "k:none") == ["1: none"])
    // Its digest is another one, and its checksum right.
    var bytes = try #require(storage.bytes(of: "00000001.checkpoint"))
    bytes[48] ^= 1
    let checksum = JournalBytes.checksum(bytes[..<124])
    for at in 0..<4 { bytes[124 + at] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt32(at))) }
    storage.setBytes(bytes, of: "00000001.checkpoint")
    // Nothing follows the other one, and it is told all the same.
    #expect(try told(storage, "k:none") == ["3: none"])
  }

  @Test("an entry that is used again and again in one event is one key of it")
  func repeatedUse() throws {
    let journal = try CraftedJournal()
    try journal.append([journal.opened(memory: 5), journal.set("k:a"), journal.set("k:b")])
    let used = [2, 3, 2, 3, 3, 2].map { SequenceNumber($0) }
    try journal.append([.touched(used)])
    var keys: [String] = []
    _ = try EventStream(try journal.close()).replay { event in
      keys += event.touchedKeys.map { String(decoding: $0, as: UTF8.self) }
    }
    // The most recent last, as the event leaves them.
    #expect(keys == ["k:b", "k:a"])
  }
}
