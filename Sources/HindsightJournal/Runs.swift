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
  /// Made when it is first needed: most segments are created without a frame in them.
  private lazy var deflater = Deflater()
  private var scratch: [UInt8] = []
  /// Bytes of the run under way, before compression; 0: the next body begins one.
  private var runByteCount = 0

  /// The next body can be read without those before it.
  func endRun() { runByteCount = 0 }

  /// Compresses a body, or leaves it as it is where that is as good. A small one may grow by 9 bytes.
  func encode(_ raw: [UInt8]) -> (stored: [UInt8], encoding: BodyEncoding) {
    guard raw.count >= Format.compressedByteCountMin else { return (raw, .stored) }
    // A large body gains nothing from those before it, and only a first one can be stored as it is.
    if raw.count >= Format.runByteCount { endRun() }
    let begins = runByteCount == 0
    if begins { deflater.reset() }
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
    let bound = Deflater.bound(raw.count)
    if scratch.count < bound { scratch = [UInt8](repeating: 0, count: bound) }
    return scratch.withUnsafeMutableBytes { scratch in
      raw.withUnsafeBytes { deflater.deflate($0, into: scratch) }
    }
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
