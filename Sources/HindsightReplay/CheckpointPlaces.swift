import HindsightCore
import HindsightJournal

/// Holds the places where whole checkpoints say that the journal goes on against the frames that a
/// verification comes by. An opening believes them: behind a wrong one, all that follows would be gone.
final class CheckpointPlaces {
  private let checkpoints: [SequenceNumber: [CheckpointHeader]]
  private let directory: JournalDirectory
  /// Checkpoints' sequences at which a frame has ended.
  private var met: Set<SequenceNumber> = []
  /// What has been replayed: the event that a part began behind, and its last one.
  private var parts: [(follows: SequenceNumber, last: SequenceNumber)] = []
  private(set) var problems: [Verification.Problem] = []

  init(_ checkpoints: [CheckpointHeader], _ directory: JournalDirectory) {
    self.checkpoints = Dictionary(grouping: checkpoints, by: \.head.sequence)
    self.directory = directory
  }

  /// What the checkpoints of the state with this last event say is its digest.
  func digests(at sequence: SequenceNumber) -> Set<UInt64> {
    Set(checkpoints[sequence, default: []].map(\.digest))
  }

  /// A frame has ended with this event.
  /// - Parameters:
  ///   - position: where.
  ///   - headerChecksum: of the frame.
  func frameEnded(
    with sequence: SequenceNumber, at position: JournalPosition, headerChecksum: UInt32
  ) {
    guard let checkpoints = checkpoints[sequence], met.insert(sequence).inserted else { return }
    for checkpoint in checkpoints where directory.goesOnInside(checkpoint) {
      let place = checkpoint.position
      if place != position {
        note(
          checkpoint,
          "it goes on at offset \(place.byteOffset) of \(place.segmentName), but its last event, "
            + "\(sequence), is in the frame that ends at offset \(position.byteOffset)")
      } else if let stated = checkpoint.previousChecksum, stated != headerChecksum {
        note(checkpoint, "the frame before the place where it goes on has another checksum")
      }
    }
  }

  /// A part of the replay, or all of it, has ended.
  func partEnded(_ end: ReplayEnd) { parts.append((end.follows, end.last)) }

  /// All parts have ended.
  func end() {
    for (sequence, checkpoints) in checkpoints.sorted(by: { $0.key < $1.key })
    where !met.contains(sequence) {
      guard parts.contains(where: { $0.follows < sequence && sequence <= $0.last }) else {
        continue
      }
      // What a gap lacks has no frame, and a checkpoint that bridges it goes on behind it.
      for checkpoint in checkpoints
      where checkpoint.gapFirst == nil || directory.goesOnInside(checkpoint) {
        note(checkpoint, "no frame ends with its last event, \(sequence)")
      }
    }
  }

  private func note(_ checkpoint: CheckpointHeader, _ message: String) {
    problems.append(.init(file: checkpoint.name, offset: nil, message: message))
  }
}
