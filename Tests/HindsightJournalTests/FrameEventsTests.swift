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
    let events = try FrameEvents(body, header, lendsSets: false)
    for _ in 0..<2 {
      #expect(events.records == records)
    }
    #expect(count <= FrameEvents.keptCountMax || events.byteCount == body.count)
    #expect(events.byteCount <= body.count + FrameEvents.keptCountMax * 256)
  }

  @Test(
    "sets come lent among other events, in their order, however many there are",
    arguments: [3, 1_000, FrameEvents.keptCountMax + 1])
  func lent(count: Int) throws {
    var open = OpenFrame()
    let records = (0..<count).map { number in
      let set = ValueSet(
        key: Bytes("k:\(number)".utf8), value: Bytes("\(number)".utf8), coder: 1,
        memoryExpiry: Timestamp(rawValue: 9), storeExpiry: nil,
        reason: number % 5 == 1 ? "because" : nil)
      return Record(
        sequence: SequenceNumber(UInt64(number) + 10), at: Timestamp(rawValue: 5),
        event: number % 3 == 2 ? .closed(clean: true) : .set(set))
    }
    for record in records { open.append(record) }
    let body = open.take(Microseconds(rawValue: 0)).body
    let events = try FrameEvents(body, header(body, count), lendsSets: true)
    var lentCount = 0
    events.forEach(record: { _ in }, set: { _ in lentCount += 1 }, end: {})
    #expect(lentCount == (0..<count).count { $0 % 3 != 2 && $0 % 5 != 1 })
    for _ in 0..<2 { #expect(events.records == records) }
  }

  @Test("one wrong event among many is found before any is given", arguments: [100, 200_000])
  func wrong(count: Int) {
    var (body, header, _) = frame(count)
    body[body.count - 3] = 0xEE
    #expect(throws: FormatError.unknownTag(0xEE)) {
      try FrameEvents(body, header, lendsSets: false)
    }
    body[body.count - 3] = 2
    body.append(0)
    #expect(throws: FormatError.trailingBytes(1)) {
      try FrameEvents(body, header, lendsSets: false)
    }
  }
}

extension FrameEvents {
  /// All events, whether or not they come lent. Expects their end to be told once, behind them.
  var records: [Record] {
    var records: [Record] = []
    var ends = 0
    forEach(
      record: {
        #expect(ends == 0)
        records.append($0)
      },
      set: { set in
        #expect(ends == 0 && set.valueHash == XXH64.hash(set.value))
        let value = ValueSet(
          key: Bytes(set.key), value: Bytes(set.value), coder: set.fact.coder,
          memoryExpiry: set.fact.memoryExpiry, storeExpiry: set.fact.storeExpiry, reason: nil)
        records.append(
          Record(sequence: set.fact.sequence, at: set.fact.at, event: .set(value)))
      }, end: { ends += 1 })
    #expect(ends == 1)
    return records
  }
}
