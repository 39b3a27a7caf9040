public import HindsightCore

/// Where to begin, where the store lacks what precedes the newest checkpoint.
///
/// The index needs only what follows that; the store's rows can be gathered later. A little is
/// gathered at once, which costs less than it saves.
public struct JournalBacklog {
  private let directory: JournalDirectory

  public init(_ directory: JournalDirectory) { self.directory = directory }

  /// Where a replay begins, for a store of this journal that has applied so much.
  /// - Parameter byteCountMin: what is a little, in bytes of the journal as it is stored.
  /// - Returns: `nil` where a salvage has cut out what the store has applied last: it has rows of events that
  ///   are no more, and may lack rows that those had taken away.
  public func start(
    applied: SequenceNumber, byteCountMin: UInt64
  ) throws(DamageError) -> ReplayStart? {
    if try isCutOut(applied) { return nil }
    var newest: UInt64?
    for number in directory.checkpoints {
      guard let header = try header(number) else { continue }
      if header.head.sequence <= applied {
        return try choose(newest, header.position, applied, byteCountMin)
      }
      // Events were lost there: how the store gets across has to be found out first.
      if header.gapFirst != nil { return .notAfter(applied) }
      if newest == nil { newest = try place(header.position) }
    }
    return try choose(newest, .start(of: 0), applied, byteCountMin)
  }

  /// Whether an event is among those that a salvage has cut out: the segment in which it would stand goes on
  /// after an earlier one, and begins with a later one, which tells of the gap.
  private func isCutOut(_ sequence: SequenceNumber) throws(DamageError) -> Bool {
    guard let index = directory.segmentIndex(after: sequence) else { return false }
    let segment = directory.segments[index]
    guard segment.header.follows < sequence else { return false }
    return try DamageError.wrap { () throws(StorageError) in
      var reader = FrameReader(segment)
      guard let first = try reader.skip()?.first else { return false }
      return first > sequence
    }
  }

  private func choose(
    _ newest: UInt64?, _ base: JournalPosition, _ applied: SequenceNumber, _ byteCountMin: UInt64
  ) throws(DamageError) -> ReplayStart {
    // What the store lacks may be gone, where retention heeded no store meanwhile.
    guard let newest, reaches(base) else { return .notAfter(applied) }
    let base = try place(base)
    return newest > base && newest - base >= byteCountMin ? .newest : .notAfter(applied)
  }

  /// Whether the journal still has all that follows a checkpoint of that position, or everything from its
  /// beginning.
  private func reaches(_ base: JournalPosition) -> Bool {
    guard base.segment > 0 else { return directory.segments.first?.header.follows == .zero }
    return directory.segments.contains { $0.header.number == base.segment }
  }

  /// Bytes of the journal before a position.
  private func place(_ position: JournalPosition) throws(DamageError) -> UInt64 {
    try DamageError.wrap { () throws(StorageError) in
      try directory.byteCount(before: position.segment) + position.byteOffset
    }
  }

  /// A checkpoint's header; `nil` where it can't be one of this journal's.
  private func header(_ number: UInt32) throws(DamageError) -> CheckpointHeader? {
    let header = try directory.checkpoint(number)?.header
    return header?.journalID == directory.journalID ? header : nil
  }
}
