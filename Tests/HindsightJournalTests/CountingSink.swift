import HindsightCore
import HindsightJournal

/// Counts events.
final class CountingSink: ReplaySink {
  let hashSeed: UInt64 = 0
  private(set) var count = 0
  func begin() { count = 0 }
  func restore(_ head: StateHead) {}
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) {}
  func finishRestore(digest: UInt64) {}
  func apply(_ record: Record) { count += 1 }
  func endFrame(at position: JournalPosition) {}
}
