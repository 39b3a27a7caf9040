import HindsightCore
import Testing

@testable import HindsightJournal

@Suite("S042 the open frame's memory")
struct OpenFrameTests {
  private let kibibyte = 1 << 10

  /// Appends about so many bytes, a kibibyte at a time.
  /// - Returns: the spares that were asked for meanwhile, in bytes.
  private func grow(_ frame: inout OpenFrame, by byteCount: Int, from sequence: inout UInt64)
    -> [Int]
  {
    var asked: [Int] = []
    for _ in 0..<byteCount / kibibyte {
      sequence += 1
      let set = ValueSet(
        key: Bytes("k:1".utf8), value: Bytes(repeating: 7, count: kibibyte - 32), coder: 1,
        memoryExpiry: nil, storeExpiry: nil, reason: nil)
      frame.append(
        Record(sequence: SequenceNumber(sequence), at: Timestamp(rawValue: 5), event: .set(set)))
      if let byteCount = frame.asksForSpare() { asked.append(byteCount) }
    }
    return asked
  }

  @Test("a frame that grows asks once for the next one's memory, and takes what it is given")
  func asksOnce() {
    var frame = OpenFrame()
    var sequence: UInt64 = 0
    #expect(grow(&frame, by: 7 * kibibyte, from: &sequence) == [])
    #expect(grow(&frame, by: 90 * kibibyte, from: &sequence) == [8 * kibibyte])
    frame.give(OpenFrame.Spare(byteCount: 8 * kibibyte))
    _ = frame.take(Microseconds(rawValue: 0))
    // Had it not been taken, none would be asked for.
    let asked = grow(&frame, by: 90 * kibibyte, from: &sequence)
    #expect(asked.count == 1 && asked.allSatisfy { (180 * kibibyte..<200 * kibibyte).contains($0) })
  }

  @Test(
    "a frame given nothing asks for the next one all the same; spares are as large as a full frame at most"
  )
  func asksForFullFrames() {
    var frame = OpenFrame()
    var sequence: UInt64 = 0
    for round in 0..<3 {
      let asked = grow(&frame, by: 300 * kibibyte, from: &sequence)
      #expect(asked == [round == 0 ? 8 * kibibyte : OpenFrame.byteCountMax])
      _ = frame.take(Microseconds(rawValue: 0))
    }
    // It keeps a spare that it doesn't need yet.
    #expect(grow(&frame, by: 10 * kibibyte, from: &sequence).count == 1)
    frame.give(OpenFrame.Spare(byteCount: 8 * kibibyte))
    #expect(grow(&frame, by: 10 * kibibyte, from: &sequence) == [])
  }

  @Test("memory that was given holds as many bytes as it says, without growing")
  func holds() {
    var frame = OpenFrame()
    frame.give(OpenFrame.Spare(byteCount: 64 * kibibyte))
    var sequence: UInt64 = 0
    _ = grow(&frame, by: kibibyte, from: &sequence)
    _ = frame.take(Microseconds(rawValue: 0))
    _ = grow(&frame, by: 64 * kibibyte, from: &sequence)
    let body = frame.take(Microseconds(rawValue: 0)).body
    #expect(body.count > 60 * kibibyte && (64 * kibibyte..<80 * kibibyte).contains(body.capacity))
  }
}
