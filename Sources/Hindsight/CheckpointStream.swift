import HindsightCore
import HindsightJournal
import HindsightThreads

/// Writes a checkpoint from a capture, slice by slice: the lock is held for one slice at a time, and
/// never while one is encoded or written.
final class CheckpointStream {
  enum Progress {
    case more
    /// The checkpoint is there, and worth so many bytes of journal.
    case finished(UInt64)
    /// Another capture has taken the place of this one; what was written is removed.
    case void
  }

  let capture: Checkpointing.Capture
  private let writer: CheckpointWriter
  private var digest: StateDigest
  /// Without a told order the digest goes by origins, which come in no order.
  private var unordered: [EntryImage] = []
  private var slice = CapturedSlice()

  /// - Precondition: the capture's place in the journal is known.
  /// - Throws: `StorageError`.
  init(
    _ capture: Checkpointing.Capture, number: UInt32, _ journal: Engine.Journal
  ) throws(StorageError) {
    guard let position = capture.position else { preconditionFailure("not written yet") }
    self.capture = capture
    digest = StateDigest(capture.head, orderIsTold: capture.orderIsTold)
    var header = CheckpointHeader(
      number: number, journalID: journal.id, head: capture.head, digest: 0,
      entryCount: UInt64(capture.entryCount), position: position, bootTime: capture.bootTime,
      gapFirst: capture.gapFirst)
    header.previousChecksum = capture.previousChecksum
    writer = try CheckpointWriter(journal.storage, header)
  }

  /// Writes the next slice.
  /// - Throws: `StorageError`; what was written is removed then.
  func step(_ engine: Engine) throws(StorageError) -> Progress {
    do throws(StorageError) {
      return try writeSlice(engine)
    } catch {
      writer.discard()
      throw error
    }
  }

  private func writeSlice(_ engine: Engine) throws(StorageError) -> Progress {
    StandingBack.ifAskedFor()
    let hasMore = engine.locked { state in state.takeSlice(of: capture, into: &slice) }
    guard let hasMore else {
      try writer.abandon()
      return .void
    }
    try slice.forEachEntry { (key, entry) throws(StorageError) in try append(key, entry) }
    slice.removeAll()
    if hasMore { return .more }
    unordered.sort { $0.origin < $1.origin }
    for image in unordered { digest.add(image) }
    return .finished(try writer.finish(digest: digest.value))
  }

  /// Removes what was written.
  /// - Throws: `StorageError`.
  func abandon() throws(StorageError) { try writer.abandon() }

  private func append(
    _ key: UnsafeRawBufferPointer, _ entry: CapturedSlice.Entry
  ) throws(StorageError) {
    if capture.orderIsTold {
      digest.add(key: key, entry.numbers)
    } else {
      unordered.append(EntryImage(key: Bytes(key), numbers: entry.numbers))
    }
    let isWanted = capture.wantsValue(of: entry.numbers)
    try writer.append(key: key, entry.numbers, value: isWanted ? entry.value : nil)
  }
}
