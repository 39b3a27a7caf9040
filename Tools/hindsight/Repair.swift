import ArgumentParser
import Hindsight
import HindsightReplay
import HindsightStore

struct Repair: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Open a damaged cache, keeping what is whole and putting the damage aside.",
    discussion: """
      Keeps everything from the newest whole checkpoint up to the first damage, keeps the \
      damaged bytes as *.quarantine (a damaged store as store.sqlite.quarantine-N), records the \
      gap in the journal, and compares every row of the store with it. History before that \
      checkpoint, and older checkpoints, stay as they are: what is damaged there is named, and \
      takes nothing from the cache. Run 'hindsight verify' first to see what is damaged.

      Example: hindsight repair /tmp/cache
      """)

  @OptionGroup var options: DirectoryOptions

  func run() async throws {
    var configuration = try options.configuration()
    configuration.corruption = .salvage
    configuration.comparesRows = true
    let recovery = try await withTextCache(.directory(options.directory), configuration) {
      $0.recovery
    }
    if options.output.json {
      try Output.line(Output.json(recovery))
    } else {
      try show(recovery)
    }
    if recovery.journal != .none { try showRest() }
  }

  private func show(_ recovery: RecoverySummary) throws {
    try Output.line(
      """
      journal \(recovery.journal.rawValue): event \(recovery.lastSequence) is the last one kept, \
      \(recovery.droppedBytes) bytes put aside
      store \(recovery.store.rawValue): \(recovery.deletedRows) rows deleted, \
      \(recovery.insertedRows) inserted, \(recovery.lostValues) values lost
      """)
    for name in recovery.quarantined { try Output.line("kept aside: \(Output.printable(name))") }
    for damage in recovery.damage { try Output.line("damage: \(Output.printable(damage))") }
  }

  /// Says on standard error what a repair can't mend: history before the checkpoint that the cache
  /// opens from.
  private func showRest() throws {
    let progress = Progress("verifying, events:")
    let left = try verification(of: options.directory, limits: .none) { progress.update($0) }
    progress.end()
    if let failure = left.failure { throw CacheError(.system, failure.message) }
    if left.isSound { return }
    for problem in left.problems {
      Output.diagnose("not mended: \(Output.printable(problem.text))")
    }
    if left.problems.contains(where: { $0.file == StoreBounds.fileName }) {
      throw CheckFailure(message: "hindsight: the store still differs from the journal.")
    }
    let history = left.damagedThrough.map { "the history up to event \($0) stays damaged; " } ?? ""
    Output.diagnose(
      history + "the cache itself is whole. 'hindsight verify' goes on naming what is not mended.")
  }
}
