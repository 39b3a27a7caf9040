import ArgumentParser
import Hindsight
import HindsightReplay
import HindsightStore

struct Repair: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Open a damaged cache, keeping what is whole and putting the damage aside.",
    discussion: """
      Keeps everything from the newest whole checkpoint up to the first damage, keeps the \
      damaged bytes as *.quarantine, records the gap in the journal, and compares every row of the \
      store with it. A store whose file is damaged is put aside as store.sqlite.quarantine-N and \
      built again from the journal; values that the journal no longer has are lost then, and are \
      counted. Without a journal such a store stays as it is. History before that checkpoint, \
      and older checkpoints, stay as they are: what is damaged there is named, and takes nothing \
      from the cache. Only where a whole segment is missing, what comes before it is put aside, \
      too; 'hindsight events' reads that in a directory of its own, \
      as copies with their old names (00000001.journal), with the checkpoints beside them. Where the journal is gone, all rows of the store are deleted, since nothing says that they \
      hold: --no-journal keeps them, and goes on without a history. Run 'hindsight verify' first to \
      see what is damaged.

      Example: hindsight repair /tmp/cache
      """)

  @OptionGroup var options: DirectoryOptions
  @OptionGroup(title: CacheOptions.title) var cache: CacheOptions

  func run() async throws {
    var configuration = try options.configuration(cache)
    configuration.corruption = .salvage
    configuration.comparesRows = true
    // What the opening would refuse mustn't have changed anything.
    try configuration.check()
    let aside = try StoreCheck(directory: options.directory)
      .putAsideIfDamaged(usesJournal: configuration.usesJournal)
    let recovery = try await open(configuration, aside)
    if options.output.json {
      try Output.line(Output.json(recovery))
    } else {
      try show(recovery)
    }
    if recovery.journal != .none { try showRest() }
  }

  private func open(
    _ configuration: CacheConfiguration, _ aside: StoreCheck.Aside?
  ) async throws -> RecoverySummary {
    do {
      var recovery = try await withTextCache(.directory(options.directory), configuration) {
        $0.recovery
      }
      if let aside { recovery.note(aside) }
      return recovery
    } catch {
      if let name = aside?.name {
        Output.diagnose("hindsight: the store was damaged and is put aside as \(name)")
      }
      throw error
    }
  }

  private func show(_ recovery: RecoverySummary) throws {
    try Output.line(
      """
      journal \(recovery.journal.rawValue): event \(recovery.lastSequence) is the last one kept, \
      \(recovery.droppedBytes) bytes cut off, \(recovery.quarantined.count) files put aside
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

extension RecoverySummary {
  /// Adds what became of the store before the opening, which found none.
  fileprivate mutating func note(_ aside: StoreCheck.Aside) {
    damage = aside.damage + damage
    if let name = aside.name { quarantined.insert(name, at: 0) }
    if store != .none { store = .rebuilt }
  }
}
