import HindsightCore
import HindsightJournal
import HindsightStore
import Synchronization

/// What the store lacks at an opening that begins with a checkpoint after that: the events after what it has
/// applied, and up to `end`, the last one.
///
/// An index needs no values of the store's, and so an opening doesn't wait for these. The projector
/// gathers the rows with a replay of its own, before it does anything else, a part at a time; until the
/// store has them, a lookup reads its value where the `set` stands in the journal.
final class Backlog: Sendable {
  let end: SequenceNumber
  fileprivate let storage: any JournalStorage
  private let state = Mutex(State())

  private struct State {
    /// While nobody reads.
    var sets: JournalSets?
    /// The store has it all.
    var isOver = false
  }

  init(_ storage: any JournalStorage, end: SequenceNumber) {
    self.storage = storage
    self.end = end
  }

  /// The value that the `set` at `origin` made, read from the journal. To be called by the reader
  /// thread.
  /// - Returns: `nil` where the store has it by now, and the journal perhaps no longer.
  func read(_ origin: SequenceNumber) -> RowRequests.Answer? {
    let (isOver, kept) = state.withLock { state in
      defer { state.sets = nil }
      return (state.isOver, state.sets)
    }
    if isOver { return nil }
    var sets = kept
    let answer = read(origin, &sets)
    return state.withLock { state in
      if state.isOver { return nil }
      state.sets = sets
      return answer
    }
  }

  private func read(_ origin: SequenceNumber, _ sets: inout JournalSets?) -> RowRequests.Answer {
    do throws(DamageError) {
      if sets == nil { sets = try JournalSets(storage) }
      guard let set = try sets?.value(origin), set.storeExpiry != nil else {
        return .success(.missing)
      }
      return .success(.row(value: [UInt8](set.value)))
    } catch {
      sets = nil
      return .failure(error.asStoreError(.read))
    }
  }

  /// Lets go of the files: the store has it all.
  func release() {
    state.withLock { state in
      state.sets = nil
      state.isOver = true
    }
  }
}

/// How much of a backlog is in memory at a time: a frame may exceed it.
struct PartLimits {
  var rowCount: Int
  /// Of values.
  var byteCount: UInt64
}

extension PartLimits {
  /// Others wait in the same queues meanwhile.
  init(_ configuration: CacheConfiguration) {
    let queues = configuration.queues
    rowCount = min(configuration.transactionRowCountMax, queues.pendingRowCountMax)
    byteCount = UInt64(max(queues.pinnedByteCountMax / 2, 1))
  }
}

/// Gathers the rows of a backlog, in the order of their events. For use by one owner.
struct BacklogGathering {
  private let backlog: Backlog
  private let limits: PartLimits
  /// Where it goes on.
  private var underWay: Walk?

  private typealias Walk = (replay: JournalReplay, sink: RecoverySink, end: ReplayEnd)

  init(_ backlog: Backlog, _ limits: PartLimits) {
    (self.backlog, self.limits) = (backlog, limits)
  }

  /// The rows of the events after `applied`, and up to the one that is told.
  /// - Parameter applied: what the store has by now.
  /// - Throws: `DamageError` where the journal doesn't give them. The next call begins anew.
  mutating func next(
    after applied: SequenceNumber
  ) throws(DamageError) -> (rows: Projection, last: SequenceNumber) {
    let walk = try walk(after: applied)
    let last = walk.end.last
    if walk.sink.takesMore, last != backlog.end {
      throw .structure(
        file: walk.end.position.segmentName,
        "the journal ends at event \(last), and the cache was opened at \(backlog.end)")
    }
    underWay = last == backlog.end ? nil : walk
    return (walk.sink.takeRows(), last)
  }

  /// Goes on, or begins with a checkpoint, until the sink is full or everything is in.
  private mutating func walk(after applied: SequenceNumber) throws(DamageError) -> Walk {
    let before = underWay
    // One that has failed isn't gone on with.
    underWay = nil
    if let before, before.end.last == applied {
      let end = try before.replay.run(on: before.end, into: before.sink)
      return (before.replay, before.sink, end)
    }
    let replay = JournalReplay(try JournalDirectory(backlog.storage, forWriting: false))
    let sink = RecoverySink(hashSeed: CacheKey.hashSeed, applied: applied, part: limits)
    let end = try replay.run(
      from: .notAfter(applied), through: backlog.end, crossesGaps: false, into: sink)
    return (replay, sink, end)
  }
}

extension DamageError {
  /// The store's trouble that comes from the journal.
  func asStoreError(_ operation: StoreError.Operation) -> StoreError {
    // A file that isn't there, too: retention may have dropped it meanwhile, which says nothing of the store.
    let isDamage = if case .storage = self { false } else { true }
    return StoreError(
      code: isDamage ? .corrupt : .ioError, operation: operation,
      message: "what the store lacks can't be read from the journal: \(self)", path: "")
  }
}
