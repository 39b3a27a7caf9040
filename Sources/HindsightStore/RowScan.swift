import HindsightCore

/// Pages through the rows of one connection in the order of their origins.
struct RowScan {
  private let connection: SQLiteConnection
  private let lengths: SQLiteStatement
  private let values: SQLiteStatement

  init(_ connection: SQLiteConnection) throws(StoreError) {
    func select(_ value: String) -> String {
      """
      SELECT origin, expires_at, created_at, coder, key, \(value), typeof(value) FROM entries
      WHERE origin > ?1 ORDER BY origin LIMIT ?2
      """
    }
    self.connection = connection
    // `length` finds a value's size in the row's header.
    lengths = try connection.prepare(select("length(value)"), .scan)
    values = try connection.prepare(select("value"), .scan)
  }

  /// See `StoreWriter.rows(after:limit:detail:)`.
  func page(
    after origin: SequenceNumber, limit: Int, detail: RowDetail
  ) throws(StoreError) -> [RowImage] {
    precondition(limit > 0, "an empty page says that the scan is over")
    let statement = detail == .lengths ? lengths : values
    defer { statement.reset() }
    statement.bind(origin, at: 1)
    statement.bind(Int64(limit), at: 2)
    var rows: [RowImage] = []
    var byteCount = 0
    while byteCount <= StoreBounds.valueByteCountPerPage, try statement.step() {
      let row = try image(statement, detail)
      // Also so that a scan ends: a damaged tree may lead round in circles.
      guard row.origin > rows.last?.origin ?? origin else {
        throw StoreError(
          code: .corrupt, operation: .scan, message: "rows are out of order", path: connection.path)
      }
      byteCount += detail == .lengths ? 0 : Int(row.valueByteCount)
      rows.append(row)
    }
    return rows
  }

  func rowCount() throws(StoreError) -> UInt64 {
    UInt64(try connection.query("SELECT count(*) FROM entries", .scan) { $0.integer(0) }[0])
  }

  func quickCheck() throws(StoreError) -> [String] {
    let sql = "PRAGMA quick_check(\(StoreBounds.findingCountMax))"
    do {
      let findings = try connection.query(sql, .check) { $0.text(0) }
      return findings == ["ok"] ? [] : findings
    } catch {
      // Where the damage is such that the check itself fails, that is the finding.
      guard error.code == .corrupt else { throw error }
      return [error.message]
    }
  }

  /// Checks what the row holds before anything is copied out of it.
  private func image(
    _ row: SQLiteStatement, _ detail: RowDetail
  ) throws(StoreError) -> RowImage {
    let origin = row.integer(0)
    let keyByteCount = row.isText(4) ? row.bytesUnsafely(4).count : 0
    let valueByteCount = detail == .lengths ? Int(row.integer(5)) : row.bytesUnsafely(5).count
    guard origin > 0, UInt64(origin) <= StoreBounds.sequenceMax, row.integer(1) >= 0,
      row.integer(2) >= 0, row.isInteger(1), row.isInteger(2), row.isInteger(3),
      let coder = UInt8(exactly: row.integer(3)),
      (1...Bounds.keyByteCountMax).contains(keyByteCount),
      row.text(6) == "blob", valueByteCount <= Bounds.valueByteCountMax
    else {
      throw StoreError(
        code: .corrupt, operation: .scan, message: "row \(origin) is none of ours",
        path: connection.path)
    }
    return RowImage(
      origin: SequenceNumber(UInt64(origin)), key: row.bytes(4), coder: coder,
      createdAt: Timestamp(rawValue: row.integer(2)), expiry: Timestamp(rawValue: row.integer(1)),
      valueByteCount: UInt32(valueByteCount),
      valueHash: detail == .lengths ? nil : XXH64.hash(row.bytesUnsafely(5)),
      value: detail == .values ? row.bytes(5) : nil)
  }
}
