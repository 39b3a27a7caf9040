import Foundation
import Synchronization

/// A figure, as the peers print them.
struct BenchRow: Codable, Sendable {
  var peer: String
  var metric: String
  var value: Double
  var unit: String

  /// `peer<TAB>metric<TAB>value<TAB>unit`, six significant digits.
  var line: String { "\(peer)\t\(metric)\t\(String(format: "%.6g", value))\t\(unit)" }
}

/// What was compared outside the timed parts.
struct BenchChecks: Codable, Sendable {
  /// Values read back and compared byte by byte, with the expiry that their TTL gives.
  var valuesCompared = 0
  /// Keys with a short TTL that were there before it and absent after it.
  var expiriesSeen = 0
  /// Journals verified, and the events in them.
  var journalsVerified = 0
  var eventsVerified = 0
}

/// Takes the figures and prints them as they come, or all at the end.
final class BenchSink: Sendable {
  /// How figures are printed.
  enum Form: Sendable {
    case peerRows
    case json
    case text
  }

  private struct State {
    var rows: [BenchRow] = []
    var checks = BenchChecks()
    /// Why a row could not be printed.
    var failure: StreamFailure?
  }

  private struct Report: Encodable {
    var rows: [BenchRow]
    var checks: BenchChecks
    /// Why it ended early.
    var error: String?
  }

  private let form: Form
  private let state = Mutex(State())

  init(_ form: Form) { self.form = form }

  func emit(_ metric: String, _ value: Double, _ unit: String, peer: String = "hindsight") {
    guard value.isFinite else { return omit(metric, peer: peer, "it gave no number") }
    let row = BenchRow(peer: peer, metric: metric, value: value, unit: unit)
    state.withLock { $0.rows.append(row) }
    guard form != .json else { return }
    do throws(StreamFailure) {
      try Output.line(row.line)
    } catch {
      state.withLock { $0.failure = error }
    }
  }

  /// Says on standard error that a figure is not there, and why.
  func omit(_ metric: String, peer: String = "hindsight", _ why: String) {
    Output.diagnose("bench: \(metric) of \(peer) isn't measured: \(why)")
  }

  func count(_ change: (inout BenchChecks) -> Void) { state.withLock { change(&$0.checks) } }

  /// Prints what comes at the end.
  /// - Throws: `StreamFailure` where that, or a row before it, can't be printed.
  func finish() throws {
    let (rows, checks, failure) = state.withLock { ($0.rows, $0.checks, $0.failure) }
    if let failure { throw failure }
    switch form {
    case .json: try Output.line(Output.json(Report(rows: rows, checks: checks)))
    case .text: try Output.line("checked: \(try Output.json(checks))")
    // Standard output has nothing but rows: a table is made of them.
    case .peerRows: Output.diagnose("hindsight bench checked: \(try Output.json(checks))")
    }
  }

  /// Prints what there was before an error, where nothing has been printed yet.
  /// - Throws: `StreamFailure` where that can't be printed.
  func finish(after error: any Error) throws {
    guard form == .json else { return }
    let (rows, checks) = state.withLock { ($0.rows, $0.checks) }
    let text = (error as? CheckFailure)?.message ?? "\(error)"
    try Output.line(Output.json(Report(rows: rows, checks: checks, error: text)))
  }
}
