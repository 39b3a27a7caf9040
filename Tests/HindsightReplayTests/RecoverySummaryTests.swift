import Foundation
import Hindsight
import HindsightCore
import HindsightReplay
import HindsightTesting
import Testing

@Suite("S040 what a recovery says")
struct RecoverySummaryTests {
  @Test("summary and event name the place, and count what was dropped")
  func tornTail() async throws {
    let lab = Lab()
    try await lab.open()
    try await lab.set("k:1", [1])
    let last = lab.lastSequence
    try await lab.set("k:2", [2])
    lab.kill()
    let name = "00000001.journal"
    var bytes = try #require(lab.storage.bytes(of: name))
    let end = try #require(bytes.lastIndex { $0 != 0 }) + 1
    let frame = try #require(Data(bytes).range(of: Data("HFRM".utf8), options: .backwards))
    bytes[end - 1] ^= 1
    lab.storage.setBytes(bytes, of: name)
    try await lab.open(lab.storage)
    let found = try #require(lab.cache).recovery
    #expect(found.journal == .tornTail && !found.wasClean && found.lastSequence == last)
    #expect(found.segment == 1 && found.byteOffset == UInt64(frame.lowerBound))
    #expect(found.droppedBytes == UInt64(end - frame.lowerBound))
    #expect(found.replayedEvents == Int(last) && found.checkpoint == nil)
    #expect(found.quarantined.count == 1 && found.lostValues == 0 && found.damage.isEmpty)
    try await lab.end()
    var told: [Recovered] = []
    _ = try EventStream(lab.storage).replay { event in
      if case .recovered(let it) = event.record.event { told.append(it) }
    }
    #expect(
      told == [
        Recovered(
          cause: .tornTail, segment: 1, byteOffset: UInt64(frame.lowerBound),
          byteCountDropped: UInt64(end - frame.lowerBound))
      ])
  }
}
