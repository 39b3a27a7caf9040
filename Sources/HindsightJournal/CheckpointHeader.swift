public import HindsightCore

/// A checkpoint's fixed facts; see Format.swift.
public struct CheckpointHeader: Equatable, Sendable {
  public var number: UInt32
  /// The file.
  public var name: String { FileName.checkpoint(number) }
  public var journalID: JournalID
  public var head: StateHead
  public var digest: UInt64
  public var entryCount: UInt64
  /// Where replay goes on.
  public var position: JournalPosition
  /// Boot time of the last frame that the state contains, in µs.
  public var bootTime: UInt64
  /// Where the state bridges a gap: the first event that the journal lacks. What it lacks ends with
  /// the state's own sequence.
  public var gapFirst: SequenceNumber?
  /// Checksum of the header of the frame before `position`, where that is known: the journal can
  /// then be written on from there.
  public var previousChecksum: UInt32?
  /// Of the format.
  var version = Format.version

  public init(
    number: UInt32, journalID: JournalID, head: StateHead, digest: UInt64, entryCount: UInt64,
    position: JournalPosition, bootTime: UInt64, gapFirst: SequenceNumber? = nil
  ) {
    self.number = number
    self.journalID = journalID
    self.head = head
    self.digest = digest
    self.entryCount = entryCount
    self.position = position
    self.bootTime = bootTime
    self.gapFirst = gapFirst
  }

  func encoded() -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(fixed: Format.checkpointMagic)
    bytes.append(fixed: UInt32(version))
    bytes.append(fixed: number)
    bytes.append(fixed: journalID.high)
    bytes.append(fixed: journalID.low)
    bytes.append(fixed: head.sequence.rawValue)
    bytes.append(fixed: head.at.rawValue)
    bytes.append(fixed: digest)
    bytes.append(fixed: entryCount)
    bytes.append(fixed: position.segment)
    bytes.append(fixed: UInt32((head.isClosed ? 1 : 0) | (head.opened == nil ? 0 : 2)))
    bytes.append(fixed: position.byteOffset)
    bytes.append(fixed: bootTime)
    bytes.append(fixed: gapFirst?.rawValue ?? 0)
    bytes.append(fixed: previousChecksum ?? 0)
    bytes.append(contentsOf: repeatElement(0, count: 24))
    bytes.append(fixed: bytes.checksum(0..<124))
    return bytes
  }

  /// Decodes all but the configuration, which comes in the first block.
  static func decode(
    _ bytes: [UInt8]
  ) throws(FormatError) -> (CheckpointHeader, hasConfiguration: Bool) {
    guard bytes.count >= Format.checkpointHeaderByteCount else { throw .truncated }
    guard bytes.fixed(0, as: UInt64.self) == Format.checkpointMagic else { throw .badMagic }
    guard bytes.fixed(124, as: UInt32.self) == bytes.checksum(0..<124) else {
      throw .headerChecksum
    }
    let stated: UInt32 = bytes.fixed(8)
    guard let version = UInt8(exactly: stated), Format.versions.contains(version) else {
      throw .unknownVersion(UInt8(truncatingIfNeeded: stated))
    }
    let flags: UInt32 = bytes.fixed(68)
    let sequence: UInt64 = bytes.fixed(32)
    guard flags <= 3, sequence <= Format.sequenceMax else { throw .badField("flags") }
    let gapFirst: UInt64 = bytes.fixed(88)
    guard gapFirst <= sequence else { throw .badField("gap") }
    guard bytes.fixed(40, as: Int64.self) >= 0 else { throw .badField("at") }
    let offsets = UInt64(Format.segmentHeaderByteCount)...Format.fileByteCountMax
    guard bytes.fixed(64, as: UInt32.self) > 0, offsets.contains(bytes.fixed(72)) else {
      throw .badField("position")
    }
    let head = StateHead(
      sequence: SequenceNumber(sequence), at: Timestamp(rawValue: bytes.fixed(40, as: Int64.self)),
      opened: nil, isClosed: flags & 1 == 1)
    var header = CheckpointHeader(
      number: bytes.fixed(12), journalID: JournalID(high: bytes.fixed(16), low: bytes.fixed(24)),
      head: head, digest: bytes.fixed(48), entryCount: bytes.fixed(56),
      position: JournalPosition(segment: bytes.fixed(64), byteOffset: bytes.fixed(72)),
      bootTime: bytes.fixed(80), gapFirst: gapFirst == 0 ? nil : SequenceNumber(gapFirst))
    header.version = version
    let previousChecksum: UInt32 = bytes.fixed(96)
    header.previousChecksum = previousChecksum == 0 ? nil : previousChecksum
    return (header, flags & 2 == 2)
  }
}
