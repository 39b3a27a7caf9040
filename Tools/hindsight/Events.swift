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
      checkpoint lets it. Exit code 1 if anything is missing so, 3 if something can't be read.

      Where retention has dropped the beginning, or a gap stands in for events that were never written or were \
      cut out, that is no damage: standard error says where it is, and with --key, where a checkpoint leads \
      on, what the cache knew of the key there. Likewise events at the beginning that stand in the journal, but that no checkpoint leads \
      to. --json changes nothing of what standard error says.

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

  @Option(help: "Only events about this key, and what says that history is missing.")
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
    let wanted = try key.map { Array(try CacheKey($0).rawValue.utf8)[...] }
    let storage = try readOnlyStorage(directory)
    let isJSON = output.json
    let (from, to) = (from, to)
    let whole = Completeness(of: wanted, from: from, to: to)
    do {
      let limits = noLimits ? ReplayLimits.none : ReplayLimits()
      whole.passedOver = try EventStream(storage, limits: limits).replay(
        hole: { whole.pending.append($0) },
        unreached: { events in
          Output.diagnose(
            "hindsight: events \(events.lowerBound) to \(events.upperBound) are in the journal, but no "
              + "checkpoint leads to them, so they are not shown")
        },
        restored: { whole.restored($0) },
        { (event) throws(StreamFailure) in
          whole.goOn(with: event.record)
          guard from.map({ !$0.isAfter(event.record) }) ?? true,
            to.map({ !$0.isBefore(event.record) }) ?? true,
            event.isAbout(wanted)
          else { return }
          try Output.line(isJSON ? event.json : event.text)
        })
    } catch let error as DamageError {
      if let failure = error.storageFailure { throw CacheError(storage: failure) }
      whole.pending.append(Verification.Problem(error))
    }
    try whole.check()
  }
}

extension Events.Bound {
  func isAfter(_ record: Record) -> Bool { isAfter(record.sequence, record.at) }

  func isAfter(_ last: SequenceNumber, _ at: Timestamp) -> Bool {
    switch self {
    case .sequence(let sequence): last.rawValue < sequence
    case .time(let time): at < time
    }
  }

  func isBefore(_ record: Record) -> Bool {
    switch self {
    case .sequence(let sequence): record.sequence.rawValue > sequence
    case .time(let time): record.at > time
    }
  }

  /// Whether nothing behind this event, which happened at this time, is asked for.
  func endsWith(_ last: SequenceNumber, _ at: Timestamp) -> Bool {
    switch self {
    case .sequence(let sequence): sequence <= last.rawValue
    case .time(let time): time < at
    }
  }
}
