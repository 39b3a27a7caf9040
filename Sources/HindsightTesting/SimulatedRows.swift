import HindsightCore
import HindsightStore

/// The rows and the mark of a simulated database, in the order of the rows' origins.
struct SimulatedRows: Equatable, Sendable {
  private(set) var rows: [StoredRow] = []
  var mark: StoreMark?

  /// Applies a transaction, all of it or nothing.
  /// - Throws: `conflict` where a row is there already.
  mutating func apply(
    _ operations: [RowOperation], mark: StoreMark
  ) throws(StoreError) {
    var new = self
    for operation in operations {
      switch operation {
      case .insert(let row):
        let at = new.place(of: row.origin)
        guard at == new.rows.count || new.rows[at].origin != row.origin else {
          throw SimulatedStore.error(.conflict, .apply, "row \(row.origin) is there already")
        }
        new.rows.insert(row, at: at)
      case .delete(let origin):
        if let at = new.index(of: origin) { new.rows.remove(at: at) }
      case .deleteAll: new.rows = []
      }
    }
    new.mark = mark
    self = new
  }

  /// Where a row with this origin stands, or would.
  func place(of origin: SequenceNumber) -> Int {
    // Nearly always behind the last one.
    if let last = rows.last, last.origin < origin { return rows.count }
    var low = 0
    var high = rows.count
    while low < high {
      let middle = (low + high) / 2
      if rows[middle].origin < origin { low = middle + 1 } else { high = middle }
    }
    return low
  }

  func index(of origin: SequenceNumber) -> Int? {
    let at = place(of: origin)
    return at < rows.count && rows[at].origin == origin ? at : nil
  }

  func row(_ origin: SequenceNumber) -> StoredRow? { index(of: origin).map { rows[$0] } }

  mutating func remove(_ origin: SequenceNumber) {
    if let at = index(of: origin) { rows.remove(at: at) }
  }

  /// Changes a row's value behind everybody's back.
  mutating func setValue(_ value: Bytes, of origin: SequenceNumber) {
    if let at = index(of: origin) { rows[at].value = value }
  }

  /// See `StoreWriter.rows(after:limit:detail:)`.
  func page(after origin: SequenceNumber, limit: Int, detail: RowDetail) -> [RowImage] {
    rows[place(of: origin.next)...].prefix(limit).map { row in
      RowImage(
        origin: row.origin, key: row.key, coder: row.coder, createdAt: row.createdAt,
        expiry: row.expiry, valueByteCount: UInt32(row.value.count),
        valueHash: detail == .lengths ? nil : XXH64.hash(row.value),
        value: detail == .values ? row.value : nil)
    }
  }
}
