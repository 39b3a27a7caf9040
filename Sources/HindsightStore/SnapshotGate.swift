import Synchronization

/// Lets the readers of one store keep a snapshot from read to read, and the writer take it away.
///
/// A transaction for each read costs as much as the read itself, in locks. But a snapshot must not
/// be older than the last commit, or a read would miss a row whose value has just been unpinned;
/// and while one is held, the log can neither be moved into the database nor started anew.
final class SnapshotGate: Sendable {
  private let commitCount = Atomic<UInt64>(0)
  private let isClosed = Atomic<Bool>(false)
  private let readers = Mutex<[Entry]>([])

  private struct Entry {
    weak var reader: SQLiteStoreReader?
  }

  /// Counts commits: a snapshot taken when it was less is too old.
  var generation: UInt64 { commitCount.load(ordering: .acquiring) }

  /// Whether snapshots may outlast the read they were taken for.
  var mayKeepSnapshots: Bool { !isClosed.load(ordering: .sequentiallyConsistent) }

  func register(_ reader: SQLiteStoreReader) {
    readers.withLock {
      $0.removeAll { $0.reader == nil }
      $0.append(Entry(reader: reader))
    }
  }

  /// To be called after each commit, before anyone is told of it.
  func noteCommit() { commitCount.add(1, ordering: .releasing) }

  /// A sync has failed: no reader that closes last may move the log.
  func keepLogAtClose() {
    for reader in readers.withLock({ $0.compactMap(\.reader) }) { reader.keepLogAtClose() }
  }

  /// Runs `body` while no reader keeps a snapshot longer than its read.
  func withoutSnapshots<Result>(
    _ body: () throws(StoreError) -> Result
  ) throws(StoreError) -> Result {
    isClosed.store(true, ordering: .sequentiallyConsistent)
    defer { isClosed.store(false, ordering: .sequentiallyConsistent) }
    // A reader looks at the gate with its own lock held. So whoever found it open has taken its
    // snapshot before we get that lock, and loses it here; whoever comes later finds it closed.
    let all = readers.withLock { $0.compactMap(\.reader) }
    for reader in all { reader.endSnapshot() }
    return try body()
  }
}
