import CZlib
import HindsightCore

/// Raw deflate at level 1 with streams that are made once and reset.
///
/// Frames of one or two events get a stream with a small window and hash table, whose state is
/// cheap to reset. For use by one owner at a time.
final class Deflater {
  private static let smallByteCount = 4 << 10
  private let large = Deflater.makeStream(windowBits: -15, memoryLevel: 8)
  private let small = Deflater.makeStream(windowBits: -12, memoryLevel: 5)

  deinit {
    for stream in [large, small] {
      deflateEnd(stream)
      stream.deallocate()
    }
  }

  /// Appends `raw`, deflated, to `output`; or appends nothing and says no where that would not be
  /// smaller.
  func append(_ raw: [UInt8], to output: inout [UInt8]) -> Bool {
    let stream = raw.count <= Self.smallByteCount ? small : large
    let start = output.count
    deflateReset(stream)
    output.append(contentsOf: repeatElement(0, count: raw.count))
    let result = output.withUnsafeMutableBufferPointer { output in
      raw.withUnsafeBufferPointer { raw in
        // zlib reads next_in only; both buffers outlive the call.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: raw.baseAddress)
        stream.pointee.avail_in = UInt32(raw.count)
        stream.pointee.next_out = output.baseAddress! + start
        stream.pointee.avail_out = UInt32(raw.count)
        return deflate(stream, Z_FINISH)
      }
    }
    guard result == Z_STREAM_END, stream.pointee.avail_out > 0 else {
      output.removeLast(raw.count)
      return false
    }
    output.removeLast(Int(stream.pointee.avail_out))
    return true
  }

  private static func makeStream(
    windowBits: Int32, memoryLevel: Int32
  ) -> UnsafeMutablePointer<z_stream> {
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    let result = deflateInit2_(
      stream, 1, Z_DEFLATED, windowBits, memoryLevel, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size))
    precondition(result == Z_OK, "zlib gives no stream (\(result))")
    return stream
  }
}

/// Raw inflate into a buffer of exactly the stated length.
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
      count <= stored.count * Format.inflationMax + Format.frameHeaderByteCount
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
