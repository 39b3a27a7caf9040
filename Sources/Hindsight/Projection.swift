import HindsightCore
import HindsightStore

/// What the store still has to be told: row operations in the order of their events.
///
/// The projector takes only what is durable, whole decisions at a time, so that the store never
/// runs ahead of the durable journal (DESIGN §4). Only a run of deletes at a decision's beginning may
/// come in a transaction before it (a clear is a long one): a crash in between makes them again, and
/// a row that isn't there is no error.
struct Projection {
  fileprivate struct Pending: Sendable {
    var sequence: SequenceNumber
    var operation: RowOperation
  }

  /// One transaction, as it is taken with the lock held: a constant cost for each few hundred rows.
  struct Batch: Sendable {
    /// Up to where it brings the store.
    var applied: SequenceNumber
    var byteCount: UInt64
    fileprivate var slices: [ArraySlice<Pending>]
    fileprivate var taken: Int
  }

  /// A transaction's rows.
  struct Rows: Sendable {
    var operations: [RowOperation] = []
    /// Origins whose values the store has once the transaction is committed.
    var inserted: [SequenceNumber] = []
    private var cancelled: [SequenceNumber] = []
  }

  /// Committed in the store, and synced there: what retention counts on. What an opening finds
  /// committed may be in the page cache only, of a process that was killed.
  var applied: SequenceNumber
  var synced = SequenceNumber.zero
  /// Bytes of values that wait, each pinned in memory until the store has it.
  private(set) var pinnedByteCount: UInt64 = 0
  /// Bytes of the store's log in use, and whether a reader of another process holds it back.
  var logByteCount: UInt64 = 0
  var isLogHeld = false
  var trouble: CacheError?
  /// The last event of what is gathered from the journal after an opening, while the store lacks it.
  private(set) var backlogEnd: SequenceNumber?
  /// What was gathered; it comes before `pending`. `nil`: not yet there.
  private var backlog: ChunkedQueue<Pending>? = ChunkedQueue()
  private var pending = ChunkedQueue<Pending>()
  /// Without a journal: whether the projector knows that there are rows.
  private var isTold = false

  init(applied: SequenceNumber) {
    self.applied = applied
  }

  var rowCount: Int { (backlog?.count ?? 0) + pending.count }

  // MARK: The backlog

  /// The store lacks the events up to `end`, and `gathered` will tell its rows: until then it gets
  /// nothing.
  mutating func awaitBacklog(through end: SequenceNumber) {
    backlogEnd = end
    backlog = nil
  }

  /// The rows that `awaitBacklog` spoke of, in another projection's queue.
  mutating func gathered(_ other: consuming Projection) {
    pinnedByteCount += other.pinnedByteCount
    backlog = other.pending
    trouble = nil
  }

  /// Whether the row of `origin` may not be in the store yet, and its value nowhere but in the
  /// journal.
  func lacks(_ origin: SequenceNumber) -> Bool {
    backlogEnd.map { origin > applied && origin <= $0 } ?? false
  }

  /// Gives the rows that are pending, some at a time.
  /// - Returns: up to `count` insertions from the one at `start` on, and where the next ones begin;
  ///   `nil` behind the last one.
  func insertions(from start: Int, count: Int) -> (rows: [StoredRow], next: Int)? {
    guard start < pending.count else { return nil }
    let next = min(start + count, pending.count)
    let rows = (start..<next).compactMap { at -> StoredRow? in
      if case .insert(let row) = pending[at].operation { row } else { nil }
    }
    return (rows, next)
  }

  private func item(_ at: Int) -> Pending {
    let count = backlog?.count ?? 0
    return at < count ? backlog![at] : pending[at - count]
  }

  func exceeds(_ limits: QueueLimits) -> Bool {
    pinnedByteCount > UInt64(limits.pinnedByteCountMax) || pending.count > limits.pendingRowCountMax
  }

  mutating func append(_ operation: RowOperation, at sequence: SequenceNumber) {
    pending.append(Pending(sequence: sequence, operation: operation))
    if case .insert(let row) = operation { pinnedByteCount += UInt64(row.value.count) }
  }

  /// Whether the projector must be told that rows wait: they are the first since it found none.
  mutating func wantsProjector() -> Bool {
    guard !isTold, rowCount > 0 else { return false }
    isTold = true
    return true
  }

