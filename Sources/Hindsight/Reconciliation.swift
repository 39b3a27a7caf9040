import HindsightCore
import HindsightStore

/// Makes a store that can't simply go on the projection of the journal again, row by row: rows that
/// are no store resident's are deleted, missing ones inserted from the journal or a store that was put aside,
/// those that differ but in their values made anew, and a value that is found nowhere is lost.
///
/// Until the last transaction the store is marked as nobody's, so that a crash begins it again; where a value is
/// lost, until the journal says so: the projector's next transaction, which follows that, marks it.
struct Reconciliation {
  private let writer: any StoreWriter
  private(set) var deletedCount = 0
  private(set) var insertedCount = 0
  private var operations: [RowOperation] = []
  /// Bytes of values in them.
  private var byteCount = 0

  init(_ writer: any StoreWriter) { self.writer = writer }

  /// - Throws: `.storeUnavailable`, or `.system` where the journal's values can't be read.
  mutating func run(
    _ assembly: inout Assembly, _ values: HistoricValues
  ) throws(CacheError) {
    let present = try Self.wrap { () throws(StoreError) in try deleteVoidRows(assembly.core) }
    var missing: [Slot] = []
    assembly.core.forEachSlot { slot in
      if assembly.core.isResident(slot, in: .store),
        !present.contains(assembly.core.origin(of: slot))
      {
        missing.append(slot)
      }
    }
    var wanted: [SequenceNumber: UInt64] = [:]
    for slot in missing {
      guard let value = assembly.core.payload(slot).bytes else {
        wanted[assembly.core.origin(of: slot)] = assembly.core.valueHash(of: slot)
        continue
      }
      let image = assembly.core.image(of: slot)
      try Self.wrap { () throws(StoreError) in try insert(image, value) }
    }
    var found: Set<SequenceNumber> = []
    try values.forEach(wanted) { (origin, value) throws(CacheError) in
      guard let slot = assembly.core.find(origin: origin) else { return }
      let image = assembly.core.image(of: slot)
      try Self.wrap { () throws(StoreError) in try insert(image, value[...]) }
      found.insert(origin)
    }
    for slot in missing {
      let origin = assembly.core.origin(of: slot)
      if wanted[origin] != nil, !found.contains(origin) { assembly.lost.append((origin, .store)) }
    }
    let applied = assembly.core.head.sequence
    assembly.projection = Projection(applied: applied)
    let whole = StoreMark(journalID: assembly.journalID, applied: applied)
    let mark = assembly.lost.isEmpty ? whole : Self.unfinished
    try Self.wrap { () throws(StoreError) in
      try flush()
      try writer.apply([], mark: mark)
    }
  }

  private static let unfinished = StoreMark(journalID: .nobody, applied: .zero)

  private static func wrap<R>(_ body: () throws(StoreError) -> R) throws(CacheError) -> R {
    do throws(StoreError) {
      return try body()
    } catch {
      throw CacheError(store: error)
    }
  }

  private mutating func insert(_ image: EntryImage, _ value: Bytes) throws(StoreError) {
    insertedCount += 1
    byteCount += value.count
    try add(.insert(image.row(value)))
  }

  /// Deletes every row that is not exactly a store resident's.
  /// - Returns: the origins of the others.
  private mutating func deleteVoidRows(
    _ core: borrowing CacheState
  ) throws(StoreError) -> Set<SequenceNumber> {
    var present: Set<SequenceNumber> = []
    var last = SequenceNumber.zero
    while true {
      let rows = try writer.rows(after: last, limit: StoreBounds.rowsPerPage, detail: .hashes)
      guard let end = rows.last else { break }
      last = end.origin
      for row in rows {
        let image = core.storeResident(row.origin)
        if let image, image.matches(row) {
          present.insert(row.origin)
        } else if let image, try replace(row, image) {
          present.insert(row.origin)
        } else {
          deletedCount += 1
          try add(.delete(origin: row.origin))
        }
      }
    }
    try flush()
    return present
  }

