import CZstd
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
/// Small frames gain most: an event in a frame of its own takes 105 bytes instead of 287. A run
/// bounds what a damaged body takes with it, and what a reader must decode to begin in the middle.
/// For use by one owner at a time.
final class RunCompressor {
  private let context: OpaquePointer
  private var scratch: [UInt8] = []
  /// Bytes of the run under way, before compression; 0: the next body begins one.
  private var runByteCount = 0

  init() {
    guard let context = ZSTD_createCCtx() else { preconditionFailure("no memory for Zstandard") }
    self.context = context
    for (parameter, value) in [
      (ZSTD_c_compressionLevel, Format.compressionLevel),
      (ZSTD_c_windowLog, Format.windowLog),
      (ZSTD_c_contentSizeFlag, 0), (ZSTD_c_checksumFlag, 0),
    ] {
      let result = ZSTD_CCtx_setParameter(context, parameter, value)
      precondition(ZSTD_isError(result) == 0, "Zstandard refuses a parameter")
    }
  }

  deinit { ZSTD_freeCCtx(context) }

  /// The next body can be read without those before it.
  func endRun() { runByteCount = 0 }

  /// Compresses a body, or leaves it as it is where that is as good. A small one may grow by 9 bytes.
  func encode(_ raw: [UInt8]) -> (stored: [UInt8], encoding: BodyEncoding) {
    guard raw.count >= Format.compressedByteCountMin else { return (raw, .stored) }
    // A large body gains nothing from those before it, and only a first one can be stored as it is.
    if raw.count >= Format.runByteCount { endRun() }
    let begins = runByteCount == 0
    if begins { ZSTD_CCtx_reset(context, ZSTD_reset_session_only) }
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
  /// - Returns: how many bytes of `scratch` that gave.
  private func compress(_ raw: [UInt8]) -> Int {
    // What a flush adds to the bound for one whole frame: a block header.
    let bound = ZSTD_compressBound(raw.count) + 64
    if scratch.count < bound { scratch = [UInt8](repeating: 0, count: bound) }
    return scratch.withUnsafeMutableBytes { scratch in
      raw.withUnsafeBytes { raw in
        var input = ZSTD_inBuffer(src: raw.baseAddress, size: raw.count, pos: 0)
        var output = ZSTD_outBuffer(dst: scratch.baseAddress, size: scratch.count, pos: 0)
        let left = ZSTD_compressStream2(context, &output, &input, ZSTD_e_flush)
        precondition(left == 0 && input.pos == input.size, "Zstandard can't compress")
        return output.pos
      }
    }
  }
}

/// Decodes the bodies of frames in their order, of either format.
final class BodyDecoder {
  private let inflater = Inflater()
  private let context: OpaquePointer
  private var isInRun = false

  init() {
    guard let context = ZSTD_createDCtx() else { preconditionFailure("no memory for Zstandard") }
    self.context = context
    let result = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Format.windowLog)
    precondition(ZSTD_isError(result) == 0, "Zstandard refuses a parameter")
  }

  deinit { ZSTD_freeDCtx(context) }

  /// A body's events, encoded.
  /// - Throws: `FormatError` where the bytes don't give exactly `count` bytes. What continues the
  ///   same run can't be decoded then either.
  func decode(
    _ stored: [UInt8], _ encoding: BodyEncoding, version: UInt8, count: Int
  ) throws(FormatError) -> [UInt8] {
    switch (encoding, version) {
    case (.stored, _): return stored
    case (_, 1): return try inflater.inflate(stored, count: count)
    case (.begins, _): ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
    case (.continues, _): guard isInRun else { throw .badField("run") }
    }
    isInRun = false
    guard count <= Format.bodyByteCountMax,
      count <= (stored.count / Format.zstdBlockByteCountMin + 1) * Format.zstdBlockByteCountMax
    else { throw .lengthOutOfBounds(UInt64(count)) }
    let raw = try decompress(stored, count: count)
    isInRun = true
    return raw
  }

  private func decompress(_ stored: [UInt8], count: Int) throws(FormatError) -> [UInt8] {
    var isComplete = false
    // One byte of room beyond what is stated shows whether there is more.
    let raw = [UInt8](unsafeUninitializedCapacity: count + 1) { raw, initialized in
      stored.withUnsafeBytes { stored in
        var input = ZSTD_inBuffer(src: stored.baseAddress, size: stored.count, pos: 0)
        var output = ZSTD_outBuffer(dst: raw.baseAddress, size: count + 1, pos: 0)
        var left = 1
        while left != 0, ZSTD_isError(left) == 0, input.pos < input.size, output.pos <= count {
          left = ZSTD_decompressStream(context, &output, &input)
        }
        // 0 is the end of the stream, which no run has.
        isComplete =
          left != 0 && ZSTD_isError(left) == 0 && input.pos == input.size && output.pos == count
        initialized = min(output.pos, count)
      }
    }
    guard isComplete else { throw .inflation }
    return raw
  }
}
