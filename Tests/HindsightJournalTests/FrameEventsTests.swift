import HindsightCore
import Testing

@testable import HindsightJournal

@Suite("S042 the events of a frame")
struct FrameEventsTests {
  /// Events that take three bytes each.
  private func frame(_ count: Int) -> (body: [UInt8], header: FrameHeader, records: [Record]) {
    let records = (0..<count).map { number in
      Record(
        sequence: SequenceNumber(UInt64(number) + 10), at: Timestamp(rawValue: 5),
        event: .closed(clean: number % 2 == 0))
    }
    var open = OpenFrame()
    for record in records { open.append(record) }
    let body = open.take(Microseconds(rawValue: 0)).body
    return (body, header(body, count), records)
  }

  private func header(_ body: [UInt8], _ count: Int) -> FrameHeader {
    FrameHeader(
      encoding: .stored, storedByteCount: UInt32(body.count), rawByteCount: UInt32(body.count),
      count: UInt32(count), bodyChecksum: 0, first: SequenceNumber(10), durable: .zero,
      bootTime: 0, salt: 0, previousChecksum: 0)
  }

  @Test(
    "however many there are, they come in their order; few are kept decoded",
    arguments: [1, 1_000, FrameEvents.keptCountMax, FrameEvents.keptCountMax + 1, 200_000])
  func all(count: Int) throws {
    let (body, header, records) = frame(count)
    let events = try FrameEvents(body, header)
    for _ in 0..<2 {
      var found: [Record] = []
      events.forEachRecord { found.append($0) }
      #expect(found == records)
    }
    #expect(count <= FrameEvents.keptCountMax || events.byteCount == body.count)
    #expect(events.byteCount <= body.count + FrameEvents.keptCountMax * 256)
  }

  @Test("one wrong event among many is found before any is given", arguments: [100, 200_000])
  func wrong(count: Int) {
    var (body, header, _) = frame(count)
    body[body.count - 3] = 0xEE
    #expect(throws: FormatError.unknownTag(0xEE)) { try FrameEvents(body, header) }
    body[body.count - 3] = 2
    body.append(0)
    #expect(throws: FormatError.trailingBytes(1)) { try FrameEvents(body, header) }
  }
}
