import ArgumentParser
import Foundation
import HindsightTesting

struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run scenario files, and check the results that they state.",
    discussion: """
      A scenario runs on a virtual clock and simulated storage: it gives the same sequences and \
      digests every time. A file that fails, or can't be run, doesn't keep the others from it; the \
      exit code is the highest of theirs.

      Example: hindsight run Fixtures/scenarios/*.scenario
      """)

  @Argument(help: "Scenario files.", completion: .file())
  var files: [String]

  @OptionGroup var output: OutputOptions

  private struct Line: Encodable {
    var file: String
    var passed: Bool
    var commands: Int
    var checks: Int
    var sequence: UInt64
    var digest: String
    var line: Int?
    var expected: String?
    var actual: String?
  }

  func run() async throws {
    var code: Int32 = 0
    let progress = Progress("running", total: files.count)
    for (index, file) in files.enumerated() {
      do {
        let scenario = try Scenario(parsing: try contents(of: file), file: file)
        let outcome = try await ScenarioRunner().run(scenario, file: file)
        progress.update(index)
        try show(file, outcome)
        if outcome.mismatch != nil { code = max(code, 1) }
      } catch let error where error is ScenarioError || error is ValidationError {
        code = max(code, HindsightCommand.report(error))
      }
    }
    progress.end()
    if code != 0 { throw CheckFailure(message: "", exitCode: code) }
  }

  private func show(_ file: String, _ outcome: ScenarioOutcome) throws {
    if output.json {
      let mismatch = outcome.mismatch
      try Output.line(
        Output.json(
          Line(
            file: file, passed: mismatch == nil, commands: outcome.commandCount,
            checks: outcome.checkCount, sequence: outcome.sequence, digest: outcome.digest,
            line: mismatch?.line, expected: mismatch?.expected, actual: mismatch?.actual)))
    } else if let mismatch = outcome.mismatch {
      try Output.line(Output.printable("\(mismatch)"))
    } else {
      try Output.line(
        "\(file): ok, \(outcome.commandCount) commands, \(outcome.checkCount) checks, "
          + "event \(outcome.sequence), digest \(outcome.digest)")
    }
  }
}
