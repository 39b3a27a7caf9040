import HindsightCore
import HindsightStore
import HindsightThreads

/// What the store still has to be told: row operations in the order of their events.
///
/// The projector takes only what is durable, whole decisions at a time, so that the store never
/// runs ahead of the durable journal. Only a run of deletes at a decision's beginning, of more than a
/// transaction takes (a clear), may come in transactions before it, where there is a journal: after a
/// crash in between they are made again, and a row that isn't there is no error.
struct Projection {
  /// An operation, as it waits.
  fileprivate struct Pending: Sendable {
    let sequence: SequenceNumber
    let kind: RowKind
    /// What an insertion inserts besides.
    let contents: Contents?

    struct Contents: Sendable {
      /// In its chunk's bytes.
      let key: Range<UInt32>
      let value: [UInt8]
      let coder: UInt8
      let createdAt: Timestamp
      let expiry: Timestamp
    }
  }

  fileprivate typealias Slice = ChunkedQueue<Pending>.Slice

  /// Memory for rows to come.
  struct Spare: Sendable {
    fileprivate let chunk = ChunkedQueue<Pending>.Chunk(withBytes: true)
  }

  /// What waits, as it is shared with the lock held: a constant cost for each few hundred rows.
  struct Waiting: Sendable {
    fileprivate var applied: SequenceNumber
    fileprivate var durable: SequenceNumber
    fileprivate var slices: [Slice]

    /// Lets go of all rows, one chunk at a time: with it go values that nobody else has.
    mutating func letGo() {
      while slices.popLast() != nil { StandingBack.ifAskedFor() }
    }
  }

  /// One transaction.
  struct Batch: Sendable {
    /// Up to where it brings the store.
    fileprivate(set) var applied: SequenceNumber
    fileprivate(set) var byteCount: UInt64 = 0
    fileprivate var slices: [Slice] = []
    fileprivate var taken = 0
  }

  /// A transaction's rows.
  struct Rows: Sendable {
    private(set) var operations: [RowOperation] = []
    /// Origins whose values the store has once the transaction is committed.
    private(set) var inserted: [SequenceNumber] = []

    /// Lets go of the operations, some at a time: each refers to a key and a value.
    mutating func letGoOfOperations() {
      while !operations.isEmpty {
        operations.removeLast(min(operations.count, EngineBounds.letGoCount))
        StandingBack.ifAskedFor()
      }
    }
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
  /// Why rows can't be written; `nil` where all is well.
  var trouble: CacheError?
  /// Likewise, why the log can't be moved into the database.
  var logTrouble: CacheError?
  /// The last event of what is gathered from the journal after an opening, while the store lacks it.
  private(set) var backlogEnd: SequenceNumber?
  /// What was gathered, a part of it at a time; it comes before `pending`. `nil`: the next part is not yet
  /// there.
  private var backlog: ChunkedQueue<Pending>? = ChunkedQueue()
  /// The last event of that part.
  private var partEnd = SequenceNumber.zero
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

  /// After which event the next part of the backlog begins; `nil`: none is to be gathered now.
  var lacksPart: SequenceNumber? { backlog == nil ? applied : nil }

  /// The next of the rows that `awaitBacklog` spoke of, in another projection's queue: those of the events up
  /// to `last`.
  mutating func gathered(_ other: consuming Projection, through last: SequenceNumber) {
    pinnedByteCount += other.pinnedByteCount
    backlog = other.pending
    partEnd = last
    trouble = nil
  }

  func isFull(_ limits: PartLimits) -> Bool {
    pending.count >= limits.rowCount || pinnedByteCount >= limits.byteCount
  }

  /// Whether the row of `origin` may not be in the store yet, and its value nowhere but in the
  /// journal.
  func lacks(_ origin: SequenceNumber) -> Bool {
    backlogEnd.map { origin > applied && origin <= $0 } ?? false
  }

  /// Gives the values of rows that are pending, some at a time.
  /// - Returns: up to `count` of them from the one at `start` on, and where the next ones begin; `nil` behind
  ///   the last one.
  func values(
    from start: Int, count: Int
  ) -> (values: [(origin: SequenceNumber, value: [UInt8])], next: Int)? {
    guard start < pending.count else { return nil }
    let next = min(start + count, pending.count)
    let values = (start..<next).compactMap { at in
      pending[at].contents.map { (pending[at].sequence, $0.value) }
    }
    return (values, next)
  }

  private func item(_ at: Int) -> Pending {
    let count = backlog?.count ?? 0
    return at < count ? backlog![at] : pending[at - count]
  }

