import HindsightCore

// Where a replay that begins with a checkpoint goes on.

extension JournalDirectory {
  /// Whether this checkpoint was to bridge a gap that went on: what follows another one stands in its segment's
  /// place.
  func isOutdone(_ checkpoint: CheckpointHeader) -> Bool {
    guard checkpoint.gapFirst != nil,
      let segment = segments.first(where: { $0.header.number == checkpoint.position.segment })
    else { return false }
    return segment.header.follows != checkpoint.head.sequence
  }

  /// Whether a replay that begins with this checkpoint goes on inside a segment, at the place that it states.
  package func goesOnInside(_ checkpoint: CheckpointHeader) -> Bool {
    let last = checkpoint.head.sequence
    guard let index = segmentIndex(after: last) else { return false }
    return segments[index].goesOn(at: checkpoint.position, after: last)
  }
}

extension JournalDirectory.Segment {
  /// Whether a checkpoint goes on inside it. A segment that begins behind the checkpoint isn't the one that
  /// it means: a salvage has made it in the place of one that was lost.
  func goesOn(at position: JournalPosition, after last: SequenceNumber) -> Bool {
    position.segment == header.number
      && position.byteOffset > UInt64(Format.segmentHeaderByteCount) && header.follows < last
  }
}
