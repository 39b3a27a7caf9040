public import HindsightCore

/// Where the journal goes on: the end of the last frame, or a later segment's beginning.
public struct JournalPosition: Equatable, Sendable {
  public var segment: UInt32
  public var byteOffset: UInt64

  /// The segment's file.
  public var segmentName: String { FileName.segment(segment) }

  /// Where a segment's first frame begins.
  public static func start(of segment: UInt32) -> JournalPosition {
    JournalPosition(segment: segment, byteOffset: UInt64(Format.segmentHeaderByteCount))
  }

  public init(segment: UInt32, byteOffset: UInt64) {
    self.segment = segment
    self.byteOffset = byteOffset
  }
}

/// What a journal is written with.
public struct JournalOptions: Sendable {
  /// Segments are cut at this size.
  public var segmentByteCount: UInt64
  /// Gives random numbers: journal ids and salts. A seam, so that a test can decide them.
  public var random: @Sendable () -> UInt64
  /// Gives the time that segments are stamped with.
  public var now: @Sendable () -> Timestamp
  /// So many bytes of frames that nothing proves to be durable are kept by a recovery, which writes them again. Fewer
  /// only where a test wants them to be read again, as more are.
  package var keptByteCountMax = 32 << 20

  public init(
    segmentByteCount: UInt64 = 16 << 20,
    random: @escaping @Sendable () -> UInt64 = { .random(in: 0 ... .max) },
    now: @escaping @Sendable () -> Timestamp
  ) {
    self.segmentByteCount = segmentByteCount
    self.random = random
    self.now = now
  }
}
