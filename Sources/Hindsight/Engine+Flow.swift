import HindsightCore

// Waiting for queues and for the store: backpressure and settling.

extension Engine {
  /// Waits while a queue is at its limit, or fails, as configured. A full queue never grows: every
  /// write comes through here first.
  nonisolated(nonsending) func waitForRoom() async throws(CacheError) {
    while true {
      let obstacle = locked { state in state.obstacle }
      guard let obstacle else { return }
      guard configuration.backpressure == .wait, obstacle.mayPass else {
        // Who tries again later must find that something has happened meanwhile.
        if obstacle.mayPass { requestSync() }
        throw obstacle.error
      }
      if case .failed(let error) = await suspend(
        { state, waiter in
          // What has changed meanwhile, the next round sees.
          guard state.obstacle?.mayPass == true else { return .acknowledged }
          state.roomWaiters.append(waiter)
          return nil
        },
        // The projector takes only what is durable: see to it that more becomes so. What is asked
        // for before the waiter can be found could be done, and nobody told.
        enqueued: requestSync,
        cancel: { state, id in
          state.roomWaiters.firstIndex { $0.id == id }.map { state.roomWaiters.remove(at: $0) }
        })
      {
        throw error
      }
    }
  }

  /// Resumes those who wait for room, if there is some.
  func resumeRoomWaiters() {
    let (waiters, isStuck) = locked { state -> ([CommitState.Waiter], Bool) in
      guard !state.roomWaiters.isEmpty else { return ([], false) }
      if let obstacle = state.obstacle, obstacle.mayPass { return ([], true) }
      defer { state.roomWaiters = [] }
      return (state.roomWaiters, false)
    }
    waiters.map { ($0, .acknowledged) }.resume()
    if isStuck { requestSync() }
  }

  /// Has everything made durable soon, without waiting for it. Once asked for, the journal's thread
  /// attends to it: it forgets it only where it sees nothing left to do.
  private func requestSync() {
    let isNew = locked { state in
      defer { state.commit.isSyncRequested = true }
      return !state.commit.isSyncRequested
    }
    if isNew { signalJournal() }
  }

  /// Makes everything so far durable and waits until the store has it.
  /// - Returns: the last event that it has.
  nonisolated(nonsending) func settle() async throws(CacheError) -> SequenceNumber {
    let sequence = try await flush(.durable)
    guard store != nil else { return sequence }
    signalProjector()
    let outcome = await suspend(
      { state, waiter in
        guard state.projection.applied < sequence else { return .acknowledged }
        if let ended = state.commit.ended { return .failed(ended) }
        var waiter = waiter
        waiter.sequence = sequence
        state.settleWaiters.append(waiter)
        return nil
      },
      cancel: { state, id in
        state.settleWaiters.firstIndex { $0.id == id }.map { state.settleWaiters.remove(at: $0) }
      })
    if case .failed(let error) = outcome { throw error }
    return sequence
  }

  /// Suspends as a waiter that `enqueue` keeps, unless it knows the outcome at once.
  /// - Parameter enqueued: is called once the waiter is kept.
  private nonisolated(nonsending) func suspend(
    _ enqueue: (inout EngineState, CommitState.Waiter) -> CommitState.WaitOutcome?,
    enqueued: () -> Void = {},
    cancel: @escaping @Sendable (inout EngineState, UInt64) -> CommitState.Waiter?
  ) async -> CommitState.WaitOutcome {
    let id = nextWaiterID()
    let cancelled = CacheError(.cancelled, "the task was cancelled while it waited")
    let stop: @Sendable () -> Void = {
      let waiter = self.locked { state in cancel(&state, id) }
      waiter?.continuation.resume(returning: .failed(cancelled))
    }
    return await withTaskCancellationHandler {
      await withUnsafeContinuation { continuation in
        let waiter = CommitState.Waiter(id: id, sequence: .zero, continuation: continuation)
        if let outcome = locked({ state in enqueue(&state, waiter) }) {
          return continuation.resume(returning: outcome)
        }
        enqueued()
        if Task.isCancelled { stop() }
      }
    } onCancel: {
      stop()
    }
  }
}

/// Why a write has to wait. What is said about it is made of it outside the lock.
enum Obstacle {
  /// Bytes of events wait to be written.
  case unwritten(byteCount: Int, byteCountMax: Int)
  /// … or for the disk.
  case unsynced(byteCount: UInt64, byteCountMax: Int)
  /// Bytes of values wait for the store …
  case pinned(byteCount: UInt64, byteCountMax: Int)
  /// … or rows do.
  case pending(rowCount: Int, rowCountMax: Int)
  /// A queue is full since the store can't be written.
  case trouble(CacheError)

  /// Whether it passes by itself. A store that can't be written doesn't, nor does a journal: the
  /// store takes only what is durable.
  var mayPass: Bool { if case .trouble = self { false } else { true } }

  var error: CacheError {
    switch self {
    case .unwritten(let count, let most):
      Self.backpressure(
        "\(count) bytes of events wait to be written", "unwrittenByteCountMax", most)
    case .unsynced(let count, let most):
      Self.backpressure("\(count) bytes of events wait for the disk", "unsyncedByteCountMax", most)
    case .pinned(let count, let most):
      Self.backpressure("\(count) bytes of values wait for the store", "pinnedByteCountMax", most)
    case .pending(let count, let most):
      Self.backpressure("\(count) rows wait for the store", "pendingRowCountMax", most)
    case .trouble(let error): error
    }
  }

  private static func backpressure(_ what: String, _ limit: String, _ most: Int) -> CacheError {
    CacheError(
      .backpressure, "\(what); wait, write less, or raise queues.\(limit) (\(most))")
  }
}

extension EngineState {
  /// What keeps a write from being decided now; `nil` where nothing does.
  var obstacle: Obstacle? {
    guard phase == .open else { return nil }  // the decision itself says so
    if hasJournal, commit.trouble == nil {
      if frame.byteCount > queues.unwrittenByteCountMax {
        return .unwritten(
          byteCount: frame.byteCount, byteCountMax: queues.unwrittenByteCountMax)
      }
      if commit.unsyncedByteCount > UInt64(queues.unsyncedByteCountMax) {
        return .unsynced(
          byteCount: commit.unsyncedByteCount, byteCountMax: queues.unsyncedByteCountMax)
      }
    }
    guard hasStore, projection.exceeds(queues) else { return nil }
    if let trouble = projection.trouble ?? commit.trouble?.error { return .trouble(trouble) }
    let pinned = projection.pinnedByteCount
    if pinned > UInt64(queues.pinnedByteCountMax) {
      return .pinned(byteCount: pinned, byteCountMax: queues.pinnedByteCountMax)
    }
    return .pending(rowCount: projection.rowCount, rowCountMax: queues.pendingRowCountMax)
  }

  /// Whether callers set faster than journal and store take it.
  var isPressed: Bool {
    !roomWaiters.isEmpty || projection.isLong(queues)
      || frame.byteCount >= EngineBounds.longFrameByteCount
  }
}
