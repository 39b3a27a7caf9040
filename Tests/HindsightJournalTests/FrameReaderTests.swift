import HindsightCore
import HindsightTesting
import Testing

@testable import HindsightJournal

/// What a reader takes for a frame of its segment.
@Suite("S040 walking a segment's frames")
struct FrameReaderTests {
  private let header = SegmentHeader(
    number: 1, journalID: JournalID(high: 1, low: 2), salt: 3, follows: .zero, createdAt: .zero)

  /// A frame of one event.
  private func frame(version: UInt8? = nil, salt: UInt64 = 3) -> [UInt8] {
    var open = OpenFrame()
    open.append(
      Record(sequence: SequenceNumber(7), at: Timestamp(rawValue: 5), event: .closed(clean: true)))
    let frame = StampedFrame(sealed: open.take(Microseconds(rawValue: 0)), durable: .zero)
    var bytes = frame.encoded(
      nil, salt: salt, previousChecksum: header.encoded().checksum
    ).bytes
    if let version {
      bytes[4] = version
      let checksum = bytes.checksum(0..<60)
      for at in 0..<4 { bytes[60 + at] = UInt8(truncatingIfNeeded: checksum >> (8 * at)) }
    }
    return bytes
  }

  /// A reader of a segment with these bytes behind its header.
  private func reader(_ parts: (at: Int, bytes: [UInt8])...) throws -> FrameReader {
    let storage = SimulatedStorage()
    let file = try storage.create("1")
    let (bytes, checksum) = header.encoded()
    try file.write(bytes, at: 0)
    for part in parts {
      try file.write(part.bytes, at: UInt64(Format.segmentHeaderByteCount + part.at))
    }
    return FrameReader(
      JournalDirectory.Segment(header: header, headerChecksum: checksum, file: file))
  }

  @Test("a frame of the segment is one; of another version or another segment it is none")
  func belongs() throws {
    var own = try reader((0, frame()))
    guard case .frame(let found) = try own.next() else {
      Issue.record("no frame")
      return
    }
    #expect(found.header.first == SequenceNumber(7))
    var passing = try reader((0, frame()))
    #expect(try passing.skip()?.first == SequenceNumber(7))

    let other = try #require(Format.versions.first { $0 != header.version })
    for (bytes, refusal) in [
      (frame(version: other), FormatError.unknownVersion(other)),
      (frame(salt: 4), FormatError.badField("salt")),
    ] {
      var reader = try reader((0, bytes))
      guard case .bad(let error) = try reader.next() else {
        Issue.record("\(refusal) is passed over")
        continue
      }
      #expect(error == refusal)
      var passing = try self.reader((0, bytes))
      #expect(try passing.skip() == nil, "\(refusal)")
    }
  }

  @Test("behind damage a frame is found wherever it begins, also where one piece that is read ends")
  func behindDamage() throws {
    // Pieces are of a mebibyte; what is searched of the first one ends a header before that.
    let pieceEnd = 1 << 20
    let starts = Array(1...9) + Array(pieceEnd - 80...pieceEnd + 8) + [2 * pieceEnd - 100]
    for start in starts {
      var reader = try reader((0, [1]), (start, frame()))
      guard case .bad = try reader.next() else {
        Issue.record("damage is passed over")
        continue
      }
      let aftermath = try reader.aftermath()
      #expect(aftermath.highest == SequenceNumber(7), "a frame that begins at \(start)")
      #expect(try reader.skipDamage() != nil, "a frame that begins at \(start)")
      guard case .frame = try reader.next() else {
        Issue.record("no frame at \(start)")
        continue
      }
    }
  }

  @Test("what is left of another segment behind damage tells nothing")
  func othersBehindDamage() throws {
    var reader = try reader((0, [1]), (100, frame(salt: 4)))
    _ = try reader.next()
    #expect(try reader.aftermath().highest == .zero)
    #expect(try reader.skipDamage() == nil)
  }
}
