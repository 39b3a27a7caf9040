public import HindsightCore

/// Looks at a store from outside, beside a live writer if there is one: read-only, and all of it in
/// one snapshot, so that the rows are those of the mark.
///
/// It changes nothing: of a store that nobody has open it takes no lock and makes no file beside it.
/// Where one is opened meanwhile, what was read may be wrong, and `isOutdated` says so.
///
/// Not thread-safe. While it is open, a live writer's log can't be emptied: keep it short.
public final class StoreInspector {
  private let files: StoreFiles
  private let rest: StoreFiles.Rest?
  /// `nil`: the database is empty, as an opening leaves it that was stopped before it made the schema.
  private let scan: RowScan?
  /// Up to where the rows are a projection; `nil` for a fresh store.
  public let mark: StoreMark?

  /// Opens `store.sqlite` in `directory` and takes the snapshot.
  ///
  /// - Throws: `cantOpen` where there is none or something else in its place; `foreign`,
  ///   `notADatabase`, `corrupt`, `busy`, `ioError`.
  public init(directory: String) throws(StoreError) {
    files = try StoreFiles(directory: directory, .open)
    try files.checkForReading()
    let rest = try files.rest()
    do throws(StoreError) {
      (scan, mark) = try Self.snapshot(files, rest == nil ? .readOnly : .atRest)
      self.rest = rest
    } catch {
      guard let rest, try files.rest() != rest else { throw error }
      // Somebody has opened it meanwhile.
      (scan, mark) = try Self.snapshot(files, .readOnly)
      self.rest = nil
    }
  }

  private static func snapshot(
    _ files: StoreFiles, _ access: SQLiteConnection.Access
  ) throws(StoreError) -> (RowScan?, StoreMark?) {
    do throws(StoreError) {
      let connection = try SQLiteConnection(path: files.path, access: access)
      try connection.tune()
      try connection.execute("BEGIN", .open)
      if try files.hasOnePageAtMost(), try StoreSchema.isEmpty(connection) { return (nil, nil) }
      try StoreSchema.check(connection)
      return (try RowScan(connection), try StoredMark(connection).read())
    } catch {
      guard error.needsRollback else { throw error }
      var error = error
      error.message =
        "\(StoreBounds.fileName)-journal holds a transaction that another program, or the making of the store, "
        + "began and didn't end. SQLite undoes it when the cache is opened, as by 'hindsight count'; until then "
        + "the store can't be read without changing it"
      throw error
    }
  }

  /// Whether somebody has opened the store, though nobody had it open in the beginning: what was read
  /// may be of several states.
  public func isOutdated() throws(StoreError) -> Bool {
    guard let rest else { return false }
    return try files.rest() != rest
  }

  /// As `StoreWriter.rows(after:limit:detail:)`.
  public func rows(
    after origin: SequenceNumber, limit: Int = StoreBounds.rowsPerPage, detail: RowDetail
  ) throws(StoreError) -> [RowImage] {
    try scan?.page(after: origin, limit: limit, detail: detail) ?? []
  }

  /// The number of rows. Linear in it.
  public func rowCount() throws(StoreError) -> UInt64 { try scan?.rowCount() ?? 0 }

  /// What SQLite's `quick_check` finds: nothing in a healthy database. Linear in its size.
  public func quickCheck() throws(StoreError) -> [String] { try scan?.quickCheck() ?? [] }
}
