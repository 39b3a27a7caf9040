import HindsightCore
import HindsightJournal
import HindsightStore

// What the next opening makes of the journal.

extension Verifier {
  /// Finds out what the next opening makes of the journal, the way an opening does.
  /// - Parameter last: where the last part of the replay ended.
  func sayWhatOpeningDoes(
    _ replay: CrossingReplay, _ last: ReplayEnd?, _ mark: StoreMark?,
    damagedThrough: SequenceNumber?, _ result: inout Verification
  ) {
    var torn: Verification.Problem?
    do throws(DamageError) {
      if let last { torn = try replay.torn(last) }
      if let damage = replay.directoryDamage.first { throw damage }
      let (end, verdict) = try judge(replay.directory, last, mark, isSound: result.isSound)
      say(end, verdict, torn, damagedThrough, &result)
    } catch {
      let problem = Verification.Problem(error)
      if error.storageFailure != nil, !result.problems.contains(problem) { result.note(problem) }
      if error.isUnreadable || error.isBeyondLimits { return }
      if result.isSound { result.note(torn ?? problem) }
      result.notes.append("opening the cache is refused: \(error)")
    }
  }

  private func judge(
    _ directory: JournalDirectory, _ last: ReplayEnd?, _ mark: StoreMark?, isSound: Bool
  ) throws(DamageError) -> (ReplayEnd, RecoveryVerdict) {
    let store = mark.map { ($0.journalID, $0.applied) }
    if isSound, let last, last.tail == .end {
      // Where nothing is wrong, an opening comes to the same end.
      let verdict = try RecoveryVerdict(of: directory, last, store: store)
      if verdict == .clean || verdict == .unclean { return (last, verdict) }
    }
    return try directory.judge(from: .newest, store: store, into: ResolvingSink(limits))
  }

  private func say(
    _ end: ReplayEnd, _ verdict: RecoveryVerdict, _ torn: Verification.Problem?,
    _ damagedThrough: SequenceNumber?, _ result: inout Verification
  ) {
    if !result.isSound, !result.problems.contains(where: \.isOfStore) {
      let place = end.checkpoint.map { "checkpoint \($0)" } ?? "its beginning"
      let history = damagedThrough.map { "; the history up to event \($0) has holes" } ?? ""
      let isShort = end.last.rawValue < result.lastSequence
      let loss = isShort ? ", and drops what follows event \(end.last)" : ""
      result.notes.append(
        "opening the cache is not refused: it begins from \(place)\(loss)\(history)")
    }
    if verdict == .tornTail, var torn {
      torn.message +=
        ". Nothing proves that it had been durable: the next opening drops it as a torn tail and "
        + "keeps it aside"
      result.note(torn)
    }
    if !end.isClosed, end.last != .zero {
      result.notes.append("the cache was not closed; opening it recovers it")
    }
  }
}
