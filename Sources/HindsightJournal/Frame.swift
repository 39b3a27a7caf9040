public import HindsightCore

/// The frame that events are appended to, encoded as they come, and full ones in front of it.
///
/// It is appended to under the cache's lock. While the disk is behind, megabytes of events come together: they
/// are sealed frame by frame, which a replay decodes one ahead of the other, and nothing is ever copied to a
/// larger place. Nor need memory be asked for under the lock, which may take milliseconds: a frame that grows large
/// asks for the next one's.
public struct OpenFrame: Sendable {
  /// A frame is full once it has so many bytes; its last decision goes beyond.
  static let byteCountMax = 256 << 10
  /// A frame of so many bytes asks for a spare, and gets room for as many at least.
  private static let spareByteCountMin = 8 << 10

  private var sealed: [SealedFrame] = []
  @usableFromInline var sealedByteCount = 0
  @usableFromInline var body: [UInt8] = []
  private var previousAt = Timestamp.zero
  private var first = SequenceNumber.zero
  private var last = SequenceNumber.zero
  private var count: UInt32 = 0
  /// What bodies get room for that aren't given a spare.
  private var usualByteCount = 0
  private var spare: Spare?
  private var isSpareAskedFor = false

  public init() {}

  /// Memory for a frame.
  public struct Spare: Sendable {
    fileprivate let body: [UInt8]

    /// Room for so many bytes and, mostly, the decision that goes beyond.
    public init(byteCount: Int) {
      var body: [UInt8] = []
      body.reserveCapacity(byteCount + byteCount / 16)
      self.body = body
    }
  }

  /// How many bytes the memory for the next frame is to have; `nil` where none is to be made: this frame is small,
  /// or its spare was asked for.
  @inline(__always)
  public mutating func asksForSpare() -> Int? {
    guard body.count >= Self.spareByteCountMin, !isSpareAskedFor else { return nil }
    isSpareAskedFor = true
    guard spare == nil else { return nil }
    return min(max(2 * usualByteCount, Self.spareByteCountMin), Self.byteCountMax)
  }

  public mutating func give(_ spare: Spare) { self.spare = spare }

  /// Bytes of encoded events so far. Read in place: a call would copy all of the frame's variables.
  @inlinable
  public var byteCount: Int { sealedByteCount + body.count }
  public var isEmpty: Bool { count == 0 && sealed.isEmpty }

  /// Appends an event. A `gap` must be a frame's first event.
  public mutating func append(_ record: Record) {
    begin(record.sequence)
    body.append(record, previousAt: previousAt)
    end(record.sequence, record.at)
  }

  /// Appends a `set`, whose key and value are lent.
  public mutating func append(
    _ fact: SetFact, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, reason: String?
  ) {
    begin(fact.sequence)
    body.append(fact, key: key, value: value, reason: reason, previousAt: previousAt)
    end(fact.sequence, fact.at)
  }

  private mutating func begin(_ sequence: SequenceNumber) {
    guard count == 0 else { return }
    first = sequence
    previousAt = .zero
  }

  private mutating func end(_ sequence: SequenceNumber, _ at: Timestamp) {
    previousAt = at
    last = sequence
    count += 1
  }

  /// The events of a decision are all there: the frame may end here, and does if it is full.
  /// - Parameter bootTime: of the last event, in µs.
  @inline(__always)
  public mutating func endDecision(bootTime: Microseconds) {
    if body.count >= Self.byteCountMax { seal(bootTime) }
  }

  private mutating func seal(_ bootTime: Microseconds) {
    sealed.append(take(bootTime))
    sealedByteCount += sealed[sealed.count - 1].byteCount
  }

  /// Hands the events over without copying them, and starts anew. There must be some.
  /// - Parameter bootTime: of the last event, in µs.
  public mutating func takeAll(bootTime: Microseconds) -> SealedFrames {
    precondition(!isEmpty, "a frame holds an event at least, as its reader checks")
    if count > 0, sealed.isEmpty { return SealedFrames(take(bootTime)) }
    if count > 0 { seal(bootTime) }
    defer {
      sealed = []
      sealedByteCount = 0
    }
    return SealedFrames(sealed)
  }

  /// Hands over the frame at the end, whether or not it is full.
  mutating func take(_ bootTime: Microseconds) -> SealedFrame {
    let taken = SealedFrame(
      body: body, first: first, last: last, count: count,
      bootTime: UInt64(max(0, bootTime.rawValue)))
    usualByteCount = min(taken.byteCount, Self.byteCountMax)
    body = []
    if let spare = spare.take() {
      body = spare.body
    } else {
      body.reserveCapacity(usualByteCount + [UInt8].numbersByteCountMax)
    }
    isSpareAskedFor = false
    count = 0
    return taken
  }
}

/// A frame's events, encoded and not yet compressed.
public struct SealedFrame: Sendable {
  let body: [UInt8]
  public let first: SequenceNumber
  public let last: SequenceNumber
  public let count: UInt32
  /// Of its last event, in µs.
  let bootTime: UInt64

  /// Bytes of encoded events.
  public var byteCount: Int { body.count }
}

/// Frames that are written together.
public struct SealedFrames: Sendable {
  /// Nearly always there are none.
  private let earlier: ArraySlice<SealedFrame>
  private let latest: SealedFrame
  /// Bytes of encoded events.
  public let byteCount: Int

  init(_ only: SealedFrame) {
    (earlier, latest, byteCount) = ([], only, only.byteCount)
  }

  /// At least one.
  init(_ all: [SealedFrame]) {
    (earlier, latest) = (all.dropLast(), all[all.count - 1])
    byteCount = all.reduce(0) { $0 + $1.byteCount }
  }

