/// The store on disk: `store.sqlite` in the cache's directory.
///
/// Reads of the writer's commits go through one object that its connections share: use the
/// connections of one `SQLiteStore` together, and one `SQLiteStore` for each open cache.
public struct SQLiteStore: StoreBackend {
  private let directory: String
  private let pageCountMax: UInt32?
  private let gate = SnapshotGate()

  /// Nothing is touched before `openWriter()`.
  ///
  /// - Parameter directory: an existing directory.
  public init(directory: String) {
    self.init(directory: directory, pageCountMax: nil)
  }

  /// - Parameter pageCountMax: as if the disk were full beyond this many pages.
  package init(directory: String, pageCountMax: UInt32?) {
    self.directory = directory
    self.pageCountMax = pageCountMax
  }

  public func openWriter() throws(StoreError) -> any StoreWriter {
    SystemCalls.install()
    let files = try StoreFiles(directory: directory, .open)
    try files.prepareForWriting()
    let connection = try SQLiteConnection(path: files.path, access: .readWrite)
    try connection.tune()
    try connection.useLog()
    try StoreSchema.createOrCheck(connection)
    if let pageCountMax {
      try connection.execute("PRAGMA max_page_count = \(pageCountMax)", .open)
    }
    return try SQLiteStoreWriter(connection, gate: gate)
  }

  public func openReader() throws(StoreError) -> any StoreReader {
    SystemCalls.install()
    let files = try StoreFiles(directory: directory, .open)
    try files.checkForReading()
    // Not read-only: such a connection could not recover the log's index by itself.
    let connection = try SQLiteConnection(path: files.path, access: .readWrite)
    try connection.tune()
    try connection.execute("PRAGMA query_only = ON", .open)
    try StoreSchema.check(connection)
    return try SQLiteStoreReader(connection, gate: gate)
  }

  public func markAtRest() throws(StoreError) -> StoreMark? {
    let files = try StoreFiles(directory: directory, .open)
    guard try files.isDatabaseThere() else { return nil }
    do throws(StoreError) {
      return try StoreInspector(directory: directory).mark
    } catch {
      guard error.needsRollback else { throw error }
      return try markAfterRollback(files)
    }
  }

  /// A transaction without a log was cut off, as when the database was made: SQLite undoes it before it reads, which
  /// only a connection may that could write.
  private func markAfterRollback(_ files: StoreFiles) throws(StoreError) -> StoreMark? {
    try files.prepareForWriting()
    let connection = try SQLiteConnection(path: files.path, access: .readWrite)
    try connection.tune()
    try connection.execute("PRAGMA query_only = ON", .open)
    if try StoreSchema.isEmpty(connection) { return nil }
    try StoreSchema.check(connection)
    return try StoredMark(connection).read()
  }

  public var canReadInPlace: Bool { NonblockingReads.areSupported(in: directory) }

  public func quarantine() throws(StoreError) -> String? {
    try StoreFiles(directory: directory, .quarantine).quarantine()
  }

  public func openQuarantined(_ number: Int) throws(StoreError) -> (any StoreReader)? {
    let names = try StoreFiles(directory: directory, .open).quarantined()
    guard names.indices.contains(number) else { return nil }
    let files = try StoreFiles(directory: directory, name: names[number], .open)
    try files.checkForReading()
    let connection = try SQLiteConnection(
      path: files.path, access: try files.rest() == nil ? .readOnly : .atRest)
    try connection.tune()
    try StoreSchema.checkEntries(connection)
    return try SQLiteStoreReader(connection, gate: SnapshotGate())
  }
}

extension SQLiteConnection {
  /// Sets what all connections share. Debian's build overwrites what is deleted with zeros, which
  /// a cache has no use for.
  func tune() throws(StoreError) {
    setBusyTimeout(milliseconds: StoreBounds.busyTimeoutMilliseconds)
    try execute(
      """
      PRAGMA mmap_size = 0;
      PRAGMA cache_size = -\(StoreBounds.cacheByteCountMax >> 10);
      PRAGMA secure_delete = OFF;
      PRAGMA temp_store = MEMORY;
      PRAGMA trusted_schema = OFF;
      PRAGMA cell_size_check = ON;
      """, .open)
  }

  /// Turns on the write-ahead log, and makes sure that the database can be written.
  fileprivate func useLog() throws(StoreError) {
    try execute(
      """
      PRAGMA page_size = \(StoreBounds.pageByteCount);
      PRAGMA synchronous = NORMAL;
      PRAGMA journal_size_limit = \(StoreBounds.walFileByteCountMax);
      """, .open)
    let mode = try query("PRAGMA journal_mode = WAL", .open) { $0.text(0) }
    guard mode == ["wal"] else {
      throw StoreError(
        code: .readOnly, operation: .open, message: "journal_mode stays \(mode)", path: path)
    }
  }
}
