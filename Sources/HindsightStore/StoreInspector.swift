public import HindsightCore

/// Looks at a store from outside, beside a live writer if there is one: read-only, and all of it in
/// one snapshot, so that the rows are those of the mark.
///
/// Not thread-safe. While it is open, the writer's log can't be emptied: keep it short.
public final class StoreInspector {
  private let connection: SQLiteConnection
  private let scan: RowScan
  /// Up to where the rows are a projection; `nil` for a fresh store.
  public let mark: StoreMark?

  /// Opens `store.sqlite` in `directory` and takes the snapshot.
  ///
  /// - Throws: `cantOpen` where there is none or something else in its place; `foreign`,
  ///   `notADatabase`, `corrupt`, `busy`, `ioError`.
  public init(directory: String) throws(StoreError) {
    let files = try StoreFiles(directory: directory, .open)
    try files.checkForReading()
    connection = try SQLiteConnection(path: files.path, access: .readOnly)
    try connection.tune()
    try connection.execute("BEGIN", .open)
    try StoreSchema.check(connection)
    scan = try RowScan(connection)
    mark = try StoredMark(connection).read()
  }

  /// As `StoreWriter.rows(after:limit:detail:)`.
  public func rows(
    after origin: SequenceNumber, limit: Int = StoreBounds.rowsPerPage, detail: RowDetail
  ) throws(StoreError) -> [RowImage] {
    try scan.page(after: origin, limit: limit, detail: detail)
  }

  /// The number of rows. Linear in it.
  public func rowCount() throws(StoreError) -> UInt64 { try scan.rowCount() }

  /// What SQLite's `quick_check` finds: nothing in a healthy database. Linear in its size.
  public func quickCheck() throws(StoreError) -> [String] { try scan.quickCheck() }
}