  public var last: SequenceNumber { latest.last }
  /// How many events there are.
  public var count: Int { earlier.reduce(Int(latest.count)) { $0 + Int($1.count) } }

  /// Calls `body` with each, in their order.
  func forEachFrame<Failure>(_ body: (SealedFrame) throws(Failure) -> Void) throws(Failure) {
    for frame in earlier { try body(frame) }
    try body(latest)
  }
}

/// The fixed part of a frame; see Format.swift.
struct FrameHeader: Equatable {
  var version = Format.version
  var encoding: BodyEncoding
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

  /// Puts the header into 64 bytes.
  /// - Returns: its checksum, which the next frame repeats.
  func encode(into bytes: UnsafeMutableRawBufferPointer) -> UInt32 {
    precondition(bytes.count == Format.frameHeaderByteCount)
    func put<T: FixedWidthInteger>(_ value: T, at offset: Int) {
      bytes.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
    }
    put(Format.frameMagic, at: 0)
    put(version, at: 4)
    put(encoding.rawValue, at: 5)
    put(UInt16(0), at: 6)
    put(storedByteCount, at: 8)
    put(rawByteCount, at: 12)
    put(count, at: 16)
    put(bodyChecksum, at: 20)
    put(first.rawValue, at: 24)
    put(durable.rawValue, at: 32)
    put(bootTime, at: 40)
    put(salt, at: 48)
    put(previousChecksum, at: 56)
    let checksum = crc32(UnsafeRawBufferPointer(rebasing: bytes[..<60]))
    put(checksum, at: 60)
    return checksum
  }

  /// Decodes 64 bytes. The lengths are within bounds when this returns.
  /// - Throws: `FormatError` where they are no frame header.
  init(_ bytes: [UInt8]) throws(FormatError) {
    guard bytes.count >= Format.frameHeaderByteCount else { throw .truncated }
    guard bytes.fixed(0, as: UInt32.self) == Format.frameMagic else { throw .badMagic }
    guard bytes.fixed(60, as: UInt32.self) == bytes.checksum(0..<60) else {
      throw .headerChecksum
    }
    version = bytes[4]
    guard Format.versions.contains(version) else { throw .unknownVersion(version) }
    guard let encoding = BodyEncoding(rawValue: bytes[5]), version > 1 || encoding != .continues,
      bytes.fixed(6, as: UInt16.self) == 0
    else { throw .badField("flags") }
    self.encoding = encoding
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
    guard count >= 1, count <= rawByteCount, encoding != .stored || storedByteCount == rawByteCount,
      (1...Format.sequenceMax).contains(first.rawValue)
    else { throw .badField("count") }
  }

  init(
    encoding: BodyEncoding, storedByteCount: UInt32, rawByteCount: UInt32, count: UInt32,
    bodyChecksum: UInt32, first: SequenceNumber, durable: SequenceNumber, bootTime: UInt64,
    salt: UInt64, previousChecksum: UInt32
  ) {
    self.encoding = encoding
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

/// A sealed frame with what its header says besides: all that it takes to write it, again if need be.
struct StampedFrame: Sendable {
  var sealed: SealedFrame
  var durable: SequenceNumber

  /// The frame's bytes at its place in a segment, and its header's checksum.
  /// - Parameter compressor: `nil`: the events are stored as they are.
  func encoded(
    _ compressor: RunCompressor?, salt: UInt64, previousChecksum: UInt32
  ) -> (bytes: [UInt8], checksum: UInt32) {
    precondition(sealed.byteCount <= Format.bodyByteCountMax, "a decision is too large to frame")
    let (stored, encoding) = compressor?.encode(sealed.body) ?? (sealed.body, .stored)
    let header = FrameHeader(
      encoding: encoding, storedByteCount: UInt32(stored.count),
      rawByteCount: UInt32(sealed.byteCount), count: sealed.count,
      bodyChecksum: stored.withUnsafeBytes { crc32($0) }, first: sealed.first, durable: durable,
      bootTime: sealed.bootTime, salt: salt, previousChecksum: previousChecksum)
    return header.followed(by: stored)
  }
}

/// A frame as it stands in another segment of the same version. What continues a run must stand behind
/// what it continues here, too.
struct CopiedFrame {
  var header: FrameHeader
  var stored: [UInt8]

  /// The frame's bytes at its place in a segment, and its header's checksum.
  func encoded(salt: UInt64, previousChecksum: UInt32) -> (bytes: [UInt8], checksum: UInt32) {
    var header = header
    header.salt = salt
    header.previousChecksum = previousChecksum
    return header.followed(by: stored)
  }
}

extension FrameHeader {
  /// Header and body in one piece, and the header's checksum.
  fileprivate func followed(by stored: [UInt8]) -> (bytes: [UInt8], checksum: UInt32) {
    var checksum: UInt32 = 0
    let headerByteCount = Format.frameHeaderByteCount
    let bytes = [UInt8](unsafeUninitializedCapacity: headerByteCount + stored.count) {
      bytes, count in
      // The closure fills all that it says it does.
      let room = UnsafeMutableRawBufferPointer(bytes)
      checksum = encode(into: UnsafeMutableRawBufferPointer(rebasing: room[..<headerByteCount]))
      stored.withUnsafeBytes {
        UnsafeMutableRawBufferPointer(rebasing: room[headerByteCount...]).copyMemory(from: $0)
      }
      count = headerByteCount + stored.count
    }
    return (bytes, checksum)
  }

  /// A stored body, whose checksum is right, as it was before compression.
  /// - Throws: `FormatError` where it doesn't give the stated length.
  func body(_ stored: [UInt8], _ decoder: BodyDecoder) throws(FormatError) -> [UInt8] {
    try decoder.decode(stored, encoding, version: version, count: Int(rawByteCount))
  }
}