  /// Gives the next transaction; it stays pending until `committed`, so that a failed one is
  /// simply taken again. A row that comes and goes within a transaction is never written.
  mutating func next(durable: SequenceNumber) -> Batch? {
    guard backlog != nil, applied < durable || rowCount > 0 && item(0).sequence <= durable else {
      isTold = false
      return nil
    }
    let extent = extent(durable: durable)
    let fromBacklog = min(extent.count, backlog?.count ?? 0)
    let slices =
      (backlog?.prefix(fromBacklog) ?? []) + pending.prefix(extent.count - fromBacklog)
    return Batch(
      applied: extent.isAll ? durable : extent.whole ?? applied, byteCount: extent.byteCount,
      slices: slices, taken: extent.count)
  }

  /// The transaction that `next` gave is committed.
  mutating func committed(_ batch: Batch) {
    pinnedByteCount -= batch.byteCount
    let fromBacklog = min(batch.taken, backlog?.count ?? 0)
    backlog?.removeFirst(fromBacklog)
    pending.removeFirst(batch.taken - fromBacklog)
    applied = batch.applied
    if let end = backlogEnd, applied >= end { backlogEnd = nil }
  }

  /// How far the next transaction goes.
  private struct Extent {
    var count = 0
    var byteCount: UInt64 = 0
    /// The last decision that it contains to its end; `nil`: none but what is applied.
    var whole: SequenceNumber?
    /// Whether nothing durable is left behind it.
    var isAll = true
  }

  private func extent(durable: SequenceNumber) -> Extent {
    var extent = Extent()
    var sequence: SequenceNumber?
    var mayCutInside = true
    let rowCount = rowCount
    while extent.count < rowCount {
      let item = item(extent.count)
      guard item.sequence <= durable else { break }
      if item.sequence != sequence {
        extent.whole = sequence
        sequence = item.sequence
        mayCutInside = true
      }
      let isFull =
        extent.count >= EngineBounds.transactionRowCount
        || extent.byteCount >= EngineBounds.transactionByteCount
      let isBetween = extent.count == 0 || item.sequence != self.item(extent.count - 1).sequence
      if isFull, isBetween || mayCutInside {
        extent.isAll = false
        return extent
      }
      if case .insert(let row) = item.operation {
        extent.byteCount += UInt64(row.value.count)
        mayCutInside = false
      }
      extent.count += 1
    }
    return extent
  }
}

extension Projection.Rows {
  /// The rows of a batch, without those that come and go within it. O(rows): not with the lock held.
  init(_ batch: Projection.Batch) {
    operations.reserveCapacity(batch.taken)
    inserted.reserveCapacity(batch.taken)
    for slice in batch.slices {
      for item in slice { add(item.operation) }
    }
    leaveOutCancelled()
  }

  private mutating func add(_ operation: RowOperation) {
    switch operation {
    case .insert(let row):
      inserted.append(row.origin)
    case .delete(let origin):
      // Origins come in ascending order.
      if let first = inserted.first, origin >= first, inserted.containsSorted(origin) {
        cancelled.append(origin)
      }
    case .deleteAll:
      // What came before it in this transaction needn't be written.
      operations.removeAll(keepingCapacity: true)
      inserted.removeAll(keepingCapacity: true)
      cancelled.removeAll()
    }
    operations.append(operation)
  }

  /// Leaves out rows that come and go within this transaction.
  private mutating func leaveOutCancelled() {
    guard !cancelled.isEmpty else { return }
    cancelled.sort()
    operations.removeAll { $0.origin.map { cancelled.containsSorted($0) } ?? false }
    inserted.removeAll { cancelled.containsSorted($0) }
  }
}

extension RowOperation {
  fileprivate var origin: SequenceNumber? {
    switch self {
    case .insert(let row): row.origin
    case .delete(let origin): origin
    case .deleteAll: nil
    }
  }
}

extension [SequenceNumber] {
  /// Whether it holds `element`; it must be in ascending order.
  fileprivate func containsSorted(_ element: SequenceNumber) -> Bool {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < element { low = middle + 1 } else { high = middle }
    }
    return low < count && self[low] == element
  }
}
