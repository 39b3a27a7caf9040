public import HindsightCore

/// How far a replay came, and what it found there.
public struct ReplayEnd: Sendable {
  /// What stands behind the last good frame of the last segment.
  public enum Tail: Equatable, Sendable {
    case end
    case bad(FormatError)
  }

  /// The checkpoint that it began with.
  public internal(set) var checkpoint: UInt32?
  /// The checkpoint's size.
  public internal(set) var checkpointByteCount: UInt64 = 0
  /// Checkpoints that were damaged, and so passed over.
  public internal(set) var damagedCheckpoints: [DamageError] = []
  /// The event behind which it began.
  public internal(set) var follows = SequenceNumber.zero
  /// Events before that which stand in the journal: no checkpoint leads to them, so a replay from the oldest
  /// place passes them over.
  public internal(set) var unreached: ClosedRange<SequenceNumber>?
  public internal(set) var last = SequenceNumber.zero
  public internal(set) var position = JournalPosition(segment: 0, byteOffset: 0)
  public internal(set) var tail = Tail.end
  public internal(set) var recordCount = 0
  public internal(set) var frameCount = 0
  /// Bytes of the frames that were applied, as they are stored, headers included …
  public internal(set) var storedByteCount: UInt64 = 0
  /// … and of their events before compression.
  public internal(set) var rawByteCount: UInt64 = 0
  /// Whether the last event was `closed`.
  public internal(set) var isClosed = false
  /// Boot time of the last frame, in µs.
  public internal(set) var bootTime: UInt64?
  /// When the last event happened.
  var at = Timestamp.zero
  /// What ended a salvaging replay early.
  public internal(set) var damage: DamageError?
  /// The highest sequence that some frame, checkpoint or successor proves to have been durable.
  public internal(set) var proven = SequenceNumber.zero
  /// The first event of a gap that was bridged by a checkpoint, where no event after it tells so.
  public internal(set) var untoldGap: SequenceNumber?
  /// Checksum of the last frame's header; `nil` where the replay began behind it.
  var previousChecksum: UInt32?
  /// The frames of the last segment, as far as they were replayed.
  var frames: [FramePlace] = []
  /// The last of them themselves, where a recovery may need them.
  var kept = KeptFrames(byteCountMax: 0)
  /// The event that was to be the last one.
  var through: SequenceNumber?
  /// The sink takes no more for now.
  var isStopped = false
  /// Whether the replay ends here.
  var isThrough: Bool { isStopped || through.map { last >= $0 } ?? false }
  /// Where a replay that goes on begins to read.
  var resumption: JournalPosition?

  /// The first frame that nothing proves to be durable.
  var firstUnproven: Int? { frames.firstIndex { $0.first > proven } }

  /// An event is in.
  mutating func applied(
    _ sequence: SequenceNumber, at: Timestamp, isClosed: Bool
  ) {
    last = sequence
    self.at = at
    untoldGap = nil
    recordCount += 1
    self.isClosed = isClosed
  }

  /// Where a frame stands in its segment.
  struct FramePlace {
    var offset: UInt64
    var first: SequenceNumber
    /// The last event before it.
    var follows: SequenceNumber
    var encoding: BodyEncoding
  }
}
