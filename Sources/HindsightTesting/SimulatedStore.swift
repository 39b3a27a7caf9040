import HindsightCore
public import HindsightStore
import Synchronization

/// A store in memory that can lose power and fail on request, for tests: like SQLite with a
/// write-ahead log, a commit survives a killed process at once, and a loss of power only after the
/// next checkpoint.
///
/// Whether a call fails, a `FaultInjector` decides. Nothing here waits.
public final class SimulatedStore: StoreBackend {
  /// One database file. Connections hold on to it when its name is gone.
  final class Database: Sendable {
    struct Contents {
      var committed = SimulatedRows()
      var synced = SimulatedRows()
      /// Transactions since the last sync, oldest first.
      var unsynced: [Transaction] = []
      /// Bytes of the log that no checkpoint has moved.
      var logByteCount: UInt64 = 0
      var damage: StoreError.Code?
    }

    struct Transaction {
      var operations: [RowOperation]
      var mark: StoreMark
    }

    let contents: Mutex<Contents>
    init(_ contents: Contents = Contents()) { self.contents = Mutex(contents) }
  }

  struct State {
    var database: Database?
    var quarantined: [Database] = []
    var connectionCount = 0
    /// Processes that end take their connections with them.
    var generation = 0
    var hasExternalReader = false
  }

  let state = Mutex(State())
  let injector: FaultInjector?

  /// - Parameter injector: is asked at every call.
  public init(_ injector: FaultInjector? = nil) { self.injector = injector }

  // MARK: StoreBackend

  public func openWriter() throws(StoreError) -> any StoreWriter {
    try check(.openWriter)
    let database = state.withLock { state -> Database in
      let database = state.database ?? Database()
      state.database = database
      return database
    }
    try database.checkHealth(.open)
    return SimulatedStoreWriter(SimulatedConnection(self, database))
  }

  public func openReader() throws(StoreError) -> any StoreReader {
    try check(.openReader)
    guard let database = state.withLock({ $0.database }) else {
      throw Self.error(.cantOpen, .open, "there is no database")
    }
    try database.checkHealth(.open)
    return SimulatedStoreReader(SimulatedConnection(self, database))
  }

  public func markAtRest() throws(StoreError) -> StoreMark? {
    try check(.mark)
    guard let database = state.withLock({ $0.database }) else { return nil }
    try database.checkHealth(.open)
    return database.contents.withLock { $0.committed.mark }
  }

  public func quarantine() throws(StoreError) -> String? {
    try check(.quarantine)
    return state.withLock { state in
      guard let database = state.database else { return nil }
      state.database = nil
      state.quarantined.append(database)
      return "\(StoreBounds.fileName).quarantine-\(state.quarantined.count)"
    }
  }

  // MARK: Parts

  /// - Returns: what the call does besides, or instead.
  @discardableResult
  func check(_ call: StoreCall) throws(StoreError) -> StoreFault? {
    let fault = injector?.storeFault(call)
    if case .error(let code) = fault { throw Self.error(code, call.operation, "injected") }
    return fault
  }

  static func error(
    _ code: StoreError.Code, _ operation: StoreError.Operation, _ message: String
  ) -> StoreError {
    // 1034: SQLITE_IOERR_FSYNC, after which a connection never syncs again.
    let isSync = code == .ioError && operation == .checkpoint
    return StoreError(
      code: code, extendedCode: isSync ? 1_034 : 0, operation: operation, message: message,
      path: "simulated/\(StoreBounds.fileName)")
  }
}

extension StoreCall {
  fileprivate var operation: StoreError.Operation {
    switch self {
    case .openWriter, .openReader: .open
    case .quarantine: .quarantine
    case .mark: .readMark
    case .apply: .apply
    case .checkpoint: .checkpoint
    case .rows: .scan
    case .readInPlace, .read: .read
    }
  }
}

extension SimulatedStore.Database {
  func checkHealth(_ operation: StoreError.Operation) throws(StoreError) {
    if let code = contents.withLock({ $0.damage }) {
      throw SimulatedStore.error(code, operation, "the database is damaged")
    }
  }
}
