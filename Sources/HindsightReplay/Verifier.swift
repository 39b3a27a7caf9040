import HindsightCore
public import HindsightJournal
public import HindsightStore

/// Verifies a journal and its store: checksums, contiguous sequences, non-decreasing time, INV016
/// and INV017 at every event, checkpoint digests equal to the replayed state, and the store's rows
/// equal to the projection at its applied sequence.
///
/// It changes nothing, may run beside a writer, and goes on behind damage where a checkpoint lets it.
public struct Verifier {
  private let storage: any JournalStorage
  private let limits: ReplayLimits
  private let openStore: (() throws(StoreError) -> StoreInspector?)

  /// - Parameters:
  ///   - limits: where the journal asks for more, the verification ends with a problem that says so.
  ///   - store: opens the store for reading; gives `nil` where there is none.
  public init(
    _ storage: any JournalStorage, limits: ReplayLimits = ReplayLimits(),
    store: @escaping () throws(StoreError) -> StoreInspector?
  ) {
    (self.storage, self.limits) = (storage, limits)
    openStore = store
  }

  /// - Parameter progress: is told now and then how many events have been checked.
  public func run(progress: @escaping (Int) -> Void = { _ in }) -> Verification {
    for _ in 1..<JournalDirectory.readingAttempts {
      let (result, isOutdated) = runOnce(progress)
      // Beside a writer files come and go: what seems to be missing may be there now.
      if result.isSound || !isOutdated { return result }
    }
    return runOnce(progress).0
  }

  private func runOnce(
    _ progress: @escaping (Int) -> Void
  ) -> (Verification, isOutdated: Bool) {
    var result = Verification()
    let isLive = isLive(&result)
    // The store first: the journal is then read up to at least its applied sequence.
    let store = inspect(&result)
    guard let directory = directory(&result) else { return (result, false) }
    result.segments = directory.segmentNumbers.count
    let digests = checkCheckpoints(directory, &result)
    let sink = VerifyingSink(
      limits: limits, digests: digests,
      applied: store.flatMap { ours($0, directory, &result) }, progress: progress)
    let isWhole = replay(directory, sink, isLive: isLive, &result)
    sink.report(into: &result)
    if let store, isWhole, result.storeApplied != nil {
      compare(store, sink, &result)
    }
    let isStoreOutdated = isOutdated(store, &result)
    do throws(StorageError) {
      let isOutdated = try directory.isOutdated()
      return (result, isStoreOutdated || isLive && isOutdated)
    } catch {
      result.note(.init(file: error.file, offset: nil, message: "\(error)"))
      return (result, false)
    }
  }

  private func isOutdated(_ store: StoreInspector?, _ result: inout Verification) -> Bool {
    do throws(StoreError) {
      return try store?.isOutdated() ?? false
    } catch {
      result.note(.init(file: "store.sqlite", offset: nil, message: "\(error)"))
      return false
    }
  }

  // MARK: Journal

  private func isLive(_ result: inout Verification) -> Bool {
    do throws(StorageError) {
      return try storage.isLocked()
    } catch {
      result.note(.init(file: error.file, offset: nil, message: "\(error)"))
      return false
    }
  }

  private func directory(_ result: inout Verification) -> JournalDirectory? {
    do throws(DamageError) {
      return try JournalDirectory(reading: storage)
    } catch {
      result.note(Verification.Problem(error))
      return nil
    }
  }

  /// - Returns: whether all was replayed that can be; false where that is beyond the limits.
  private func replay(
    _ directory: JournalDirectory, _ sink: VerifyingSink, isLive: Bool,
    _ result: inout Verification
  ) -> Bool {
    var start = ReplayStart.oldest
    while true {
      let end: ReplayEnd
      do throws(DamageError) {
        end = try JournalReplay(directory).run(from: start, stopsAtDamage: true, into: sink)
      } catch {
        // No checkpoint leads behind the damage.
        if case .after = start, error.storageFailure == nil { return true }
        result.note(Verification.Problem(error))
        return true
      }
      result.frames += end.frameCount
      result.storedBytes += end.storedByteCount
      result.rawBytes += end.rawByteCount
      result.lastSequence = end.last.rawValue
      result.isClosed = end.isClosed
      noteTail(end, directory, isLive: isLive, &result)
      guard let damage = end.damage else { return true }
      result.note(Verification.Problem(damage))
      if case .state(_, _, .beyondLimits) = damage {
        result.notes.append(
          "what follows was not verified; if you trust the journal, verify it without limits "
            + "(--no-limits, ReplayLimits.none)")
        return false
      }
      start = .after(end.last)
    }
  }

  /// Says what stands behind the last good frame, and what the next opening makes of it. While a
  /// writer is at work, that is simply the end.
  private func noteTail(
    _ end: ReplayEnd, _ directory: JournalDirectory, isLive: Bool, _ result: inout Verification
  ) {
    guard end.damage == nil else { return }
    if !isLive, let message = tailMessage(end, directory) {
      result.note(
        Verification.Problem(
          file: end.position.segmentName, offset: end.position.byteOffset, message: message))
    }
    if !end.isClosed, end.last != .zero {
      result.notes.append(
        isLive ? "a writer has the cache open" : "the cache was not closed; opening it recovers it")
    }
  }

