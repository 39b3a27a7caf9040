import HindsightCore
public import HindsightJournal
public import HindsightStore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Verifies a journal and its store: checksums, contiguous sequences, non-decreasing time, INV016
/// and INV017 wherever an event could break them, checkpoint digests equal to the replayed state, and the store's rows
/// equal to the projection at its applied sequence.
///
/// It changes nothing, may run beside a writer, and goes on behind damage where a checkpoint lets it.
public struct Verifier {
  private let storage: any JournalStorage
  let limits: ReplayLimits
  let openStore: () throws(StoreError) -> StoreInspector?

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

  /// Of the cache in a directory.
  /// - Parameter limits: as above.
  /// - Throws: `DamageError.storage` where there is no such directory, or it can't be read.
  public init(directory: String, limits: ReplayLimits = ReplayLimits()) throws(DamageError) {
    let storage = try DamageError.wrap { () throws(StorageError) in
      try PosixStorage(reading: directory)
    }
    self.init(storage, limits: limits) { () throws(StoreError) in
      guard access(directory + "/" + StoreBounds.fileName, F_OK) == 0 else { return nil }
      return try StoreInspector(directory: directory)
    }
  }

  /// Verifies, and blocks the calling thread until it is done: call it from a thread of your own, not from a
  /// task.
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
    guard let replay = crossingReplay(isLive: isLive, &result) else { return (result, false) }
    let directory = replay.directory
    result.segments = directory.segmentNumbers.count
    let checkpoints = checkCheckpoints(directory, &result)
    let places = CheckpointPlaces(checkpoints, directory)
    let mark = store.flatMap { ours($0, directory, &result) }
    let sink = VerifyingSink(
      limits: limits, places: places, applied: mark?.applied, progress: progress)
    let isWhole = run(replay, checkpoints, places, sink, isLive: isLive, mark, &result)
    sink.report(into: &result)
    result.digest = digest(directory, sink, SequenceNumber(result.lastSequence))
    if let store, isWhole, result.storeApplied != nil {
      compare(store, sink, &result)
    }
    sayWhatStoreLacks(store, sink.opened, &result)
    let isStoreOutdated = isOutdated(store, &result)
    do throws(StorageError) {
      let isOutdated = try directory.isOutdated() && replay.directoryDamage.isEmpty
      return (result, isStoreOutdated || isLive && isOutdated)
    } catch {
      result.note(Verification.Problem(.storage(error)))
      return (result, false)
    }
  }

  /// Where that can't be told, nothing is said of what an opening would do.
  private func isLive(_ result: inout Verification) -> Bool {
    do throws(StorageError) {
      return try storage.isLocked()
    } catch {
      result.note(Verification.Problem(.storage(error)))
      return true
    }
  }

  private func crossingReplay(isLive: Bool, _ result: inout Verification) -> CrossingReplay? {
    do throws(DamageError) {
      let replay = try CrossingReplay(storage, isLive: isLive)
      for damage in replay.directoryDamage { result.note(Verification.Problem(damage)) }
      return replay
    } catch {
      result.note(Verification.Problem(error))
      if !error.isUnreadable { result.notes.append("opening the cache is refused: \(error)") }
      return nil
    }
  }

  /// - Returns: whether all was replayed that can be; false where that is beyond the limits.
  private func run(
    _ replay: CrossingReplay, _ checkpoints: [CheckpointHeader], _ places: CheckpointPlaces,
    _ sink: VerifyingSink, isLive: Bool, _ mark: StoreMark?, _ result: inout Verification
  ) -> Bool {
    let directory = replay.directory
    var last: ReplayEnd?
    do throws(DamageError) {
      let whole = checkpoints.map(\.head.sequence)
      try replay.run(into: sink, whole: whole) { (end, problem) throws(DamageError) in
        last = end
        places.partEnded(end)
        if let unreached = end.unreached { try walk(unreached, directory, places, &result) }
        result.frames += end.frameCount
        result.storedBytes += end.storedByteCount
        result.rawBytes += end.rawByteCount
        result.lastSequence = end.last.rawValue
        result.isClosed = end.isClosed
        if let problem {
          result.note(problem)
          sink.cross()
        }
        return !end.isBeyondLimits
      }
    } catch {
      let problem = Verification.Problem(error)
      // A checkpoint that can't be read has been named with the others.
      if !result.problems.contains(problem) { result.note(problem) }
      if error.storageFailure != nil {
        result.lastSequence = max(result.lastSequence, sink.last.rawValue)
        return false
      }
    }
    places.end()
    for problem in places.problems { result.note(problem) }
    if let last, last.isBeyondLimits {
      result.notes.append(
        "what follows was not verified; if you trust the journal, verify it without limits "
          + "(--no-limits, ReplayLimits.none)")
      return false
    }
    if isLive {
      if result.lastSequence > 0, !result.isClosed, result.failure == nil {
        result.notes.append("a writer has the cache open")
      }
    } else if !directory.isEmpty || !directory.checkpoints.isEmpty
      || !replay.directoryDamage.isEmpty
    {
      sayWhatOpeningDoes(replay, last, mark, damagedThrough: sink.damagedThrough, &result)
    }
    return true
  }

  /// Checks what comes before the checkpoint that the replay began with.
  private func walk(
    _ unreached: ClosedRange<SequenceNumber>, _ directory: JournalDirectory,
    _ places: CheckpointPlaces, _ result: inout Verification
  ) throws(DamageError) {
    result.notes.append(
      "no checkpoint leads to events \(unreached.lowerBound) to \(unreached.upperBound): they were "
        + "read, and their order was checked, but they could not be applied")
    try FrameWalk(limits, places).run(directory, through: unreached.upperBound) { result.note($0) }
  }

  /// The digest as of the last event. Where what follows that didn't get in, the state is lost with it:
  /// another replay ends before that.
  private func digest(
    _ directory: JournalDirectory, _ sink: VerifyingSink, _ last: SequenceNumber
  ) -> String {
    if let digest = sink.digest { return hexadecimal(digest) }
    guard last > .zero else { return hexadecimal(CacheState(hashSeed: 0).digest) }
    let again = ResolvingSink(limits)
    do throws(DamageError) {
      let end = try JournalReplay(directory)
        .run(from: .notAfter(last), through: last, stopsAtDamage: true, into: again)
      return end.last == last ? hexadecimal(again.digest) : ""
    } catch {
      return ""  // What is wrong has been told.
    }
  }

  /// Reads every checkpoint whole.
  /// - Returns: those that are whole.
  private func checkCheckpoints(
    _ directory: JournalDirectory, _ result: inout Verification
  ) -> [CheckpointHeader] {
    var whole: [CheckpointHeader] = []
    var budget = ReplayBudget(limits)
    for number in directory.checkpoints {
      do throws(DamageError) {
        whole.append(try check(number, of: directory.journalID, &budget))
        result.checkpoints += 1
      } catch {
        if case .storage(let error) = error, error.code == .noSuchFileOrDirectory { continue }
        result.note(Verification.Problem(error))
      }
    }
    return whole
  }

  private func check(
    _ number: UInt32, of journal: JournalID?, _ budget: inout ReplayBudget
  ) throws(DamageError) -> CheckpointHeader {
    let reader = try CheckpointReader(storage, number: number)
    let id = reader.header.journalID
    if let journal, id != journal {
      throw .structure(file: reader.name, "the checkpoint belongs to journal \(id)")
    }
    var state = CacheState(hashSeed: .random(in: 0 ... .max))
    let head = reader.header.head
    state.restore(head)
    try reader.forEachEntry(
      hashSeed: state.hashSeed,
      read: { (count) throws(StateError) in try budget.spend(ReplayWork(storedByteCount: count)) },
      body: { (image, _) throws(StateError) in
        try budget.spendEntry(state)
        try state.restore(image)
      })
    do throws(StateError) {
      try state.finishRestore(digest: reader.header.digest)
    } catch {
      throw .state(file: reader.name, offset: 0, error)
    }
    return reader.header
  }
}
