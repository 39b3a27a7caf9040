import HindsightCore
import HindsightJournal
import HindsightStore
import Synchronization

/// What the store lacks at an opening that begins with a checkpoint after that: the events after `applied`
/// and up to `end`, the last one.
///
/// An index needs no values of the store's, and so an opening doesn't wait for these. The projector
/// gathers the rows with a replay of its own, before it does anything else; until the store has
/// them, a lookup reads its value where the `set` stands in the journal.
final class Backlog: Sendable {
  let applied: SequenceNumber
  let end: SequenceNumber
  private let storage: any JournalStorage
  private let state = Mutex(State())

  private struct State {
    /// While nobody reads.
    var sets: JournalSets?
    /// The store has it all.
    var isOver = false
  }

  init(_ storage: any JournalStorage, applied: SequenceNumber, end: SequenceNumber) {
    self.storage = storage
    self.applied = applied
    self.end = end
  }

  /// The rows, in the order of their events.
  /// - Throws: `DamageError` where the journal doesn't give them.
  func gather() throws(DamageError) -> Projection {
    let directory = try JournalDirectory(storage, forWriting: false)
    let sink = RecoverySink(hashSeed: CacheKey.hashSeed, applied: applied, keepsValues: false)
    let reached = try JournalReplay(directory).run(
      from: .notAfter(applied), through: end, crossesGaps: false, into: sink)
    guard reached.last == end else {
      throw .structure(
        file: reached.position.segmentName,
        "the journal ends at event \(reached.last), and the cache was opened at \(end)")
    }
    return sink.projection
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
