import CZlib
import HindsightCore

/// Raw inflate into a buffer of exactly the stated length: bodies and blocks of format 1.
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

  /// - Throws: `.inflation` where the bytes are not a deflated stream of that length;
  ///   `.lengthOutOfBounds` where the length can't be, before anything is allocated.
  func inflate(_ stored: [UInt8], count: Int) throws(FormatError) -> [UInt8] {
    guard count <= Format.bodyByteCountMax,
      count <= stored.count * Format.deflateRatioMax + Format.frameHeaderByteCount
    else { throw .lengthOutOfBounds(UInt64(count)) }
    inflateReset(stream)
    var isComplete = false
    let raw = [UInt8](unsafeUninitializedCapacity: count) { raw, initialized in
      stored.withUnsafeBufferPointer { stored in
        // zlib reads next_in only; both buffers outlive the call.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: stored.baseAddress)
        stream.pointee.avail_in = UInt32(stored.count)
        stream.pointee.next_out = raw.baseAddress
        stream.pointee.avail_out = UInt32(count)
        let result = CZlib.inflate(stream, Z_FINISH)
        isComplete =
          result == Z_STREAM_END && stream.pointee.avail_out == 0 && stream.pointee.avail_in == 0
        initialized = count - Int(stream.pointee.avail_out)
      }
    }
    guard isComplete else { throw .inflation }
    return raw
  }
}
