public import HindsightCore

/// The seam between a cache and its store: everything the one does with the other, so that a
/// test or a simulator can stand in for SQLite.
public protocol StoreBackend: Sendable {
  /// Opens the one connection that writes, making the database and its schema where absent.
  ///
  /// - Throws: `foreign`, `notADatabase` or `corrupt` for a database that is not ours or not
  ///   whole; `cantOpen` where something else than a regular file stands in its place;
  ///   `readOnly`, `busy`, `full`, `ioError`.
  func openWriter() throws(StoreError) -> any StoreWriter

  /// Opens a connection that reads. A writer must have been opened before. May block.
  ///
  /// - Throws: as `openWriter()`.
  func openReader() throws(StoreError) -> any StoreReader

  /// The mark of a store that none of this backend's connections has open, without making a database or changing
  /// one. (Where a process was killed, SQLite may make its index of the log anew, or undo a transaction.)
  ///
  /// - Returns: `nil` where there is no store, or a fresh one.
  /// - Throws: as `openWriter()`.
  func markAtRest() throws(StoreError) -> StoreMark?

  /// Whether a read can refuse to wait for the disk. Where it can't, every read is the reader thread's.
  var canReadInPlace: Bool { get }

  /// Moves the database and the files beside it out of the way, under a name that is free.
  ///
  /// To be called while none of this backend's connections is open.
  ///
  /// - Returns: the new name of the database in its directory; `nil` where there was none.
  /// - Throws: `ioError`, `readOnly` or `full` as the system says.
  func quarantine() throws(StoreError) -> String?

  /// Opens one of the databases that `quarantine()` has moved away, for what can still be read of it. It stays as it
  /// is.
  ///
  /// - Parameter number: 0: the one that was moved last, 1: the one before it, and so on.
  /// - Returns: `nil` where there are no more.
  /// - Throws: as `openReader()`, where this one gives nothing.
  func openQuarantined(_ number: Int) throws(StoreError) -> (any StoreReader)?
}

extension StoreBackend {
  public var canReadInPlace: Bool { true }

  /// None.
  public func openQuarantined(_ number: Int) throws(StoreError) -> (any StoreReader)? { nil }
}

/// The one connection that writes. It belongs to the projector: calls from several threads are
/// safe, but wait for each other.
public protocol StoreWriter: AnyObject, Sendable {
  /// Up to where the rows are a projection; `nil` for a fresh store.
  ///
  /// - Throws: `corrupt` where the stored mark is none.
  func mark() throws(StoreError) -> StoreMark?

  /// Applies all of `operations` and sets the mark in one transaction: all or nothing. Committed
  /// afterwards, but not yet safe from a loss of power (see `checkpoint(_:)`).
  ///
  /// - Throws: `conflict`, `corrupt`: nothing was applied. `full`, `ioError`, `busy`: likewise, but for a commit
  ///   that failed at its very end, which `mark()` tells. The connection stays usable.
  func apply(_ operations: [RowOperation], mark: StoreMark) throws(StoreError)

  /// Makes what is committed safe from a loss of power, and moves as much of the log into the
  /// database as the readers of other processes allow.
  ///
  /// - Throws: `ioError` if a sync failed: the connection never syncs again and says so at every
  ///   later call, since the kernel may have dropped what it could not write (fsync(2)). Anything
  ///   else: nothing was lost, and the call can be repeated.
  func checkpoint(_ kind: CheckpointKind) throws(StoreError) -> CheckpointOutcome

  /// Bytes of the write-ahead log in use, 0 once a checkpoint has covered all of it.
  var walByteCount: UInt64 { get }

  /// The rows after `origin` in the order of their origins: at most `limit`, fewer where their
  /// values are long, none only at the end.
  ///
  /// - Throws: `corrupt` where a row holds what none of ours can; `ioError`.
  func rows(
    after origin: SequenceNumber, limit: Int, detail: RowDetail
  ) throws(StoreError) -> [RowImage]

  /// Closes the connection. Calls after that throw `closed`; closing again does nothing.
  func close()
}

extension StoreWriter {
  /// Calls `body` with every row in the order of their origins, a page in memory at a time.
  ///
  /// - Throws: as `rows(after:limit:detail:)`, and what `body` throws.
  public func forEachRow(
    detail: RowDetail, _ body: (RowImage) throws(StoreError) -> Void
  ) throws(StoreError) {
    var last = SequenceNumber.zero
    while true {
      let page = try rows(after: last, limit: StoreBounds.rowsPerPage, detail: detail)
      guard let end = page.last else { return }
      for row in page { try body(row) }
      last = end.origin
    }
  }
}

/// A connection that reads: for one thread at a time; others wait.
public protocol StoreReader: AnyObject, Sendable {
  /// Reads one row, in a snapshot that contains every transaction that the writer of the same
  /// backend had committed when the call began.
  ///
  /// - Throws: `ioError`, `corrupt`, `closed`; `busy` only with `.mayBlock`.
  func read(origin: SequenceNumber, mode: ReadMode) throws(StoreError) -> StoreReadResult

  /// Closes the connection. Calls after that throw `closed`; closing again does nothing.
  func close()
}

/// Whether a read may wait for the disk or for a lock.
public enum ReadMode: Sendable, Hashable {
  /// Never: what is not in the page cache is refused with `wouldBlock`.
  case inPlace
  /// On the reader thread only.
  case mayBlock
}

/// What a read found.
public enum StoreReadResult: Equatable, Sendable {
  /// The encoded value. What else the row holds, whoever asks for an origin knows.
  case row(value: [UInt8])
  /// The snapshot has no such row.
  case missing
  /// Only for `.inPlace`: ask the reader thread.
  case wouldBlock
}

/// How far a checkpoint goes.
public enum CheckpointKind: Sendable, Hashable {
  /// Waits for nobody.
  case passive
  /// Waits for readers a while, then also empties the log's file: for closing.
  case truncate
}

/// What a checkpoint achieved.
public struct CheckpointOutcome: Equatable, Sendable {
  /// The mark that survives a loss of power; `nil` for a fresh store.
  public var synced: StoreMark?
  /// Bytes of the log in use afterwards.
  public var walByteCount: UInt64
  /// Whether the reader of another process kept part of the log from being moved: as long as
  /// that lasts, the log grows.
  public var isBlockedByReader: Bool

  public init(synced: StoreMark?, walByteCount: UInt64, isBlockedByReader: Bool) {
    self.synced = synced
    self.walByteCount = walByteCount
    self.isBlockedByReader = isBlockedByReader
  }
}
