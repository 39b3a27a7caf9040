import Hindsight
import HindsightReplay

/// What happened in a demo.
struct DemoReport: Codable {
  var names: Int
  var lookups: Int
  /// Of the stream's own time.
  var hours: Double
  var killed: DemoChild.Outcome
  var finished: DemoChild.Outcome
  var verification: Verification

  /// Nothing acknowledged before the kill may be missing after it, and the journal must verify.
  var isSound: Bool {
    verification.isSound && verification.isClosed && nothingAcknowledgedIsLost
      && finished.progress.done == lookups
  }

  private var nothingAcknowledgedIsLost: Bool {
    finished.opened.lastSequence >= killed.progress.acknowledged
  }

  private var tierHits: TierCounts {
    TierCounts(
      memory: killed.progress.hits.memory + finished.progress.hits.memory,
      store: killed.progress.hits.store + finished.progress.hits.store)
  }

  private var misses: Int { killed.progress.misses + finished.progress.misses }

  var text: String {
    ([lookupsText, killText, recoveryText, journalText, verificationText]
      + verification.problems.map { "  DAMAGE \(Output.printable("\($0)"))" }).joined(
        separator: "\n")
  }

  private var lookupsText: String {
    let hits = tierHits
    let answered = hits.memory + hits.store + misses
    return """
      \(lookups) lookups of \(names) names over \(rounded(hours)) hours of their own time
        memory hits \(hits.memory) (\(share(hits.memory, answered))), \
      store hits \(hits.store) (\(share(hits.store, answered))), \
      misses \(misses) (\(share(misses, answered)))
      """
  }

  private var killText: String {
    """
    killed with SIGKILL after \(killed.progress.done) lookups; acknowledged until then: event \
    \(killed.progress.acknowledged)
    """
  }

  private var recoveryText: String {
    let found = finished.opened
    let checkpoint = found.checkpoint.map { " from checkpoint \($0)" } ?? ""
    return """
        recovery found \(found.journal.words); \(found.replayedEvents) events \
      replayed\(checkpoint), up to event \(found.lastSequence); \(found.droppedBytes) bytes of a \
      torn tail; \(found.store.words)
        it took \(rounded(found.seconds * 1_000)) ms; nothing acknowledged was lost: \
      \(nothingAcknowledgedIsLost ? "yes" : "NO")
      """
  }

  private var journalText: String {
    let events = Double(max(1, verification.events))
    let stored = Double(verification.storedBytes) / events
    let raw = Double(verification.rawBytes) / events
    return """
      journal: \(verification.events) events in \(verification.frames) frames and \
      \(verification.segments) segments
        \(rounded(stored)) bytes an event against \(rounded(raw)) raw: \
      \(rounded(raw / max(stored, 0.01))) times smaller
      """
  }

  private var verificationText: String {
    """
    verified: \(verification.isSound ? "ok" : "NOT ok"); closed properly: \
    \(verification.isClosed ? "yes" : "NO")
      INV016 held at \(verification.ttlChecks) checks of TTLs, INV017 at \
    \(verification.limitChecks) checks of limits
      \(verification.checkpointsReplayed) checkpoints equal to the replayed state, \
    \(verification.rows) rows of the store equal to the projection
      digest \(verification.digest)
    """
  }

  private func share(_ part: Int, _ whole: Int) -> String {
    "\(rounded(100 * Double(part) / Double(max(1, whole))))%"
  }

  private func rounded(_ number: Double) -> String { "\((number * 10).rounded() / 10)" }
}

extension RecoverySummary.Journal {
  fileprivate var words: String {
    switch self {
    case .none: "no journal"
    case .new: "a new journal"
    case .clean: "a journal that was closed properly"
    case .unclean: "a journal that was not closed"
    case .tornTail: "a journal with a torn tail"
    case .salvaged: "a damaged journal"
    }
  }
}

extension RecoverySummary.Store {
  fileprivate var words: String {
    switch self {
    case .none: "no store"
    case .new: "a new store"
    case .resumed: "the store goes on where it was"
    case .reconciled: "the store was compared with the journal row by row"
    case .rebuilt: "the store is built anew"
    }
  }
}
