import HindsightCore
import HindsightStore
import Synchronization

/// Lookups that wait for the store's reader thread, since answering them in place would have
/// blocked a cooperative thread on the disk.
final class RowRequests: Sendable {
  /// What the reader found: a row, nothing, or an error.
  typealias Answer = Result<StoreReadResult, StoreError>

  struct Request {
    var origin: SequenceNumber
    /// Whether the value is to come from the journal, since the store lacks it.
    var isInJournal = false
    var continuation: UnsafeContinuation<Answer, Never>
  }

  private struct State {
    var waiting: [Request] = []
    var isClosed = false
  }

  private let state = Mutex(State())

  /// - Returns: whether it will be answered: not once the reader thread has ended.
  func append(_ request: Request) -> Bool {
    state.withLock { state in
      if !state.isClosed { state.waiting.append(request) }
      return !state.isClosed
    }
  }

  /// Takes all that wait: the batch closes before its snapshot is taken.
  /// - Parameter closes: whether nobody will ask again; later requests are refused.
  func take(closes: Bool) -> [Request] {
    state.withLock { state in
      defer { state.waiting = [] }
      state.isClosed = state.isClosed || closes
      return state.waiting
    }
  }
}

extension Engine {
  /// Reads the row of `origin`, if everything that this needs is resident.
  func readInPlace(_ origin: SequenceNumber) throws(CacheError) -> StoreReadResult {
    guard let store else { preconditionFailure("a store resident without a store") }
    do throws(StoreError) {
      return try store.readers.readInPlace(origin: origin)
    } catch {
      noteDamage(error)
      throw CacheError(store: error)
    }
  }

  /// Damage that only reads meet is told to the projector, which has the next opening mend it.
  private func noteDamage(_ error: StoreError) {
    guard let store, error.remedy == .rebuild else { return }
    store.hasMetDamage.store(true, ordering: .relaxed)
    signalProjector()
  }

  /// Has the reader thread read a row, or the `set` in the journal that the store lacks for now.
  /// - Throws: `.storeUnavailable` where the journal doesn't give it: it is not lost by that.
  nonisolated(nonsending) func readOnThread(
    _ stored: StoredValue
  ) async throws(CacheError) -> StoreReadResult {
    guard let store else { preconditionFailure("a store resident without a store") }
    let answer = await withUnsafeContinuation { continuation in
      let request = RowRequests.Request(
        origin: stored.origin, isInJournal: stored.isInJournal, continuation: continuation)
      guard store.requests.append(request) else {
        // The lookup began before the end, and found the readers closed.
        let closed = StoreError(
          code: .closed, operation: .read, message: "the cache was closed meanwhile", path: "")
        return continuation.resume(returning: .failure(closed))
      }
      signalReader()
    }
    do throws(StoreError) {
      return try answer.get()
    } catch {
      // The store may have it by now, and the journal no longer.
      if stored.isInJournal, !locked({ state in state.projection.lacks(stored.origin) }) {
        return .missing
      }
      noteDamage(error)
      throw CacheError(store: error)
    }
  }

  /// Answers everybody who waits for a row, in one batch. Ends when the projector has ended.
  func readerStep(_ store: Store) -> BackgroundWait {
    let hasEnded = locked { state in state.closing.isProjectorEnded }
    let batch = store.requests.take(closes: hasEnded)
    var rows: [RowRequests.Request] = []
    for request in batch {
      guard request.isInJournal, let answer = store.backlog?.read(request.origin) else {
        rows.append(request)
        continue
      }
      request.continuation.resume(returning: answer)
    }
    let answers = store.readers.readBlocking(origins: rows.map(\.origin))
    for (request, answer) in zip(rows, answers) { request.continuation.resume(returning: answer) }
    if hasEnded { return .finished }
    return batch.isEmpty ? .signal : .again
  }
}