  func exceeds(_ limits: QueueLimits) -> Bool {
    pinnedByteCount > UInt64(limits.pinnedByteCountMax) || pending.count > limits.pendingRowCountMax
  }

  func hasRows(durable: SequenceNumber) -> Bool {
    rowCount > 0 && item(0).sequence <= durable
  }

  /// Whether so much waits that waiting for more gains little, or brings a limit near.
  func isLong(_ limits: QueueLimits) -> Bool {
    rowCount >= min(EngineBounds.longProjectionRowCount, limits.pendingRowCountMax / 2)
      || pinnedByteCount >= UInt64(limits.pinnedByteCountMax) / 2
  }

  /// The row of a set that has happened: its origin is the set's number.
  /// - Parameters:
  ///   - key: copied.
  ///   - expiry: the store tier's.
  mutating func insert(
    _ fact: SetFact, key: UnsafeRawBufferPointer, value: consuming [UInt8], expiry: Timestamp
  ) {
    let byteCount = value.count
    pinnedByteCount += UInt64(byteCount)
    let place = pending.append(bytes: key)
    pending.append(
      Pending(
        sequence: fact.sequence, kind: .insert(fact.sequence, byteCount: byteCount),
        contents: Pending.Contents(
          key: UInt32(place.lowerBound)..<UInt32(place.upperBound), value: value,
          coder: fact.coder, createdAt: fact.at, expiry: expiry)))
  }

  /// Whether memory for more rows is to be given soon: else the one that lacks it is made with the lock held.
  @inline(__always)
  mutating func asksForSpare() -> Bool { pending.asksForSpare() }

  mutating func give(_ spare: Spare) { pending.give(spare.chunk) }

  mutating func delete(_ origin: SequenceNumber, at sequence: SequenceNumber) {
    pending.append(Pending(sequence: sequence, kind: .delete(origin), contents: nil))
  }

  mutating func deleteAll(at sequence: SequenceNumber) {
    pending.append(Pending(sequence: sequence, kind: .deleteAll, contents: nil))
  }

  /// Whether the projector must be told that rows wait: they are the first since it found none.
  mutating func wantsProjector() -> Bool {
    guard !isTold, rowCount > 0 else { return false }
    isTold = true
    return true
  }

  /// What the next transaction is made of; it stays pending until `committed`, so that a failed one
  /// is simply taken again.
  mutating func next(durable: SequenceNumber) -> Waiting? {
    guard let backlog, applied < durable || hasRows(durable: durable) else {
      isTold = false
      return nil
    }
    let gathered = backlog.prefix(backlog.count)
    if let end = backlogEnd, partEnd < end {
      return Waiting(applied: applied, durable: partEnd, slices: gathered)
    }
    return Waiting(
      applied: applied, durable: durable, slices: gathered + pending.prefix(pending.count))
  }

