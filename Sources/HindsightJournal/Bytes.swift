import CHindsightZlib
import HindsightCore

/// Why bytes don't decode. The place is added by who knows the file.
public enum FormatError: Error, Equatable, Sendable {
  case truncated
  case badMagic
  case unknownVersion(UInt8)
  case headerChecksum
  case bodyChecksum
  case lengthOutOfBounds(UInt64)
  case inflation
  case unknownTag(UInt8)
  case badField(String)
  case trailingBytes(Int)
}

extension FormatError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .truncated: "the bytes end too early"
    case .badMagic: "the magic number is wrong"
    case .unknownVersion(let version): "format version \(version) is not known to this software"
    case .headerChecksum: "the header's checksum is wrong"
    case .bodyChecksum: "the body's checksum is wrong"
    case .lengthOutOfBounds(let length): "a length of \(length) is out of bounds"
    case .inflation: "the body does not inflate to its stated length"
    case .unknownTag(let tag): "event tag \(tag) is unknown"
    case .badField(let field): "the field '\(field)' is out of bounds"
    case .trailingBytes(let count): "\(count) bytes are left over"
    }
  }
}

/// zlib's CRC-32. It only reads bytes, whatever else they are bound to.
func crc32(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
  UInt32(
    truncatingIfNeeded: crc32_z(
      0, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count))
}

/// Puts bytes one behind the other, where there is room for them: each is one store, where an array looks at
/// its owners and its room each time.
struct ByteCursor {
  static let varintByteCountMax = 10

  fileprivate var end: UnsafeMutableRawPointer

  @inline(__always)
  mutating func put(_ byte: UInt8) {
    end.storeBytes(of: byte, as: UInt8.self)
    end += 1
  }

  @inline(__always)
  mutating func put(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      put(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    put(UInt8(truncatingIfNeeded: rest))
  }

  @inline(__always)
  mutating func put(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress else { return }
    end.copyMemory(from: start, byteCount: bytes.count)
    end += bytes.count
  }
}

extension [UInt8] {
  /// Appends what `body` puts, at most `count` bytes.
  @inline(__always)
  mutating func append(atMost count: Int, _ body: (inout ByteCursor) -> Void) {
    append(addingCapacity: count) { span in
      span.withUnsafeMutableBufferPointer { buffer, initializedCount in
        let start = UnsafeMutableRawPointer(buffer.baseAddress! + initializedCount)
        var cursor = ByteCursor(end: start)
        body(&cursor)
        let written = cursor.end - start
        precondition(written <= count, "more bytes than there is room for")
        initializedCount += written
      }
    }
  }

  mutating func append(varint value: UInt64) {
    append(atMost: ByteCursor.varintByteCountMax) { $0.put(varint: value) }
  }

  mutating func append<T: FixedWidthInteger>(fixed value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  mutating func append(prefixed bytes: Bytes) {
    append(varint: UInt64(bytes.count))
    append(contentsOf: bytes)
  }

  func fixed<T: FixedWidthInteger>(_ offset: Int, as type: T.Type = T.self) -> T {
    withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
  }

  func checksum(_ range: Range<Int>) -> UInt32 {
    withUnsafeBytes { crc32(UnsafeRawBufferPointer(rebasing: $0[range])) }
  }
}

extension UnsafeRawBufferPointer {
  /// Whether there is nothing but zeros. 64 bytes at a time: what was allocated in advance behind a segment's last
  /// frame is megabytes.
  var isZero: Bool {
    var at = 0
    while count - at >= 64 {
      if loadUnaligned(fromByteOffset: at, as: SIMD8<UInt64>.self) != .zero { return false }
      at += 64
    }
    return self[at...].allSatisfy { $0 == 0 }
  }
}

/// Reads numbers and bytes from a buffer, checking every length before it believes it.
struct ByteReader {
  let bytes: [UInt8]
  private(set) var at = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { at == bytes.count }
  var remaining: Int { bytes.count - at }

  mutating func byte() throws(FormatError) -> UInt8 {
    guard at < bytes.count else { throw .truncated }
    at += 1
    return bytes[at - 1]
  }

  /// The next byte, where there is one; the reader stays in front of it.
  func peek() -> UInt8? { at < bytes.count ? bytes[at] : nil }

  mutating func varint() throws(FormatError) -> UInt64 {
    if remaining >= 8 {
      let word: UInt64 = bytes.fixed(at)
      if word & 0x80 == 0 {
        at += 1
        return word & 0x7F
      }
      // The lowest bit that is set is the highest of the last byte.
      let ends = ~word & 0x8080_8080_8080_8080
      if ends != 0 {
        at += ends.trailingZeroBitCount / 8 + 1
        return Self.joined(word & (ends ^ (ends &- 1)))
      }
    }
    return try longVarint()
  }

  /// The lower seven bits of each byte, side by side.
  @inline(__always)
  private static func joined(_ bytes: UInt64) -> UInt64 {
    var bits = bytes & 0x007F_007F_007F_007F | (bytes & 0x7F00_7F00_7F00_7F00) &>> 1
    bits = bits & 0x0000_3FFF_0000_3FFF | (bits & 0x3FFF_0000_3FFF_0000) &>> 2
    return bits & 0x0FFF_FFFF | (bits & 0x0FFF_FFFF_0000_0000) &>> 4
  }

  /// Byte by byte: one of nine or ten bytes, or near the end.
  @inline(never)
  private mutating func longVarint() throws(FormatError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      let byte = try byte()
      if shift == 63, byte > 1 { throw .lengthOutOfBounds(.max) }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
      shift += 7
      if shift > 63 { throw .lengthOutOfBounds(.max) }
    }
  }

  mutating func fixed64() throws(FormatError) -> UInt64 {
    guard remaining >= 8 else { throw .truncated }
    at += 8
    return bytes.fixed(at - 8)
  }

  /// The places of so many bytes.
  mutating func range(_ count: UInt64) throws(FormatError) -> Range<Int> {
    guard count <= UInt64(remaining) else { throw .truncated }
    at += Int(count)
    return at - Int(count)..<at
  }

  /// The places of length-prefixed bytes, of at most `max`.
  mutating func prefixedRange(max: Int, _ field: String) throws(FormatError) -> Range<Int> {
    let count = try varint()
    guard count <= UInt64(max) else { throw .badField(field) }
    return try range(count)
  }

  /// So many bytes, sharing the buffer.
  mutating func slice(_ count: UInt64) throws(FormatError) -> Bytes {
    bytes[try range(count)]
  }

  /// Length-prefixed bytes of at most `max`.
  mutating func prefixed(max: Int, _ field: String) throws(FormatError) -> Bytes {
    bytes[try prefixedRange(max: max, field)]
  }

  /// Bytes as UTF-8 text.
  mutating func text(_ bytes: Bytes, _ field: String) throws(FormatError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else { throw .badField(field) }
    return text
  }
}
