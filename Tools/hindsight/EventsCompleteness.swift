import Hindsight
import HindsightCore
import HindsightReplay

/// Says on standard error where the history that is printed isn't whole, and what the cache knew there: an answer
/// about a key must not look complete where it isn't.
final class Completeness {
  /// What is wrong since the last event.
  var pending: [Verification.Problem] = []
  /// Checkpoints that were passed over.
  var passedOver: [Verification.Problem] = []
  private let key: Bytes?
  private let from: Events.Bound?
  private let to: Events.Bound?
  /// The last event so far …
  private var lastEvent: SequenceNumber?
  /// … or that a checkpoint contains which came behind it.
  private var last: (sequence: SequenceNumber, at: Timestamp)?
  /// What is to be said of checkpoints behind what is wrong.
  private var restorations: [String] = []
  private var isDamaged = false

  /// - Parameters:
  ///   - key: what is asked for; `nil`: everything.
  ///   - from: the first event that is asked for.
  ///   - to: the last one.
  init(of key: Bytes?, from: Events.Bound?, to: Events.Bound?) {
    (self.key, self.from, self.to) = (key, from, to)
  }

  /// The history begins, or goes on, with the state of a checkpoint.
  func restored(_ state: borrowing CacheState) {
    let (sequence, at) = (state.head.sequence, state.head.at)
    defer { last = (sequence, at) }
    guard isAskedFor(through: sequence, at) else { return }
    let known = key.map { ": \(state.knowledge(of: $0))" } ?? ""
    let text =
      if let missing = missing(through: sequence) {
        "\(missing); a checkpoint leads on from there (\(at.iso8601))\(known)"
      } else {
        "the history that is left begins behind event \(sequence) (\(at.iso8601))\(known)"
      }
    if pending.isEmpty { Output.diagnose("hindsight: \(text)") } else { restorations.append(text) }
  }

  /// The history goes on.
  func goOn(with record: Record) {
    let next = record.sequence
    if !pending.isEmpty {
      let place = lastEvent.map { "between \($0) and \(next)" } ?? "before \(next)"
      Output.diagnose("hindsight: events \(place) are missing: \(text(pending))")
      isDamaged = true
      pending = []
    }
    tellRestorations()
    if case .gap(let gap) = record.event { cut(gap, record.at) }
    (last, lastEvent) = ((next, record.at), next)
  }

  /// A gap that no checkpoint bridges: what it stands in for was cut out.
  private func cut(_ gap: Gap, _ at: Timestamp) {
    guard let last, last.sequence < gap.last, isAskedFor(through: gap.last, at),
      let missing = missing(through: gap.last)
    else { return }
    Output.diagnose("hindsight: \(missing); what event \(last.sequence) left goes on behind that")
  }

  /// Whether what is asked for isn't all behind this event, or before what is missing.
  private func isAskedFor(through sequence: SequenceNumber, _ at: Timestamp) -> Bool {
    if let from, from.isAfter(sequence, at) { return false }
    if let last, let to, to.endsWith(last.sequence, last.at) { return false }
    return true
  }

  /// - Returns: which events there aren't; `nil` where all up to this one are missing.
  private func missing(through sequence: SequenceNumber) -> String? {
    guard let first = last?.sequence.next else { return nil }
    if first >= sequence { return "event \(sequence) is not in the history" }
    return "events \(first) to \(sequence) are not in the history"
  }

  /// - Throws: `CheckFailure` where damage has taken something.
  func check() throws {
    tellRestorations()
    if !passedOver.isEmpty {
      Output.diagnose("hindsight: events may be missing: \(text(passedOver))")
      isDamaged = true
    }
    if !pending.isEmpty {
      throw CheckFailure(
        message: "hindsight: the history ends here: \(text(pending)). Run 'hindsight verify'.")
    }
    if isDamaged {
      throw CheckFailure(
        message: "hindsight: the history has holes, see above. Run 'hindsight verify'.")
    }
  }

  private func tellRestorations() {
    for text in restorations { Output.diagnose("hindsight: \(text)") }
    restorations = []
  }

  private func text(_ problems: [Verification.Problem]) -> String {
    problems.map { Output.printable($0.text) }.joined(separator: "; ")
  }
}

extension CacheState {
  /// What it knows of a key.
  fileprivate borrowing func knowledge(of key: Bytes) -> String {
    let name = Output.printable(key)
    guard let slot = find(key) else { return "\(name) was not there" }
    let entry = image(of: slot)
    var text = "\(name) was there, set as event \(entry.origin) at \(entry.setAt.iso8601)"
    if let expiry = entry.memoryExpiry { text += ", in memory until \(expiry.iso8601)" }
    if let expiry = entry.storeExpiry { text += ", in the store until \(expiry.iso8601)" }
    return text
  }
}
