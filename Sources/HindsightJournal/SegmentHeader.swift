import HindsightCore

/// The first 64 bytes of a segment; see Format.swift.
struct SegmentHeader: Equatable {
  var version = Format.version
  var number: UInt32
  var journalID: JournalID
  var salt: UInt64
  var follows: SequenceNumber
  var createdAt: Timestamp

  func encoded() -> (bytes: [UInt8], checksum: UInt32) {
    var bytes: [UInt8] = []
    bytes.append(fixed: Format.segmentMagic)
    bytes.append(fixed: UInt32(version))
    bytes.append(fixed: number)
    bytes.append(fixed: journalID.high)
    bytes.append(fixed: journalID.low)
    bytes.append(fixed: salt)
    bytes.append(fixed: follows.rawValue)
    bytes.append(fixed: createdAt.rawValue)
    bytes.append(fixed: UInt32(0))
    let checksum = bytes.checksum(0..<60)
    bytes.append(fixed: checksum)
    return (bytes, checksum)
  }

  /// - Throws: `FormatError` where the bytes are no segment header.
  static func decode(_ bytes: [UInt8]) throws(FormatError) -> (SegmentHeader, checksum: UInt32) {
    guard bytes.count >= Format.segmentHeaderByteCount else { throw .truncated }
    guard bytes.fixed(0, as: UInt64.self) == Format.segmentMagic else { throw .badMagic }
    let checksum = bytes.checksum(0..<60)
    guard bytes.fixed(60, as: UInt32.self) == checksum else { throw .headerChecksum }
    let stated: UInt32 = bytes.fixed(8)
    guard let version = UInt8(exactly: stated), Format.versions.contains(version) else {
      throw .unknownVersion(UInt8(truncatingIfNeeded: stated))
    }
    let follows: UInt64 = bytes.fixed(40)
    guard follows <= Format.sequenceMax else { throw .badField("follows") }
    let header = SegmentHeader(
      version: version, number: bytes.fixed(12),
      journalID: JournalID(high: bytes.fixed(16), low: bytes.fixed(24)), salt: bytes.fixed(32),
      follows: SequenceNumber(follows),
      createdAt: Timestamp(rawValue: bytes.fixed(48, as: Int64.self)))
    return (header, checksum)
  }
}

/// File names; see Format.swift.
enum FileName {
  static func segment(_ number: UInt32) -> String { padded(number) + ".journal" }
  static func checkpoint(_ number: UInt32) -> String { padded(number) + ".checkpoint" }
  /// Where a part of a file is kept aside.
  /// - Parameter place: the first, or another where that is taken.
  static func quarantine(_ name: String, offset: UInt64, place: Int = 1) -> String {
    place == 1 ? "\(name).\(offset).quarantine" : "\(name).\(offset).\(place).quarantine"
  }

  /// The number of `name` if it has that suffix and is written as we write it.
  static func number(_ name: String, suffix: String) -> UInt32? {
    guard name.hasSuffix(suffix), let number = UInt32(name.dropLast(suffix.count)),
      (1..<Format.fileNumberMax).contains(number),
      padded(number) + suffix == name
    else { return nil }
    return number
  }

  private static func padded(_ number: UInt32) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }
}
