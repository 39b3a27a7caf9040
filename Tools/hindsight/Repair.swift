import ArgumentParser
import Hindsight

struct Repair: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Open a damaged cache, keeping what is whole and putting the damage aside.",
    discussion: """
      Keeps everything from the newest whole checkpoint up to the first damage, keeps the \
      damaged bytes as *.quarantine, records the gap in the journal, and makes the store fit \
      again. Run 'hindsight verify' first to see what is damaged.

      Example: hindsight repair /tmp/cache
      """)

  @OptionGroup var options: DirectoryOptions

  func run() async throws {
    var configuration = try options.configuration()
    configuration.corruption = .salvage
    let recovery = try await withTextCache(.directory(options.directory), configuration) {
      $0.recovery
    }
    if options.output.json { return try Output.line(Output.json(recovery)) }
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
}
