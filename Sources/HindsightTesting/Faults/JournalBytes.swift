import CHindsightZlib

/// A segment's bytes, taken apart by the offsets of the on-disk contract (Format.swift) alone: an
/// enemy of the codec shares no code with it.
struct JournalBytes {
  static let headerByteCount = 64
  var bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// Where what is not zero ends.
  var usedByteCount: Int { (bytes.lastIndex { $0 != 0 } ?? -1) + 1 }

  /// Where each frame begins, as far as one follows the other.
  var frameOffsets: [Int] {
    var offsets: [Int] = []
    var at = Self.headerByteCount
    while at + Self.headerByteCount <= bytes.count, bytes[at..<at + 4].elementsEqual("HFRM".utf8) {
      offsets.append(at)
      at += Self.headerByteCount + Int(fixed(at + 8, byteCount: 4))
    }
    return offsets
  }

  /// Where a frame ends.
  func end(ofFrameAt offset: Int) -> Int {
    offset + Self.headerByteCount + Int(fixed(offset + 8, byteCount: 4))
  }

  /// Where the frames end.
  var end: Int { frameOffsets.last.map { end(ofFrameAt: $0) } ?? Self.headerByteCount }

  func fixed(_ offset: Int, byteCount: Int) -> UInt64 {
    (0..<byteCount).reduce(0) { $0 | UInt64(bytes[offset + $1]) << (8 * UInt64($1)) }
  }

  mutating func set(_ value: UInt64, at offset: Int, byteCount: Int) {
    for index in 0..<byteCount {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))
    }
  }

  /// Makes the checksum of the 64-byte header at `offset` right again.
  mutating func sealHeader(at offset: Int) {
    set(UInt64(Self.checksum(bytes[offset..<offset + 60])), at: offset + 60, byteCount: 4)
  }

  /// Puts bytes at `offset`, making the file longer where needed.
  mutating func put(_ new: some Collection<UInt8>, at offset: Int) {
    if bytes.count < offset + new.count {
      bytes.append(contentsOf: repeatElement(0, count: offset + new.count - bytes.count))
    }
    bytes.replaceSubrange(offset..<offset + new.count, with: new)
  }

  /// Appends a frame whose checksums, salt and sequence are right, whatever its lengths are.
  mutating func appendFrame(
    body: [UInt8], storedByteCount: UInt64, rawByteCount: UInt64, isCompressed: Bool
  ) {
    let offset = end
    let last = frameOffsets.last
    var next: UInt64 = fixed(40, byteCount: 8) + 1
    var previous = fixed(60, byteCount: 4)
    var durable: UInt64 = 0
    if let last {
      next = fixed(last + 24, byteCount: 8) + fixed(last + 16, byteCount: 4)
      previous = fixed(last + 60, byteCount: 4)
      durable = fixed(last + 32, byteCount: 8)
    }
    put(Array("HFRM".utf8) + [bytes[8], isCompressed ? 1 : 0, 0, 0], at: offset)
    put([UInt8](repeating: 0, count: 56), at: offset + 8)
    set(storedByteCount, at: offset + 8, byteCount: 4)
    set(rawByteCount, at: offset + 12, byteCount: 4)
    set(1, at: offset + 16, byteCount: 4)
    set(UInt64(Self.checksum(body)), at: offset + 20, byteCount: 4)
    set(next, at: offset + 24, byteCount: 8)
    set(durable, at: offset + 32, byteCount: 8)
    set(fixed(32, byteCount: 8), at: offset + 48, byteCount: 8)
    set(previous, at: offset + 56, byteCount: 4)
    sealHeader(at: offset)
    put(body, at: offset + Self.headerByteCount)
  }

  static func checksum(_ bytes: some Collection<UInt8>) -> UInt32 {
    let bytes = Array(bytes)
    return UInt32(truncatingIfNeeded: crc32(0, bytes, UInt32(bytes.count)))
  }

  /// So many zeros as the first body of a run (raw deflate, flushed), in about a thousandth of it.
  static func bomb(byteCount: Int) -> [UInt8] {
    var stream = z_stream()
    // Raw deflate: negative window bits.
    let code = deflateInit2_(
      &stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size))
    precondition(code == Z_OK, "zlib can't begin")
    defer { deflateEnd(&stream) }
    var zeros = [UInt8](repeating: 0, count: byteCount)
    var deflated = [UInt8](repeating: 0, count: byteCount / 500 + 1_000)
    let count = zeros.withUnsafeMutableBufferPointer { input in
      deflated.withUnsafeMutableBufferPointer { output in
        stream.next_in = input.baseAddress
        stream.avail_in = UInt32(input.count)
        stream.next_out = output.baseAddress
        stream.avail_out = UInt32(output.count)
        let code = deflate(&stream, Z_SYNC_FLUSH)
        precondition(code == Z_OK && stream.avail_in == 0, "the bomb doesn't fit")
        return output.count - Int(stream.avail_out)
      }
    }
    return Array(deflated[..<count])
  }
}
