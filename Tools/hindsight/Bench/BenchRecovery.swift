import ArgumentParser
import Foundation
import Hindsight
import HindsightCore

/// Opening a cache again: after a kill, after a clean close, and by replaying every event.
struct BenchRecovery {
  let tools: BenchTools
  private var checking: BenchChecking { BenchChecking(tools: tools) }

  func run(setsPath: String) async throws {
    let sets = tools.streams.sets
    try await tools.withDirectory("recover") { directory in
      let grown = try kill(after: setsPath, in: directory)
      tools.sink.emit("rss_after_200k", Double(grown) / 1_048_576, "MiB")
      try await tools.withDirectory("recover-copy") { copy in
        try FileManager.default.copyItem(atPath: directory, toPath: copy)
        try await reopen(directory, "recover_200k", sets, expecting: .unclean)
        try await reopen(directory, "reopen", sets, expecting: .clean)
        // The same journal without its checkpoints: every event is replayed.
        for name in try FileManager.default.contentsOfDirectory(atPath: copy)
        where name.hasSuffix(".checkpoint") {
          try FileManager.default.removeItem(atPath: "\(copy)/\(name)")
        }
        let (seconds, events) = try await reopen(
          copy, "recover_200k_replay", sets, expecting: .unclean)
        // As the peers count, an event is a set; the journal has evictions besides.
        tools.sink.emit("recover_200k_rate", Double(sets.count) / seconds, "events/s")
        tools.sink.emit("recover_200k_journal_rate", Double(events) / seconds, "journal events/s")
      }
    }
    let fillPath = URL(fileURLWithPath: setsPath).deletingLastPathComponent()
      .appendingPathComponent("fill.tsv").path
    guard tools.streams.fill.count >= 100_000 else { return }
    let fill = Array(tools.streams.fill.prefix(100_000))
    try await tools.withDirectory("recover-100k") { directory in
      _ = try kill(after: fillPath, in: directory)
      try await reopen(directory, "reopen_100k_killed", fill, expecting: .unclean)
      try await reopen(directory, "reopen_100k_clean", fill, expecting: .clean)
    }
  }

  /// Opens a cache and asks it for a value; then, outside the timed part, reads everything back.
  /// - Returns: how long that took, and how many events of the journal were replayed.
  @discardableResult
  private func reopen(
    _ directory: String, _ metric: String, _ operations: [BenchOperation],
    expecting journal: RecoverySummary.Journal
  ) async throws -> (seconds: Double, events: Int) {
    let began = BenchTools.clock.now
    let cache = try await TextCache.open(at: directory, coder: .jsonText)
    let first = try await cache.get(operations[0].key)
    let seconds = (BenchTools.clock.now - began).seconds
    guard first != nil, cache.recovery.journal == journal else {
      throw CheckFailure(
        message: "bench: reopened as \(cache.recovery.journal), or the first value is missing")
    }
    tools.sink.emit(metric, seconds * 1e3, "ms")
    let recovery = cache.recovery
    try await checking.readBack(cache, operations, count: operations.count)
    try await cache.close()
    try checking.journal(in: directory)
    return (seconds, recovery.replayedEvents)
  }

  /// Has a child process make all sets of a stream and kill itself, without closing anything.
  /// - Returns: by how many bytes its resident memory had grown at the end.
  private func kill(after stream: String, in directory: String) throws -> Int {
    let child = Process()
    let output = Pipe()
    child.standardOutput = output
    child.executableURL = URL(fileURLWithPath: CommandLine.executablePath)
    child.arguments = ["bench-writer", "--input", stream, "--cache", directory]
    try child.run()
    let said = output.fileHandleForReading.readDataToEndOfFile()
    child.waitUntilExit()
    guard child.terminationReason == .uncaughtSignal, child.terminationStatus == SIGKILL else {
      throw CheckFailure(message: "bench: the writer ended with \(child.terminationStatus)")
    }
    let text = String(decoding: said, as: UTF8.self).trimmingCharacters(in: .newlines)
    guard let grown = Int(text) else {
      throw CheckFailure(message: "bench: the writer said '\(text)' instead of its memory")
    }
    return grown
  }
}

/// The child of `bench` whose crash is recovered from.
struct BenchWriter: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench-writer", abstract: "The child process of bench.", shouldDisplay: false)

  @Option var input: String
  @Option(name: .customLong("cache")) var directory: String

  func run() async throws {
    let operations = try BenchStreams.load(input)
    let before = try BenchTools.residentByteCount()
    let cache = try await TextCache.open(at: directory, coder: .jsonText)
    for operation in operations { try await cache.set(operation, .enqueued) }
    try await cache.flush(to: .written)
    try Output.line("\(try BenchTools.residentByteCount() - before)")
    kill(getpid(), SIGKILL)
  }
}
