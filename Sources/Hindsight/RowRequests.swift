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
    var continuation: UnsafeContinuation<Answer, Never>
  }

  private let waiting = Mutex<[Request]>([])

  func append(_ request: Request) { waiting.withLock { $0.append(request) } }

  /// Takes all that wait: the batch closes before its snapshot is taken.
  func take() -> [Request] {
    waiting.withLock { waiting in
      defer { waiting = [] }
      return waiting
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
    let result: StoreReadResult
    do throws(StoreError) {
      let inPlace = try store.readers.readInPlace(origin: origin)
      if case .wouldBlock = inPlace {
        result = try await readOnThread(origin, store).get()
      } else {
        result = inPlace
      }
    } catch {
      throw CacheError(store: error)
    }
    switch result {
    case .row(let value, let coder, _):
      return EncodedValue(bytes: value, coder: coder, origin: origin)
    case .missing: return nil
    case .wouldBlock: preconditionFailure("the reader thread may block")
    }
  }

  private nonisolated(nonsending) func readOnThread(
    _ origin: SequenceNumber, _ store: Store
  ) async -> RowRequests.Answer {
    await withUnsafeContinuation { continuation in
      store.requests.append(RowRequests.Request(origin: origin, continuation: continuation))
      signalReader()
    }
  }

  /// Answers everybody who waits for a row, in one batch. Ends when the projector has ended.
  func readerStep(_ store: Store) -> BackgroundWait {
    let hasEnded = locked { state in state.closing.isProjectorEnded }
    let batch = store.requests.take()
    guard !batch.isEmpty else { return hasEnded ? .finished : .signal }
    let answers = store.readers.readBlocking(origins: batch.map(\.origin))
    for (request, answer) in zip(batch, answers) {
      request.continuation.resume(returning: answer)
    }
    return .again
  }
}
