import Foundation
import Hindsight

/// A worker, seen from its parent.
struct DemoChild {
  /// What it had said when it ended.
  struct Outcome: Codable {
    var opened = RecoverySummary()
    var progress = DemoMessage.Progress(done: 0)
    var statistics: CacheStatistics?
  }

  private let process = Process()
  private let pipe = Pipe()
  private let from: Int

  init(lookups: String, directory: String, from: Int) {
    self.from = from
    process.executableURL = URL(fileURLWithPath: CommandLine.executablePath)
    process.arguments = [
      "demo-worker", "--lookups", lookups, "--cache", directory, "--from", "\(from)",
    ]
    process.standardOutput = pipe
  }

  /// Runs it to its end, or sends SIGKILL once it has done so many lookups.
  /// - Throws: `CheckFailure` where it ended in another way than that.
  func run(killingAt limit: Int?, progress: (Int) -> Void) throws -> Outcome {
    try Cleanup.start(process)
    var outcome = Outcome()
    outcome.progress.done = from
    var pending = Data()
    var isKilled = false
    while true {
      let data = pipe.fileHandleForReading.availableData
      if data.isEmpty { break }
      pending.append(data)
      while let newline = pending.firstIndex(of: UInt8(ascii: "\n")) {
        let message = try JSONDecoder().decode(DemoMessage.self, from: pending[..<newline])
        pending = Data(pending[pending.index(after: newline)...])
        if let opened = message.opened { outcome.opened = opened }
        if let told = message.progress { outcome.progress = told }
        if let statistics = message.statistics { outcome.statistics = statistics }
      }
      progress(outcome.progress.done)
      if let limit, !isKilled, outcome.progress.done >= limit {
        kill(process.processIdentifier, SIGKILL)
        isKilled = true
      }
    }
    Cleanup.wait(for: process)
    try check(isKilled: isKilled)
    return outcome
  }

  private func check(isKilled: Bool) throws {
    let status = process.terminationStatus
    let isSignaled = process.terminationReason == .uncaughtSignal
    guard isKilled ? !(isSignaled && status == SIGKILL) : isSignaled || status != 0 else { return }
    guard isSignaled || status == 0 else {
      // It has said why on standard error, which is ours, too.
      throw CheckFailure(message: "", exitCode: status)
    }
    let end = isSignaled ? "by signal \(status)" : "before it was killed"
    throw CheckFailure(message: "demo: the child process ended \(end)")
  }
}