  /// A transaction of what `next` gave is committed.
  mutating func committed(_ batch: Batch) {
    pinnedByteCount -= batch.byteCount
    let fromBacklog = min(batch.taken, backlog?.count ?? 0)
    backlog?.removeFirst(fromBacklog)
    pending.removeFirst(batch.taken - fromBacklog)
    applied = batch.applied
    guard let end = backlogEnd else { return }
    if applied >= end { backlogEnd = nil } else if applied >= partEnd { backlog = nil }
  }
}

extension Projection.Batch {
  /// The first transaction of what waits. O(rows): not with the lock held.
  /// - Parameter cutsDecisions: whether a decision that deletes more rows than a transaction takes may come in
  ///   several. Only where a journal tells it again after a crash in between.
  init(
    _ waiting: Projection.Waiting, rowCountMax: Int = EngineBounds.transactionRowCount,
    cutsDecisions: Bool
  ) {
    self.init(applied: waiting.durable)
    var sequence: SequenceNumber?
    /// How many rows come before the decision at hand.
    var before = 0
    /// The last decision that it contains to its end; `nil`: none but what is applied.
    var whole: SequenceNumber?
    var mayCutInside = cutsDecisions
    for slice in waiting.slices {
      let start = taken
      let items = slice.elements.span
      for at in items.indices {
        let (itemSequence, kind) = (items[at].sequence, items[at].kind)
        let isBetween = itemSequence != sequence
        if isBetween {
          whole = sequence
          sequence = itemSequence
          before = taken
          mayCutInside = cutsDecisions
        }
        let isDurable = itemSequence <= waiting.durable
        let isFull = taken >= rowCountMax || byteCount >= EngineBounds.transactionByteCount
        let isLong = mayCutInside && taken - before >= rowCountMax
        if !isDurable || isFull && isBetween || isLong {
          if isDurable { applied = whole ?? waiting.applied }
          slices.append(slice.prefix(taken - start))
          return
        }
        if case .insert(_, let itemByteCount) = kind {
          byteCount += UInt64(itemByteCount)
          mayCutInside = false
        }
        taken += 1
      }
      slices.append(slice)
    }
  }
}

extension Projection.Rows {
  /// The rows of a batch, without those that come and go within it, which are never written; what is
  /// deleted comes before what is inserted, and each by its origin: neighbours in the table then come
  /// one after the other, and a page is read and changed once. O(rows log rows): not with the lock held.
  init(_ batch: Projection.Batch) {
    let leftOut = LeftOut(batch)
    operations.reserveCapacity(batch.taken - leftOut.count)
    inserted.reserveCapacity(batch.taken - leftOut.count)
    var deleted: [SequenceNumber] = []
    forEach(batch, leftOut) { item, _ in
      switch item.kind {
      case .insert(let origin, _): inserted.append(origin)
      case .delete(let origin): deleted.append(origin)
      // All that came before it is left out.
      case .deleteAll: operations.append(.deleteAll)
      }
    }
    deleted.sort()
    for origin in deleted { operations.append(.delete(origin: origin)) }
    // They come in ascending order.
    forEach(batch, leftOut) { item, bytes in
      guard let contents = item.contents else { return }
      let key = bytes[Int(contents.key.lowerBound)..<Int(contents.key.upperBound)]
      operations.append(
        .insert(
          StoredRow(
            origin: item.sequence, key: key, value: contents.value[...], coder: contents.coder,
            createdAt: contents.createdAt, expiry: contents.expiry)))
    }
  }

  /// Calls `body` with every operation that is to be made, in the order of their events, and its chunk's bytes.
  private func forEach(
    _ batch: Projection.Batch, _ leftOut: LeftOut,
    _ body: (borrowing Projection.Pending, [UInt8]) -> Void
  ) {
    var at = 0
    for slice in batch.slices {
      StandingBack.ifAskedFor()
      let items = slice.elements.span
      for item in items.indices {
        if !leftOut.contains(at) { body(items[item], slice.bytes) }
        at += 1
      }
    }
  }
}

/// Which of a batch's operations needn't be made: insertions of rows that are deleted within it, and
/// those deletions.
private struct LeftOut {
  private var flags: [Bool]
  private(set) var count = 0
  /// The rows inserted so far, in ascending order, and where they stand in the batch.
  private var origins: [SequenceNumber] = []
  private var places: [Int32] = []
  /// Operations before the last one that deletes all.
  private var clearedCount = 0

  init(_ batch: Projection.Batch) {
    flags = Array(repeating: false, count: batch.taken)
    origins.reserveCapacity(batch.taken)
    places.reserveCapacity(batch.taken)
    var at = 0
    for slice in batch.slices {
      StandingBack.ifAskedFor()
      let items = slice.elements.span
      for item in items.indices {
        note(items[item].kind, at)
        at += 1
      }
    }
  }

  func contains(_ at: Int) -> Bool { flags[at] }

  private mutating func note(_ kind: RowKind, _ at: Int) {
    switch kind {
    case .insert(let origin, _):
      origins.append(origin)
      places.append(Int32(at))
    case .delete(let origin):
      guard let first = origins.first, origin >= first,
        let inserted = origins.firstIndexSorted(of: origin)
      else { return }
      leaveOut(Int(places[inserted]))
      leaveOut(at)
    case .deleteAll:
      for before in clearedCount..<at { leaveOut(before) }
      clearedCount = at
      origins.removeAll(keepingCapacity: true)
      places.removeAll(keepingCapacity: true)
    }
  }

  private mutating func leaveOut(_ at: Int) {
    if !flags[at] { count += 1 }
    flags[at] = true
  }
}

/// What is done to which row, without what is in it.
private enum RowKind: Sendable {
  case insert(SequenceNumber, byteCount: Int)
  case delete(SequenceNumber)
  case deleteAll
}

extension [SequenceNumber] {
  /// Where `element` is; it must be in ascending order.
  fileprivate func firstIndexSorted(of element: SequenceNumber) -> Int? {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < element { low = middle + 1 } else { high = middle }
    }
    return low < count && self[low] == element ? low : nil
  }
}