  /// Makes a row anew whose value is whole: the journal may have it no more.
  private mutating func replace(_ row: RowImage, _ image: EntryImage) throws(StoreError) -> Bool {
    guard image.hasKeyAndValue(of: row) else { return false }
    let before = SequenceNumber(row.origin.rawValue - 1)
    let found = try writer.rows(after: before, limit: 1, detail: .values).first
    guard let found, found.origin == row.origin, let value = found.value else { return false }
    deletedCount += 1
    insertedCount += 1
    byteCount += value.count
    // In one transaction.
    try add(.delete(origin: row.origin), .insert(image.row(value)))
    return true
  }

  private mutating func add(_ some: RowOperation...) throws(StoreError) {
    operations += some
    let isFull = byteCount >= EngineBounds.reconciliationByteCount
    if isFull || operations.count >= EngineBounds.reconciliationRowCount { try flush() }
  }

  private mutating func flush() throws(StoreError) {
    guard !operations.isEmpty else { return }
    try writer.apply(operations, mark: Self.unfinished)
    operations.removeAll(keepingCapacity: true)
    byteCount = 0
  }
}

extension EntryImage {
  fileprivate func row(_ value: Bytes) -> StoredRow {
    StoredRow(
      origin: origin, key: key, value: value, coder: coder, createdAt: setAt,
      expiry: storeExpiry ?? .zero)
  }
}

extension CacheState {
  /// The store resident whose row has this origin.
  fileprivate func storeResident(_ origin: SequenceNumber) -> EntryImage? {
    guard let slot = find(origin: origin), isResident(slot, in: .store) else { return nil }
    return image(of: slot)
  }
}

extension CacheState {
  fileprivate func hasRoom(for image: EntryImage) -> Bool {
    guard let limit = head.opened?.storeLimit else { return false }
    let byteCount = UInt64(image.key.count) + UInt64(image.valueByteCount)
    return UInt64(residentCount(in: .store)) < limit.entryCountMax
      && self.byteCount(in: .store) + byteCount <= limit.byteCountMax ?? .max
  }
}

extension Assembly {
  /// Journal off, store on: the rows are all there is. The newest come first, until the
  /// limits are reached; the rest is deleted.
  mutating func restore(rowsOf writer: any StoreWriter) throws(StoreError) {
    var images: [EntryImage] = []
    try writer.forEachRow(detail: .hashes) { (row) throws(StoreError) in
      images.append(
        EntryImage(
          key: row.key,
          numbers: EntryNumbers(
            origin: row.origin, setAt: row.createdAt, coder: row.coder,
            valueByteCount: row.valueByteCount, valueHash: row.valueHash ?? 0, memoryExpiry: nil,
            storeExpiry: row.expiry)))
    }
    let sequence = max(images.last?.origin ?? .zero, projection.applied)
    let at = images.map(\.setAt).max() ?? .zero
    core.restore(
      StateHead(sequence: sequence, at: at, opened: opened, isClosed: true),
      orderIsTold: true)
    var void: [RowOperation] = []
    for image in images.reversed() {
      guard core.hasRoom(for: image), core.find(image.key) == nil else {
        void.append(.delete(origin: image.origin))
        continue
      }
      do throws(StateError) {
        try core.restore(image)
      } catch {
        // Somebody else's row: ours can all be restored.
        void.append(.delete(origin: image.origin))
      }
    }
    core.finishRestore()
    projection = Projection(applied: sequence)
    let mark = StoreMark(journalID: .nobody, applied: sequence)
    for start in stride(from: 0, to: void.count, by: EngineBounds.reconciliationRowCount) {
      let slice = void[start..<min(start + EngineBounds.reconciliationRowCount, void.count)]
      try writer.apply(Array(slice), mark: mark)
    }
  }
}
