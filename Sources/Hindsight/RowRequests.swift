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
  /// Reads the row of `origin`: in place where everything it needs is resident, else on the reader
  /// thread. `nil`: there is no such row in the snapshot that was read.
  nonisolated(nonsending) func readRow(
    _ origin: SequenceNumber
  ) async throws(CacheError) -> EncodedValue? {
    guard let store else { preconditionFailure("a store resident without a store") }
    do throws(StoreError) {
      let inPlace = try store.readers.readInPlace(origin: origin)
      guard case .wouldBlock = inPlace else { return encoded(inPlace, origin) }
      return encoded(try await readOnThread(origin, isInJournal: false, store).get(), origin)
    } catch {
      throw CacheError(store: error)
    }
  }

  /// Reads the value of `origin` where its `set` stands in the journal, on the reader thread: the
  /// store lacks it for now.
  /// - Throws: `.storeUnavailable` where the journal doesn't give it: it is not lost by that.
  nonisolated(nonsending) func readJournal(
    _ origin: SequenceNumber
  ) async throws(CacheError) -> EncodedValue? {
    guard let store else { preconditionFailure("a store resident without a store") }
    do throws(StoreError) {
      return encoded(try await readOnThread(origin, isInJournal: true, store).get(), origin)
    } catch {
      throw CacheError(store: error)
    }
  }

  private func encoded(_ result: StoreReadResult, _ origin: SequenceNumber) -> EncodedValue? {
    switch result {
    case .row(let value, let coder, _):
      EncodedValue(bytes: value, coder: coder, origin: origin)
    case .missing: nil
    case .wouldBlock: preconditionFailure("the reader thread may block")
    }
  }

  private nonisolated(nonsending) func readOnThread(
    _ origin: SequenceNumber, isInJournal: Bool, _ store: Store
  ) async -> RowRequests.Answer {
    await withUnsafeContinuation { continuation in
      let request = RowRequests.Request(
        origin: origin, isInJournal: isInJournal, continuation: continuation)
      guard store.requests.append(request) else {
        // The lookup began before the end, and found the readers closed.
        let closed = StoreError(
          code: .closed, operation: .read, message: "the cache was closed meanwhile", path: "")
        return continuation.resume(returning: .failure(closed))
      }
      signalReader()
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
