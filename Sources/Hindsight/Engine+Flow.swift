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

/// Why a write has to wait.
struct Obstacle {
  var error: CacheError
  /// Whether it passes by itself. A store that can't be written doesn't, nor does a journal: the
  /// store takes only what is durable.
  var mayPass: Bool
}

extension EngineState {
  /// What keeps a write from being decided now; `nil` where nothing does.
  var obstacle: Obstacle? {
    guard phase == .open else { return nil }  // the decision itself says so
    if hasJournal, commit.trouble == nil, frame.byteCount > queues.unwrittenByteCountMax {
      return Obstacle(
        error: CacheError(
          .backpressure,
          "\(frame.byteCount) bytes of events wait to be written; wait, write less, or raise "
            + "queues.unwrittenByteCountMax (\(queues.unwrittenByteCountMax))"),
        mayPass: true)
    }
    if hasJournal, commit.trouble == nil,
      commit.unsyncedByteCount > UInt64(queues.unsyncedByteCountMax)
    {
      return Obstacle(
        error: CacheError(
          .backpressure,
          "\(commit.unsyncedByteCount) bytes of events wait for the disk; wait, write less, or raise "
            + "queues.unsyncedByteCountMax (\(queues.unsyncedByteCountMax))"),
        mayPass: true)
    }
    guard hasStore, projection.exceeds(queues) else { return nil }
    if let trouble = projection.trouble ?? commit.trouble?.error {
      return Obstacle(error: trouble, mayPass: false)
    }
    let hasManyBytes = projection.pinnedByteCount > UInt64(queues.pinnedByteCountMax)
    return Obstacle(
      error: CacheError(
        .backpressure,
        (hasManyBytes
          ? "\(projection.pinnedByteCount) bytes of values" : "\(projection.rowCount) rows")
          + " wait for the store; wait, write less, or raise queues."
          + (hasManyBytes
            ? "pinnedByteCountMax (\(queues.pinnedByteCountMax))"
            : "pendingRowCountMax (\(queues.pendingRowCountMax))")), mayPass: true)
  }
}
