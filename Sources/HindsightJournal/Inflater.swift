import CZlib
import HindsightCore

/// Raw inflate into a buffer of exactly the stated length: a stream of its own (format 1), or a part
/// of a stream that was flushed behind it (format 2).
final class Inflater {
  private let stream: UnsafeMutablePointer<z_stream>

  init() {
    stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    let result = inflateInit2_(
      stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    precondition(result == Z_OK, "zlib gives no stream (\(result))")
  }

  deinit {
    inflateEnd(stream)
    stream.deallocate()
  }

  /// A whole stream.
  /// - Throws: `.inflation` where the bytes are not a deflated stream of that length;
  ///   `.lengthOutOfBounds` where the length can't be, before anything is allocated.
  func inflate(_ stored: [UInt8], count: Int) throws(FormatError) -> [UInt8] {
    try check(count, of: stored)
    inflateReset(stream)
    return try fill(count, room: 0) { isFull in
      let result = feed(stored, Z_FINISH)
      return result == Z_STREAM_END && isFull() && stream.pointee.avail_in == 0
    }
  }

  /// What follows belongs to another stream.
  func beginRun() { inflateReset(stream) }

  /// The next part of a stream, less the marker of the flush that ended it.
  /// - Throws: as `inflate`; the rest of the stream is void then.
  func inflateInRun(_ stored: [UInt8], count: Int) throws(FormatError) -> [UInt8] {
    try check(count, of: stored)
    // One byte of room beyond what is stated shows whether there is more.
    return try fill(count, room: 1) { isFull in
      // A run's stream has no end, so only Z_OK will do.
      guard feed(stored, Z_SYNC_FLUSH) == Z_OK, stream.pointee.avail_in == 0 else { return false }
      let result = feed(Format.flushMarker, Z_SYNC_FLUSH)
      return result == Z_OK && isFull() && stream.pointee.avail_in == 0
    }
  }

  private func check(_ count: Int, of stored: [UInt8]) throws(FormatError) {
    guard count <= Format.bodyByteCountMax,
      count <= stored.count * Format.deflateRatioMax + Format.frameHeaderByteCount
    else { throw .lengthOutOfBounds(UInt64(count)) }
  }

  /// A buffer of `count` bytes that `body` fills.
  /// - Parameter body: is given whether exactly so many were filled; says whether all is well.
  private func fill(
    _ count: Int, room: Int, _ body: (_ isFull: () -> Bool) -> Bool
  ) throws(FormatError) -> [UInt8] {
    var isWell = false
    let raw = [UInt8](unsafeUninitializedCapacity: count + room) { raw, initialized in
      stream.pointee.next_out = raw.baseAddress
      stream.pointee.avail_out = UInt32(count + room)
      isWell = body { stream.pointee.avail_out == UInt32(room) }
      initialized = min(count, count + room - Int(stream.pointee.avail_out))
    }
    guard isWell else { throw .inflation }
    return raw
  }

  private func feed(_ bytes: [UInt8], _ flush: Int32) -> Int32 {
    bytes.withUnsafeBufferPointer { bytes in
      // zlib reads next_in only; the buffer outlives the call.
      stream.pointee.next_in = UnsafeMutablePointer(mutating: bytes.baseAddress)
      stream.pointee.avail_in = UInt32(bytes.count)
      return CZlib.inflate(stream, flush)
    }
  }
}
