import Hindsight
import Testing

@testable import HindsightTesting

@Suite("S040 the chain of frames")
struct ChainTests {
  /// A block that came back from an earlier life, or from somebody's hand. Nothing follows the last
  /// frame, so nothing could tell there.
  @Test("another frame with right checksums, in the place of one, is noticed by the next")
  func replacedFrame() async throws {
    let lab = Lab()
    try await lab.open()
    for number in 0..<4 as Range<UInt8> {
      try await lab.set("k:\(number)", [number, 0xAA, 0xBB, 0xCC])
      try await lab.sync()
    }
    lab.kill()
    var journal = JournalBytes(try #require(lab.storage.bytes(of: "00000001.journal")))
    let offsets = journal.frameOffsets
    let place = try #require(
      offsets.indices.dropLast(2).first { place in
        journal.value(inFrameAt: offsets[place], [1, 0xAA, 0xBB, 0xCC]) != nil
      })
    let value = try #require(journal.value(inFrameAt: offsets[place], [1, 0xAA, 0xBB, 0xCC]))
    journal.bytes[value] = 9
    let body = journal.bytes[offsets[place] + 64..<journal.end(ofFrameAt: offsets[place])]
    journal.set(UInt64(JournalBytes.checksum(body)), at: offsets[place] + 20, byteCount: 4)
    journal.sealHeader(at: offsets[place])
    lab.storage.setBytes(journal.bytes, of: "00000001.journal")
    for name in lab.storage.names where name.hasSuffix(".checkpoint") { lab.storage.delete(name) }
    let next = offsets[place + 1]
    await #expect {
      try await lab.open(lab.storage)
    } throws: { error in
      (error as? CacheError)?.code == .journalCorrupt && "\(error)".contains("offset \(next)")
    }
    let problems = lab.verify(lab.storage).problems
    #expect(problems.contains { $0.message.contains("previous checksum") }, "\(problems)")
  }
}

extension JournalBytes {
  /// Where a frame's body has these bytes.
  fileprivate func value(inFrameAt offset: Int, _ value: [UInt8]) -> Int? {
    let end = end(ofFrameAt: offset)
    return (offset + 64..<end - value.count).first {
      bytes[$0..<$0 + value.count].elementsEqual(value)
    }
  }
}
