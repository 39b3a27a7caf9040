import ArgumentParser
import Foundation
import Hindsight
import HindsightReplay
import HindsightTesting

struct Demo: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "The main job on real input: lookups, a kill -9 in the middle, recovery, verification.",
    discussion: """
      Feeds a recorded stream of registry lookups through a cache in a child process, kills that \
      child with SIGKILL in the middle, recovers, continues, closes, verifies the whole journal, \
      and prints what happened. The stream's clock is virtual: 36 hours pass in seconds.

      Example: hindsight demo --cache /tmp/demo-cache, then: hindsight events /tmp/demo-cache
      """)

  @Option(help: "The recorded lookups; those of the checkout by default.", completion: .file())
  var lookups: String?

  @Option(
    name: .customLong("cache"),
    help: "An empty or new directory to leave the cache in; else it is removed if all went well.",
    completion: .directory)
  var directory: String?

  @OptionGroup var output: OutputOptions

  func run() async throws {
    let path = try lookups ?? Self.findLookups()
    let stream = try read(path)
    try await withCacheDirectory { directory in
      let report = try run(stream, path: path, directory: directory)
      if output.json {
        try Output.line(Output.json(report))
      } else {
        try Output.line(report.text)
        if self.directory != nil { try Output.line("the cache is in \(directory)") }
      }
      guard report.isSound else { throw CheckFailure(message: "demo: a check failed, see above") }
    }
  }

  private func read(_ path: String) throws(ValidationError) -> RecordedLookups {
    let stream: RecordedLookups
    do throws(CacheError) {
      stream = try RecordedLookups(path: path)
    } catch {
      throw ValidationError(error.message)
    }
    guard !stream.lookups.isEmpty else { throw ValidationError("\(path) has no lookups") }
    return stream
  }

  private func run(
    _ stream: RecordedLookups, path: String, directory: String
  ) throws -> DemoReport {
    let total = stream.lookups.count
    let progress = Progress("lookups", total: total)
    let first = try DemoChild(lookups: path, directory: directory, from: 0)
      .run(killingAt: total / 2) { progress.update($0) }
    let second = try DemoChild(lookups: path, directory: directory, from: first.progress.done)
      .run(killingAt: nil) { progress.update($0) }
    progress.end()
    let checking = Progress("verifying, events:")
    let verification = try verification(of: directory) { checking.update($0) }
    checking.end()
    return DemoReport(
      names: stream.answers.count, lookups: total,
      hours: Double(stream.lookups.last?.milliseconds ?? 0) / 3_600_000, killed: first,
      finished: second, verification: verification)
  }

  private func withCacheDirectory(_ body: (String) async throws -> Void) async throws {
    if let directory {
      if FileManager.default.fileExists(atPath: directory) {
        guard try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty else {
          throw ValidationError("\(directory) is not empty; name a new directory")
        }
      }
      return try await body(directory)
    }
    let temporary = FileManager.default.temporaryDirectory
      .appendingPathComponent("hindsight-demo-\(UUID().uuidString)").path
    do {
      try await body(temporary)
    } catch {
      if FileManager.default.fileExists(atPath: temporary) {
        Output.diagnose("the cache is kept in \(temporary)")
      }
      throw error
    }
    removeTemporary(temporary)
  }

  private func removeTemporary(_ path: String) {
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      Output.diagnose("\(path) can't be removed: \(error)")
    }
  }

  /// The checkout's lookups, from its top directory or from a build inside it.
  private static func findLookups() throws -> String {
    let inside = "Fixtures/lookups/lookups.tsv.gz"
    var directory = URL(fileURLWithPath: CommandLine.executablePath).deletingLastPathComponent()
    var candidates = [inside]
    while directory.path != "/" {
      candidates.append(directory.appendingPathComponent(inside).path)
      directory.deleteLastPathComponent()
    }
    for candidate in candidates where FileManager.default.fileExists(atPath: candidate) {
      return candidate
    }
    throw ValidationError("\(inside) is not here; name a stream with --lookups")
  }
}

extension CommandLine {
  /// This program's file (proc(5)).
  static var executablePath: String {
    do {
      return try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    } catch {
      return arguments[0]
    }
  }
}

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
    try process.run()
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
    process.waitUntilExit()
    try check(isKilled: isKilled)
    return outcome
  }

  private func check(isKilled: Bool) throws {
    let wasKilled =
      process.terminationReason == .uncaughtSignal && process.terminationStatus == SIGKILL
    guard isKilled ? wasKilled : process.terminationStatus == 0 && !wasKilled else {
      throw CheckFailure(message: "demo: the child process ended with \(process.terminationStatus)")
    }
  }
}
