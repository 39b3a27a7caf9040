public import HindsightCore
public import HindsightJournal

/// Finds out how a cache was last opened, without applying its events.
public enum LastOpened {
  /// The limits, TTLs and access log of the last `opened` event; `nil` for a journal without one.
  ///
  /// O(journal after the newest checkpoint), of which only the head is looked at. Of a damaged journal, all
  /// that is whole is looked at. Changes nothing; a writer may be at work.
  /// - Throws: `DamageError` where the journal is damaged and nothing of it tells, or something can't be read.
  public static func read(_ storage: any JournalStorage) throws(DamageError) -> Opened? {
    let sink = OpenedSink()
    do throws(DamageError) {
      _ = try JournalReplay(JournalDirectory(reading: storage)).run(from: .newest, into: sink)
    } catch {
      if error.storageFailure != nil { throw error }
      let isLive = try DamageError.wrap { () throws(StorageError) in try storage.isLocked() }
      try CrossingReplay(storage, isLive: isLive).run(into: sink) { _, _ in true }
      if sink.opened == nil { throw error }
    }
    return sink.opened
  }
}

private final class OpenedSink: ReplaySink {
  private(set) var opened: Opened?

  func begin() {}
  func restore(_ head: StateHead) { opened = head.opened ?? opened }
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
