import ArgumentParser
import Foundation
import Hindsight
import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightTesting

struct Events: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the history: one line an event.",
    discussion: """
      --from and --to take a sequence number, or a time as 2026-01-01T00:00:00Z; both are included.

      Where the history is damaged, standard error says so, and it goes on behind that as soon as a \
      checkpoint lets it. Exit code 1 if anything is missing, 3 if something can't be read. Events at its \
      beginning that stand in the journal, but that no checkpoint leads to, are no damage: standard \
      error says which they are.

      Examples:
        hindsight events /tmp/cache --key pypi:flask
        hindsight events /tmp/cache --from 2026-01-01T14:00:00Z --json
      """)

  @Argument(help: "The cache's directory.", completion: .directory)
  var directory: String

  @Option(
    parsing: .unconditional, help: "The first event, by sequence or time.", transform: Bound.init)
  var from: Bound?

  @Option(
    parsing: .unconditional, help: "The last event, by sequence or time.", transform: Bound.init)
  var to: Bound?

  @Option(help: "Only events about this key.")
  var key: String?

  @Flag(name: .long, help: "Take any amount of memory and time: for a journal that you trust.")
  var noLimits = false

  @OptionGroup var output: OutputOptions

  /// A place in the history.
  enum Bound {
    case sequence(UInt64)
    case time(Timestamp)

    @Sendable init(_ argument: String) throws {
      if let sequence = UInt64(argument) {
        self = .sequence(sequence)
      } else if let time = Timestamp(iso8601: argument) {
        self = .time(time)
      } else {
        throw ValidationError("it takes a sequence number, or a time as 2026-01-01T00:00:00Z")
      }
    }
  }

  func run() throws {
    let storage = try readOnlyStorage(directory)
    let wanted = key.map { Array($0.utf8)[...] }
    let isJSON = output.json
    let (from, to) = (from, to)
    let holes = Holes()
    do {
      let limits = noLimits ? ReplayLimits.none : ReplayLimits()
      holes.passedOver = try EventStream(storage, limits: limits).replay(
        hole: { holes.pending.append($0) },
        unreached: { events in
          Output.diagnose(
            "hindsight: events \(events.lowerBound) to \(events.upperBound) are in the journal, but no "
              + "checkpoint leads to them, so they are not shown")
        },
        { (event) throws(StreamFailure) in
          holes.goOn(with: event.record.sequence)
          guard from.map({ !$0.isAfter(event.record) }) ?? true,
            to.map({ !$0.isBefore(event.record) }) ?? true,
            event.isAbout(wanted)
          else { return }
          try Output.line(isJSON ? event.json : event.text)
        })
    } catch let error as DamageError {
      if let failure = error.storageFailure { throw CacheError(.system, "\(failure)") }
      holes.pending.append(Verification.Problem(error))
    }
    try holes.check()
  }
}

/// Names on standard error where the history has holes.
private final class Holes {
  /// What is wrong since the last event.
  var pending: [Verification.Problem] = []
  /// Checkpoints that were passed over.
  var passedOver: [Verification.Problem] = []
  private var last: SequenceNumber?
  private var isDamaged = false

  /// The history goes on.
  func goOn(with next: SequenceNumber) {
    defer { last = next }
    guard !pending.isEmpty else { return }
    let place = last.map { "between \($0) and \(next)" } ?? "before \(next)"
    Output.diagnose("hindsight: events \(place) are missing: \(text(pending))")
    isDamaged = true
    pending = []
  }

  /// - Throws: `CheckFailure` where anything is missing.
  func check() throws {
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

  private func text(_ problems: [Verification.Problem]) -> String {
    problems.map { Output.printable($0.text) }.joined(separator: "; ")
  }
}

extension Events.Bound {
  func isAfter(_ record: Record) -> Bool {
    switch self {
    case .sequence(let sequence): record.sequence.rawValue < sequence
    case .time(let time): record.at < time
    }
  }

  func isBefore(_ record: Record) -> Bool {
    switch self {
    case .sequence(let sequence): record.sequence.rawValue > sequence
    case .time(let time): record.at > time
    }
  }
}
