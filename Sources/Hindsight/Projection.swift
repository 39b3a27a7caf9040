import DequeModule
import HindsightCore
import HindsightStore

/// What the store still has to be told: row operations in the order of their events.
///
/// The projector takes only what is durable, whole decisions at a time, so that the store never
/// runs ahead of the durable journal (DESIGN §4).
struct Projection {
  private struct Pending {
    var sequence: SequenceNumber
    var operation: RowOperation
  }

  /// One transaction: its rows, and up to where it brings the store.
  struct Batch {
    var operations: [RowOperation]
    /// Origins whose values the store has once the transaction is committed.
    var inserted: [SequenceNumber]
    var applied: SequenceNumber
    var byteCount: UInt64
    fileprivate var taken: Int
  }

  /// Committed in the store, and synced there: what retention counts on.
  var applied: SequenceNumber
  var synced: SequenceNumber
  /// Bytes of values that wait, each pinned in memory until the store has it.
  private(set) var pinnedByteCount: UInt64 = 0
  /// Bytes of the store's log in use, and whether a reader of another process holds it back.
  var logByteCount: UInt64 = 0
  var isLogHeld = false
  var trouble: CacheError?
  private var pending: Deque<Pending> = []
  private var inFlight: Batch?

  init(applied: SequenceNumber) {
    self.applied = applied
    synced = applied
  }

  var rowCount: Int { pending.count }

  func exceeds(_ limits: QueueLimits) -> Bool {
    pinnedByteCount > UInt64(limits.pinnedByteCountMax) || pending.count > limits.pendingRowCountMax
  }

  mutating func append(_ operation: RowOperation, at sequence: SequenceNumber) {
    pending.append(Pending(sequence: sequence, operation: operation))
    if case .insert(let row) = operation { pinnedByteCount += UInt64(row.value.count) }
  }

  /// Gives the next transaction; it stays pending until `committed`, so that a failed one is
  /// simply taken again. A row that comes and goes within a transaction is never written.
  mutating func next(durable: SequenceNumber) -> Batch? {
    guard applied < durable || pending.first.map({ $0.sequence <= durable }) == true else {
      return nil
    }
    let (taken, byteCount) = extent(durable: durable)
    let deleted = deletedOrigins(taken)
    var batch = Batch(
      operations: [], inserted: [], applied: durable, byteCount: byteCount, taken: taken)
    batch.operations.reserveCapacity(taken)
    for item in pending.prefix(taken) {
      if case .insert(let row) = item.operation {
        if deleted.contains(row.origin) { continue }
        batch.inserted.append(row.origin)
      }
      batch.operations.append(item.operation)
    }
    if taken < pending.count, pending[taken].sequence <= durable {
      batch.applied = taken == 0 ? applied : pending[taken - 1].sequence
    }
    inFlight = batch
    return batch
  }

  /// The transaction that `next` gave is committed.
  mutating func committed(_ batch: Batch) {
    for item in pending.prefix(batch.taken) {
      if case .insert(let row) = item.operation { pinnedByteCount -= UInt64(row.value.count) }
    }
    pending.removeFirst(batch.taken)
    applied = batch.applied
    inFlight = nil
  }

  private func extent(durable: SequenceNumber) -> (count: Int, byteCount: UInt64) {
    var count = 0
    var byteCount: UInt64 = 0
    for item in pending {
      guard item.sequence <= durable else { break }
      let isFull =
        count >= EngineBounds.transactionRowCount
        || byteCount >= EngineBounds.transactionByteCount
      // Never inside a decision.
      if isFull, item.sequence != pending[count - 1].sequence { break }
      if case .insert(let row) = item.operation { byteCount += UInt64(row.value.count) }
      count += 1
    }
    return (count, byteCount)
  }

  private func deletedOrigins(_ count: Int) -> Set<SequenceNumber> {
    var deleted: Set<SequenceNumber> = []
    for item in pending.prefix(count) {
      if case .delete(let origin) = item.operation { deleted.insert(origin) }
    }
    return deleted
  }
}
