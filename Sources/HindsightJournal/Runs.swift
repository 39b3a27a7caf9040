import CZlib
import HindsightCore

/// How a frame's body is stored; see Format.swift.
enum BodyEncoding: UInt8 {
  /// As it is. A run, if one is under way, goes on behind it.
  case stored = 0
  /// Compressed, and readable by itself.
  case begins = 1
  /// Compressed with references into the run's bodies before it.
  case continues = 3
}

/// Compresses bodies in runs: each with references into those before it, up to a limit.
///
/// Small frames gain most: an event in a frame of its own takes less than half of what it takes by
/// itself. A run bounds what a damaged body takes with it, and what a reader must decode to begin in
/// the middle. For use by one owner at a time.
final class RunCompressor {
  private let stream: UnsafeMutablePointer<z_stream>
  private var scratch: [UInt8] = []
  /// Bytes of the run under way, before compression; 0: the next body begins one.
  private var runByteCount = 0

  init() {
    stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    let result = deflateInit2_(
      stream, Format.compressionLevel, Z_DEFLATED, -15, Format.compressorMemoryLevel,
      Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    precondition(result == Z_OK, "zlib gives no stream (\(result))")
  }

  deinit {
    deflateEnd(stream)
    stream.deallocate()
  }

  /// The next body can be read without those before it.
  func endRun() { runByteCount = 0 }

  /// Compresses a body, or leaves it as it is where that is as good. A small one may grow by 9 bytes.
  func encode(_ raw: [UInt8]) -> (stored: [UInt8], encoding: BodyEncoding) {
    guard raw.count >= Format.compressedByteCountMin else { return (raw, .stored) }
    // A large body gains nothing from those before it, and only a first one can be stored as it is.
    if raw.count >= Format.runByteCount { endRun() }
    let begins = runByteCount == 0
    if begins { deflateReset(stream) }
    let count = compress(raw)
    defer { if scratch.count > Format.scratchByteCountMax { scratch = [] } }
    runByteCount += raw.count
    // A small body begins a run even where that makes it larger: those after it gain.
    if begins, count >= raw.count, raw.count >= Format.incompressibleByteCountMin {
      endRun()
      return (raw, .stored)
    }
    if runByteCount >= Format.runByteCount { endRun() }
    return ([UInt8](scratch[..<count]), begins ? .begins : .continues)
  }

  /// Appends the bytes to the stream and flushes it.
  /// - Returns: how many bytes of `scratch` that gave, the flush's own marker left out.
  private func compress(_ raw: [UInt8]) -> Int {
    // What a flush adds to the bound for a whole stream: the marker, and a block's header.
    let bound = Int(deflateBound(stream, UInt(raw.count))) + 64
    if scratch.count < bound { scratch = [UInt8](repeating: 0, count: bound) }
    let count = scratch.withUnsafeMutableBufferPointer { scratch in
      raw.withUnsafeBufferPointer { raw in
        // zlib reads next_in only; both buffers outlive the call.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: raw.baseAddress)
        stream.pointee.avail_in = UInt32(raw.count)
        stream.pointee.next_out = scratch.baseAddress
        stream.pointee.avail_out = UInt32(scratch.count)
        let result = deflate(stream, Z_SYNC_FLUSH)
        precondition(
          result == Z_OK && stream.pointee.avail_in == 0 && stream.pointee.avail_out > 0,
          "zlib can't compress (\(result))")
        return scratch.count - Int(stream.pointee.avail_out)
      }
    }
    let marker = scratch[..<count].suffix(Format.flushMarker.count)
    precondition(marker.elementsEqual(Format.flushMarker), "a flush ends with its marker")
    return count - Format.flushMarker.count
  }
}

/// Decodes the bodies of frames in their order, of either format.
final class BodyDecoder {
  private let inflater = Inflater()
  private var isInRun = false

  /// A body's events, encoded.
  /// - Throws: `FormatError` where the bytes don't give exactly `count` bytes. What continues the
  ///   same run can't be decoded then either.
  func decode(
    _ stored: [UInt8], _ encoding: BodyEncoding, version: UInt8, count: Int
  ) throws(FormatError) -> [UInt8] {
    switch (encoding, version) {
    case (.stored, _): return stored
    case (_, 1): return try inflater.inflate(stored, count: count)
    case (.begins, _): inflater.beginRun()
    case (.continues, _): guard isInRun else { throw .badField("run") }
    }
    isInRun = false
    let raw = try inflater.inflateInRun(stored, count: count)
    isInRun = true
    return raw
  }
}