  private func tailMessage(_ end: ReplayEnd, _ directory: JournalDirectory) -> String? {
    var found = "the journal ends"
    if case .bad(let error) = end.tail { found = "\(error)" }
    do throws(DamageError) {
      switch try RecoveryVerdict(of: directory, end, store: nil) {
      case .clean, .unclean: return nil
      case .tornTail:
        return
          "after event \(end.last): \(found). Nothing proves that it had been durable: the next "
          + "opening drops it as a torn tail and keeps it aside"
      case .corrupt(let evidence):
        return "after event \(end.last): \(found), but \(evidence.rawValue): opening refuses"
      }
    } catch {
      return "\(error)"
    }
  }

  /// Reads every checkpoint whole.
  /// - Returns: the digests of those that are whole, by their sequences.
  private func checkCheckpoints(
    _ directory: JournalDirectory, _ result: inout Verification
  ) -> [SequenceNumber: UInt64] {
    var digests: [SequenceNumber: UInt64] = [:]
    for number in directory.checkpoints {
      do throws(DamageError) {
        let header = try check(number)
        result.checkpoints += 1
        digests[header.head.sequence] = header.digest
      } catch {
        if case .storage(let error) = error, error.code == .noSuchFileOrDirectory { continue }
        result.note(Verification.Problem(error))
      }
    }
    return digests
  }

  private func check(_ number: UInt32) throws(DamageError) -> CheckpointHeader {
    let reader = try CheckpointReader(storage, number: number)
    var state = CacheState(hashSeed: .random(in: 0 ... .max))
    let head = reader.header.head
    state.restore(head, orderIsTold: head.opened?.accessLog != .off)
    var budget = ReplayBudget(limits)
    try reader.forEachEntry(hashSeed: state.hashSeed) { (image, _) throws(StateError) in
      try budget.spend(nil, state)
      try state.restore(image)
    }
    do throws(StateError) {
      try state.finishRestore(digest: reader.header.digest)
    } catch {
      throw .state(file: reader.name, offset: 0, error)
    }
    return reader.header
  }

  // MARK: Store

  private func inspect(_ result: inout Verification) -> StoreInspector? {
    do throws(StoreError) {
      guard let store = try openStore() else { return nil }
      for finding in try store.quickCheck() {
        result.note(.init(file: "store.sqlite", offset: nil, message: finding))
      }
      return store
    } catch {
      result.note(.init(file: "store.sqlite", offset: nil, message: "\(error)"))
      return nil
    }
  }

  /// The applied sequence of a store that is this journal's.
  private func ours(
    _ store: StoreInspector, _ directory: JournalDirectory, _ result: inout Verification
  ) -> SequenceNumber? {
    guard let mark = store.mark else { return nil }
    guard mark.journalID == directory.journalID else {
      result.notes.append(
        "the store is not this journal's projection; opening the cache reconciles it")
      return nil
    }
    result.storeApplied = mark.applied.rawValue
    return mark.applied
  }

  private func compare(
    _ store: StoreInspector, _ sink: VerifyingSink, _ result: inout Verification
  ) {
    func problem(_ message: String) {
      result.note(.init(file: "store.sqlite", offset: nil, message: message))
    }
    if sink.projection == nil, sink.isAppliedInGap {
      result.notes.append(
        "the store ends inside a gap of the journal, so its rows can't be compared; opening the "
          + "cache reconciles it")
      return
    }
    guard var expected = sink.projection else {
      return problem(
        "the store has applied event \(result.storeApplied ?? 0), which the journal doesn't reach")
    }
    do throws(StoreError) {
      var last = SequenceNumber.zero
      while true {
        let rows = try store.rows(after: last, limit: 1_024, detail: .hashes)
        guard let end = rows.last else { break }
        last = end.origin
        for row in rows {
          guard let image = expected.removeValue(forKey: row.origin) else {
            problem("row \(row.origin) is not in the projection")
            continue
          }
          if image.matches(row) {
            result.rows += 1
          } else {
            problem("row \(row.origin) differs from what the journal set")
          }
        }
      }
    } catch {
      problem("\(error)")
    }
    let missing = expected.keys.filter { !sink.mayBeGone.contains($0) }
    for origin in missing.sorted() { problem("row \(origin) is missing") }
  }
}

extension EntryImage {
  fileprivate func matches(_ row: RowImage) -> Bool {
    key == row.key && coder == row.coder && setAt == row.createdAt && storeExpiry == row.expiry
      && valueByteCount == row.valueByteCount && valueHash == row.valueHash
  }
}

extension Verification.Problem {
  init(_ error: DamageError) {
    switch error {
    case .storage(let error): self.init(file: error.file, offset: nil, message: "\(error)")
    case .format(let file, let offset, let error):
      self.init(file: file, offset: offset, message: "\(error)")
    case .state(let file, let offset, let error):
      self.init(file: file, offset: offset, message: "\(error)")
    case .structure(let file, let message):
      self.init(file: file, offset: nil, message: message)
    }
  }
}
