import HindsightCore
import HindsightStore
import Synchronization

/// What a connection of a `SimulatedStore` is, whatever it is for. It counts as open until it is closed or
/// let go of.
final class SimulatedConnection: Sendable {
  let store: SimulatedStore
  let database: SimulatedStore.Database
  private let generation: Int
  private let isOpen = Mutex(true)

  init(_ store: SimulatedStore, _ database: SimulatedStore.Database) {
    self.store = store
    self.database = database
    generation = store.state.withLock { state in
      state.connectionCount += 1
      return state.generation
    }
  }

  deinit { close() }

  func close() {
    let wasOpen = isOpen.withLock { isOpen in
      defer { isOpen = false }
      return isOpen
    }
    guard wasOpen else { return }
    store.state.withLock { state in
      if state.generation == generation { state.connectionCount -= 1 }
    }
  }

  /// - Returns: what the call does besides, or instead.
  @discardableResult
  func check(
    _ call: StoreCall, _ operation: StoreError.Operation
  ) throws(StoreError) -> StoreFault? {
    let isAlive = store.state.withLock { $0.generation } == generation
    guard isAlive, isOpen.withLock({ $0 }) else {
      throw SimulatedStore.error(.closed, operation, "the store is closed")
    }
    let fault = try store.check(call)
    try database.checkHealth(operation)
    return fault
  }
}

/// The one connection that writes.
final class SimulatedStoreWriter: StoreWriter {
  private let connection: SimulatedConnection
  private let syncFailure = Mutex<StoreError?>(nil)

  init(_ connection: SimulatedConnection) { self.connection = connection }

  func mark() throws(StoreError) -> StoreMark? {
    try connection.check(.mark, .readMark)
    return connection.database.contents.withLock { $0.committed.mark }
  }

  func apply(_ operations: [RowOperation], mark: StoreMark) throws(StoreError) {
    let fault = try connection.check(.apply, .apply)
    try connection.database.contents.withLock { (contents) throws(StoreError) in
      try contents.committed.apply(operations, mark: mark)
      contents.unsynced.append(.init(operations: operations, mark: mark))
      contents.logByteCount += operations.reduce(4_120) { $0 + $1.logByteCount }
    }
    if case .doneThenError(let code) = fault {
      throw SimulatedStore.error(code, .apply, "injected after the commit")
    }
  }

  func checkpoint(_ kind: CheckpointKind) throws(StoreError) -> CheckpointOutcome {
    if let failure = syncFailure.withLock({ $0 }) { throw failure }
    do throws(StoreError) {
      try connection.check(.checkpoint, .checkpoint)
    } catch {
      if error.code == .ioError { syncFailure.withLock { $0 = error } }
      throw error
    }
    let isBlocked = connection.store.state.withLock { $0.hasExternalReader }
    return connection.database.contents.withLock { contents in
      contents.sync()
      if !isBlocked { contents.logByteCount = 0 }
      return CheckpointOutcome(
        synced: contents.synced.mark, walByteCount: contents.logByteCount,
        isBlockedByReader: isBlocked)
    }
  }

  var walByteCount: UInt64 { connection.database.contents.withLock { $0.logByteCount } }

  func rows(
    after origin: SequenceNumber, limit: Int, detail: RowDetail
  ) throws(StoreError) -> [RowImage] {
    try connection.check(.rows, .scan)
    return connection.database.contents.withLock {
      $0.committed.page(after: origin, limit: limit, detail: detail)
    }
  }

  func close() { connection.close() }
}

/// A connection that reads: each read in a snapshot of its own.
final class SimulatedStoreReader: StoreReader {
  private let connection: SimulatedConnection

  init(_ connection: SimulatedConnection) { self.connection = connection }

  func close() { connection.close() }

  func read(origin: SequenceNumber, mode: ReadMode) throws(StoreError) -> StoreReadResult {
    if try connection.check(mode == .inPlace ? .readInPlace : .read, .read) == .wouldBlock {
      return .wouldBlock
    }
    guard let row = connection.database.contents.withLock({ $0.committed.row(origin) }) else {
      return .missing
    }
    return .row(value: [UInt8](row.value))
  }
}

extension SimulatedStore.Database.Contents {
  mutating func sync() {
    synced = committed
    unsynced = []
  }
}

extension RowOperation {
  /// About what it takes in the log.
  fileprivate var logByteCount: UInt64 {
    switch self {
    case .insert(let row): 4_120 + UInt64(row.value.count)
    case .delete, .deleteAll: 4_120
    }
  }
}
