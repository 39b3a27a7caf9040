public import HindsightCore

/// Drops old history, never what recovery or the store still needs.
public struct JournalRetention {
  private let storage: any JournalStorage

  public init(_ storage: any JournalStorage) { self.storage = storage }

  private struct Checkpoint {
    var number: UInt32
    var header: CheckpointHeader
  }

  /// Removes segments, oldest first, while there is more than the limits allow; and checkpoints
  /// that nobody needs any more.
  ///
  /// What is kept in any case: everything from the second newest checkpoint on that contains
  /// nothing after `needed` (the second, in case the newest turns out to be damaged).
  /// - Parameters:
  ///   - byteCountMax: of all segments; `nil`: unlimited.
  ///   - createdBefore: segments from before go; `nil`: unlimited.
  ///   - needed: what the journal has made durable and the store has synced.
  ///   - writer: is told how many bytes went.
  /// - Returns: the names of the removed files.
  public func run(
    byteCountMax: UInt64?, createdBefore: Timestamp?, needed: SequenceNumber,
    writer: JournalWriter
  ) throws(DamageError) -> [String] {
    let directory = try JournalDirectory(storage, forWriting: false)
    let checkpoints = self.checkpoints(directory)
    let usable = checkpoints.filter {
      $0.header.head.sequence <= needed && !directory.isOutdone($0.header)
    }
    guard usable.count >= 2 else { return [] }
    let keepFrom = usable[1].header.position.segment
    return try DamageError.wrap { () throws(StorageError) in
      var removed = try dropSegments(
        directory, keepFrom, byteCountMax, createdBefore, writer)
      let oldest = directory.segments.first { !removed.contains($0.name) }?.header.number ?? 0
      for checkpoint in checkpoints.dropFirst(2)
      where directory.isOutdone(checkpoint.header)
        || !isUseful(checkpoint, oldest: oldest, usable.prefix(2).map(\.number))
      {
        let name = FileName.checkpoint(checkpoint.number)
        try storage.remove(name)
        removed.append(name)
      }
      if !removed.isEmpty { try storage.syncDirectory() }
      return removed
    }
  }

  /// Newest first; those that are damaged, or can't be read just now, are left out: then only more is kept.
  private func checkpoints(_ directory: JournalDirectory) -> [Checkpoint] {
    directory.checkpoints.compactMap { number in
      do throws(DamageError) {
        return Checkpoint(
          number: number, header: try CheckpointReader(storage, number: number).header)
      } catch {
        return nil
      }
    }
  }

  /// A checkpoint at a segment's start lets that segment be replayed without those before it.
  private func isUseful(_ checkpoint: Checkpoint, oldest: UInt32, _ kept: [UInt32]) -> Bool {
    if kept.contains(checkpoint.number) { return true }
    let position = checkpoint.header.position
    return position.segment >= oldest
      && position.byteOffset == UInt64(Format.segmentHeaderByteCount)
  }

  private func dropSegments(
    _ directory: JournalDirectory, _ keepFrom: UInt32, _ byteCountMax: UInt64?,
    _ createdBefore: Timestamp?, _ writer: JournalWriter
  ) throws(StorageError) -> [String] {
    var removed: [String] = []
    var total = writer.journalByteCount
    for (segment, successor) in zip(directory.segments, directory.segments.dropFirst())
    where segment.header.number < keepFrom {
      let isOver = byteCountMax.map { total > $0 } ?? false
      // A segment is as old as its last event, that is, as its successor's beginning.
      let isOld = createdBefore.map { successor.header.createdAt < $0 } ?? false
      guard isOver || isOld else { break }
      let size = try segment.file.size()
      try storage.remove(segment.name)
      // One after the other: removals that reach the disk in another order would leave a hole.
      try storage.syncDirectory()
      writer.removed(size)
      total -= min(size, total)
      removed.append(segment.name)
    }
    return removed
  }
}
