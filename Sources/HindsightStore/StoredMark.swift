import HindsightCore

/// Reads and writes the one row of `meta`.
struct StoredMark {
  private let select: SQLiteStatement
  private let path: String

  init(_ connection: SQLiteConnection) throws(StoreError) {
    select = try connection.prepare("SELECT journal, applied FROM meta WHERE id = 1", .readMark)
    path = connection.path
  }

  /// - Throws: `corrupt` where the row is none of ours.
  func read() throws(StoreError) -> StoreMark? {
    guard try select.step() else { return nil }
    defer { select.reset() }
    guard select.isText(0), select.isInteger(1), let journalID = JournalID(hex: select.text(0)),
      let applied = UInt64(exactly: select.integer(1)), applied <= StoreBounds.sequenceMax
    else {
      throw StoreError(
        code: .corrupt, operation: .readMark, message: "the mark is none", path: path)
    }
    return StoreMark(journalID: journalID, applied: SequenceNumber(applied))
  }
}

extension JournalID {
  /// What `description` wrote; `nil` for anything else.
  fileprivate init?(hex: String) {
    let digits = Array(hex.utf8)
    guard digits.count == 32, let high = UInt64(hex.prefix(16), radix: 16),
      let low = UInt64(hex.suffix(16), radix: 16)
    else { return nil }
    self.init(high: high, low: low)
    // `radix:` also takes a sign and capitals.
    guard description == hex else { return nil }
  }
}
