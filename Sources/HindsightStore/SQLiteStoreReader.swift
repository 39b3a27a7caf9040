import CHindsightSQLite
import HindsightCore
import Synchronization

/// Reads rows by their origin, in place or blocking.
final class SQLiteStoreReader: StoreReader {
  private let gate: SnapshotGate
  private let state: Mutex<State>

  init(_ connection: sending SQLiteConnection, gate: SnapshotGate) throws(StoreError) {
    self.gate = gate
    state = Mutex(try State(connection))
    gate.register(self)
  }

  func read(origin: SequenceNumber, mode: ReadMode) throws(StoreError) -> StoreReadResult {
    try state.withLock { (state) throws(StoreError) in
      _ = try state.connection.rawHandle(.read)
      switch mode {
      case .inPlace: return try state.readInPlace(origin, gate)
      case .mayBlock: return try state.readBlocking(origin, gate)
      }
    }
  }

  /// Gives up the snapshot, if one is kept. Waits for a read that is under way.
  func endSnapshot() { state.withLock { $0.endSnapshot() } }

  func keepLogAtClose() { state.withLock { $0.connection.keepLogAtClose() } }

  func close() {
    state.withLock {
      $0.endSnapshot()
      $0.connection.close()
    }
  }
}

private struct State {
  let connection: SQLiteConnection
  private let begin: SQLiteStatement
  private let commit: SQLiteStatement
  private let rollBack: SQLiteStatement
  private let select: SQLiteStatement
  /// The generation of the snapshot that is kept; `nil`: none is.
  private var snapshot: UInt64?
  private var mode: ReadMode?

  init(_ connection: SQLiteConnection) throws(StoreError) {
    self.connection = connection
    begin = try connection.prepare("BEGIN", .read)
    commit = try connection.prepare("COMMIT", .read)
    rollBack = try connection.prepare("ROLLBACK", .read)
    select = try connection.prepare(
      "SELECT value FROM entries WHERE origin = ?1", .read)
  }

  mutating func readInPlace(
    _ origin: SequenceNumber, _ gate: SnapshotGate
  ) throws(StoreError) -> StoreReadResult {
    guard NonblockingReads.isSupported else { return .wouldBlock }
    setMode(.inPlace)
    try renewSnapshot(gate)
    select.bind(origin, at: 1)
    let (code, isRefused) = NonblockingReads.run { select.stepCode() }
    defer { select.reset() }
    if isRefused || code & 0xFF == SQLITE_BUSY {
      noteFailure()
      return .wouldBlock
    }
    return try result(code)
  }

  mutating func readBlocking(
    _ origin: SequenceNumber, _ gate: SnapshotGate
  ) throws(StoreError) -> StoreReadResult {
    setMode(.mayBlock)
    try renewSnapshot(gate)
    select.bind(origin, at: 1)
    let code = select.stepCode()
    defer { select.reset() }
    return try result(code)
  }

  mutating func endSnapshot() {
    guard snapshot != nil else { return }
    snapshot = nil
    // Ending a transaction that only read writes nothing and waits for nothing.
    let code = commit.stepCode()
    commit.reset()
    guard code != SQLITE_DONE else { return }
    // SQLite commits no transaction that has met a damaged page. Where it has ended it already, that is right, too.
    _ = rollBack.stepCode()
    rollBack.reset()
  }

  // MARK: Parts

  /// Makes the next step read in a snapshot that contains all that was committed by now.
  private mutating func renewSnapshot(_ gate: SnapshotGate) throws(StoreError) {
    let generation = gate.generation
    if snapshot == generation { return }
    endSnapshot()
    guard gate.mayKeepSnapshots else { return }
    try begin.run()
    snapshot = generation
  }

  private mutating func result(_ code: Int32) throws(StoreError) -> StoreReadResult {
    switch code {
    case SQLITE_ROW: break
    case SQLITE_DONE: return .missing
    default:
      let error = connection.error(code, .read)
      noteFailure()
      throw error
    }
    let value = select.bytesUnsafely(0)
    // A row that is none of ours is as good as none.
    guard select.isBlob(0), value.count <= Bounds.valueByteCountMax else { return .missing }
    return .row(value: [UInt8](value))
  }

  /// A failed step may have ended the transaction. (The reset before lets it go.)
  private mutating func noteFailure() {
    select.reset()
    if connection.isAutocommit { snapshot = nil }
  }

  private mutating func setMode(_ mode: ReadMode) {
    if self.mode == mode { return }
    self.mode = mode
    connection.setBusyTimeout(
      milliseconds: mode == .inPlace ? 0 : StoreBounds.busyTimeoutMilliseconds)
  }
}
