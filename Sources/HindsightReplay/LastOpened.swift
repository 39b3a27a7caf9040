public import HindsightCore
public import HindsightJournal

/// Finds out how a cache was last opened, without applying its events.
public enum LastOpened {
  /// The limits, TTLs and access log of the last `opened` event; `nil` for a journal without one.
  ///
  /// O(journal after the newest checkpoint), of which only the head is looked at. Changes nothing; a writer may be at work.
  /// - Throws: `DamageError` where the journal can't be read up to its end.
  public static func read(_ storage: any JournalStorage) throws(DamageError) -> Opened? {
    let sink = OpenedSink()
    _ = try JournalReplay(JournalDirectory(reading: storage)).run(from: .newest, into: sink)
    return sink.opened
  }
}

private final class OpenedSink: ReplaySink {
  private(set) var opened: Opened?

  func begin() { opened = nil }
  func restore(_ head: StateHead) { opened = head.opened }
  var takesEntries: Bool { false }
  var hashSeed: UInt64 { 0 }
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) throws(StateError) {}
  func finishRestore(digest: UInt64) throws(StateError) {}
  func apply(_ record: Record) throws(StateError) {
    if case .opened(let opened) = record.event { self.opened = opened }
  }
  var takesLentSets: Bool { true }
  func apply(_ set: LentSet) throws(StateError) {}
  func endFrame(at position: JournalPosition) {}
}
