import ArgumentParser
import Foundation
import Hindsight
import HindsightJournal
import HindsightTesting
import Logging

/// The command line. Exit codes: 0 fine; 1 a check failed, a write was refused, or standard input or output
/// failed; 2 wrong usage, or an input file can't be read; 3 the cache can't be opened or read.
@main
struct HindsightCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hindsight",
    abstract: "An event-sourced two-tier cache that keeps its whole history.",
    discussion: """
      A cache lives in a directory: a compressed journal of everything that happened, and a \
      SQLite store. One process at a time has it open; get, count and stats open it, too. Beside \
      that process any number may run events and verify, and read store.sqlite with sqlite3.

        hindsight set /tmp/cache pypi:flask '{"name":"flask"}'
        hindsight get /tmp/cache pypi:flask
        hindsight events /tmp/cache
        hindsight verify /tmp/cache

      Exit codes: 0 fine; 1 a check failed, a write was refused, or standard input or output \
      failed; 2 wrong usage, or an input file can't be read; 3 the cache can't be opened or read.
      """,
    version: "hindsight \(hindsightVersion), journal format \(journalFormatVersion)",
    subcommands: [
      Get.self, SetCommand.self, Invalidate.self, Clear.self, Count.self, Stats.self, Exec.self,
      Run.self,
      Events.self, Verify.self, Repair.self, Demo.self, DemoWorker.self, Bench.self,
      BenchWriter.self, ScalingChild.self,
    ])

  static func main() async {
    Output.occupyClosedDescriptors()
    // Replies go to standard output; what opening found is part of them. Troubles go to the other.
    LoggingSystem.bootstrap { label in
      TerminalLog(label: label)
    }
    // A file at its limit (ulimit -f) is an error of the write, which we handle; not our end.
    signal(SIGXFSZ, SIG_IGN)
    do {
      try checkArguments()
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch {
      Foundation.exit(report(error))
    }
  }

  /// Swift changes what is not UTF-8 in its arguments: one key would answer for another.
  private static func checkArguments() throws {
    for at in 1..<max(1, Int(CommandLine.argc)) {
      guard let argument = CommandLine.unsafeArgv[at] else { break }
      guard String(validatingCString: argument) != nil else {
        throw ValidationError("argument \(at) is not UTF-8: \(String(cString: argument))")
      }
    }
  }

  /// Says what went wrong on standard error.
  /// - Returns: the exit code.
  static func report(_ error: any Error) -> Int32 {
    switch error {
    case let failure as CheckFailure:
      if !failure.message.isEmpty { Output.diagnose(failure.message) }
      return failure.exitCode
    case let error as ValidationError:
      // Found while it ran: what the parser finds is told with the usage of its command.
      Output.diagnose("hindsight: \(error.message)")
      return 2
    case let error as ScenarioError:
      Output.diagnose("\(error)")
      return 2
    case let failure as StreamFailure:
      Output.diagnose("hindsight: \(failure)")
      return 1
    case let failure as OpeningFailure:
      Output.diagnose("hindsight: \(failure.error)")
      return failure.exitCode
    case let error as CacheError:
      Output.diagnose("hindsight: \(error)")
      return error.exitCode
    default:
      let code = exitCode(for: error)
      if code == .success { return show(fullMessage(for: error)) }
      Output.diagnose(fullMessage(for: error))
      return code == .validationFailure ? 2 : 1
    }
  }
}

extension HindsightCommand {
  /// Says on standard output what was asked for: help, the version.
  private static func show(_ text: String) -> Int32 {
    do throws(StreamFailure) {
      try Output.line(text)
      return 0
    } catch {
      return report(error)
    }
  }
}

/// A check failed.
struct CheckFailure: Error {
  var message: String
  var exitCode: Int32 = 1
}

/// The cache can't be opened: exit code 3, unless the caller asked for what can't be.
struct OpeningFailure: Error {
  var error: CacheError
  var exitCode: Int32 { max(error.exitCode, error.code == .invalidConfiguration ? 2 : 3) }
}

extension CacheError {
  /// 2 for what the caller got wrong, 3 where the cache can't be opened or read, else 1.
  var exitCode: Int32 {
    switch code {
    case .invalidKey, .invalidValue, .invalidTTL, .invalidReason, .invalidConfiguration: 2
    case .locked, .journalCorrupt, .system, .storeUnavailable: 3
    case .closed, .outOfSpace, .journalUnavailable, .outcomeUnknown, .backpressure, .cancelled: 1
    }
  }
}
