public import HindsightCore

/// The frame that events are appended to: encoded as they come, cut between decisions.
public struct OpenFrame: Sendable {
  private var body: [UInt8] = []
  private var previousAt = Timestamp.zero
  private var first = SequenceNumber.zero
  private var last = SequenceNumber.zero
  private var count: UInt32 = 0

  public init() {}

  /// Bytes of encoded events so far.
  public var byteCount: Int { body.count }
  public var isEmpty: Bool { count == 0 }

  /// Appends an event. A `gap` must be a frame's first event.
  public mutating func append(_ record: Record) {
    if count == 0 {
      first = record.sequence
      previousAt = .zero
    }
    body.append(record, previousAt: previousAt)
    previousAt = record.at
    last = record.sequence
    count += 1
  }

  /// Hands the events over without copying them, and starts anew.
  public mutating func take() -> SealedFrame {
    let sealed = SealedFrame(body: body, first: first, last: last, count: count)
    body = []
    body.reserveCapacity(sealed.body.count)
    count = 0
    return sealed
  }
}

/// A frame's events, encoded and not yet compressed.
public struct SealedFrame: Sendable {
  let body: [UInt8]
  public let first: SequenceNumber
  public let last: SequenceNumber
  public let count: UInt32

  /// Bytes of encoded events.
  public var byteCount: Int { body.count }
}

/// The fixed part of a frame; see Format.swift.
struct FrameHeader: Equatable {
  var isDeflated: Bool
  var storedByteCount: UInt32
  var rawByteCount: UInt32
  var count: UInt32
  var bodyChecksum: UInt32
  var first: SequenceNumber
  var durable: SequenceNumber
  var bootTime: UInt64
  var salt: UInt64
  var previousChecksum: UInt32

  /// The sequence of the last event.
  var last: SequenceNumber { SequenceNumber(first.rawValue + UInt64(count) - 1) }

  /// The header's bytes, and their checksum, which the next frame repeats.
  func encoded() -> (bytes: [UInt8], checksum: UInt32) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Format.frameHeaderByteCount)
    bytes.append(fixed: Format.frameMagic)
    bytes.append(Format.version)
    bytes.append(isDeflated ? 1 : 0)
    bytes.append(fixed: UInt16(0))
    bytes.append(fixed: storedByteCount)
    bytes.append(fixed: rawByteCount)
    bytes.append(fixed: count)
    bytes.append(fixed: bodyChecksum)
    bytes.append(fixed: first.rawValue)
    bytes.append(fixed: durable.rawValue)
    bytes.append(fixed: bootTime)
    bytes.append(fixed: salt)
    bytes.append(fixed: previousChecksum)
    let checksum = bytes.checksum(0..<60)
    bytes.append(fixed: checksum)
    return (bytes, checksum)
  }

  /// Decodes 64 bytes. The lengths are within bounds when this returns.
  /// - Throws: `FormatError` where they are no frame header.
  init(_ bytes: [UInt8]) throws(FormatError) {
    guard bytes.count >= Format.frameHeaderByteCount else { throw .truncated }
    guard bytes.fixed(0, as: UInt32.self) == Format.frameMagic else { throw .badMagic }
    guard bytes.fixed(60, as: UInt32.self) == bytes.checksum(0..<60) else {
      throw .headerChecksum
    }
    guard bytes[4] == Format.version else { throw .unknownVersion(bytes[4]) }
    guard bytes[5] <= 1, bytes.fixed(6, as: UInt16.self) == 0 else { throw .badField("flags") }
    isDeflated = bytes[5] == 1
    storedByteCount = bytes.fixed(8)
    rawByteCount = bytes.fixed(12)
    count = bytes.fixed(16)
    bodyChecksum = bytes.fixed(20)
    first = SequenceNumber(bytes.fixed(24, as: UInt64.self))
    durable = SequenceNumber(bytes.fixed(32, as: UInt64.self))
    bootTime = bytes.fixed(40)
    salt = bytes.fixed(48)
    previousChecksum = bytes.fixed(56)
    for length in [storedByteCount, rawByteCount] where length > UInt32(Format.bodyByteCountMax) {
      throw .lengthOutOfBounds(UInt64(length))
    }
    guard count >= 1, count <= rawByteCount, isDeflated || storedByteCount == rawByteCount,
      (1...Format.sequenceMax).contains(first.rawValue)
    else { throw .badField("count") }
  }

  init(
    isDeflated: Bool, storedByteCount: UInt32, rawByteCount: UInt32, count: UInt32,
    bodyChecksum: UInt32, first: SequenceNumber, durable: SequenceNumber, bootTime: UInt64,
    salt: UInt64, previousChecksum: UInt32
  ) {
    self.isDeflated = isDeflated
    self.storedByteCount = storedByteCount
    self.rawByteCount = rawByteCount
    self.count = count
    self.bodyChecksum = bodyChecksum
    self.first = first
    self.durable = durable
    self.bootTime = bootTime
    self.salt = salt
    self.previousChecksum = previousChecksum
  }
}

/// A frame as it goes to a segment: header fields that depend on the segment, and the body.
struct EncodedFrame {
  var header: FrameHeader
  var last: SequenceNumber
  var body: [UInt8]

  /// Compresses a sealed frame. Its place in a segment is filled in when it is written.
  init(_ sealed: SealedFrame, durable: SequenceNumber, bootTime: UInt64, _ deflater: Deflater) {
    precondition(sealed.body.count <= Format.bodyByteCountMax, "a decision is too large to frame")
    precondition(sealed.count > 0, "readers refuse an empty frame")
    var stored: [UInt8] = []
    let isDeflated = deflater.append(sealed.body, to: &stored)
    body = isDeflated ? stored : sealed.body
    header = FrameHeader(
      isDeflated: isDeflated, storedByteCount: UInt32(body.count),
      rawByteCount: UInt32(sealed.body.count), count: sealed.count,
      bodyChecksum: body.withUnsafeBytes { crc32($0) }, first: sealed.first, durable: durable,
      bootTime: bootTime, salt: 0, previousChecksum: 0)
    last = sealed.last
  }

  init(header: FrameHeader, last: SequenceNumber, body: [UInt8]) {
    self.header = header
    self.last = last
    self.body = body
  }

  var byteCount: Int { Format.frameHeaderByteCount + body.count }
}

extension FrameHeader {
  /// The events of a stored body.
  /// - Throws: `FormatError` where checksum, length or an event is wrong.
  func records(_ stored: [UInt8], _ inflater: Inflater) throws(FormatError) -> [Record] {
    guard stored.withUnsafeBytes({ crc32($0) }) == bodyChecksum else { throw .bodyChecksum }
    let body = isDeflated ? try inflater.inflate(stored, count: Int(rawByteCount)) : stored
    var decoder = EventDecoder(body, first: first)
    var records: [Record] = []
    records.reserveCapacity(Int(min(count, 1 << 16)))
    for _ in 0..<count { records.append(try decoder.record()) }
    guard decoder.isAtEnd else { throw .trailingBytes(decoder.remaining) }
    return records
  }
}
