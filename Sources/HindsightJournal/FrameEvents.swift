import HindsightCore

/// The events of one frame, all of which have been decoded once.
///
/// A frame of 64 MiB may hold 20 million events, which take a hundred times more once decoded than a
/// stranger's file has bytes: where they are many, they are decoded again as they are asked for.
struct FrameEvents: Sendable {
  /// So many are kept decoded at most.
  static let keptCountMax = 1 << 16

  /// Bytes of memory, about.
  let byteCount: Int
  private let body: [UInt8]
  private let header: FrameHeader
  private let decoded: [Record]?

  /// Checks a body, and decodes it.
  /// - Throws: `FormatError` where an event is wrong.
  init(_ body: [UInt8], _ header: FrameHeader) throws(FormatError) {
    (self.body, self.header) = (body, header)
    let isKept = header.count <= UInt32(Self.keptCountMax)
    var records: [Record] = []
    if isKept { records.reserveCapacity(Int(header.count)) }
    var decoder = EventDecoder(body, first: header.first)
    for _ in 0..<header.count {
      let record = try decoder.record()
      if isKept { records.append(record) }
    }
    guard decoder.isAtEnd else { throw .trailingBytes(decoder.remaining) }
    decoded = isKept ? records : nil
    byteCount = body.count + records.count * MemoryLayout<Record>.stride
  }

  /// Calls `body` with each event, in their order.
  func forEachRecord<Failure>(_ body: (Record) throws(Failure) -> Void) throws(Failure) {
    if let decoded {
      // A span lends its elements; an array copies them, and both threads count the references.
      let records = decoded.span
      for at in records.indices { try body(records[at]) }
      return
    }
    var decoder = EventDecoder(self.body, first: header.first)
    for _ in 0..<header.count { try body(Self.again(&decoder)) }
  }

  private static func again(_ decoder: inout EventDecoder) -> Record {
    do throws(FormatError) {
      return try decoder.record()
    } catch {
      preconditionFailure("the same bytes were events before: \(error)")
    }
  }
}
