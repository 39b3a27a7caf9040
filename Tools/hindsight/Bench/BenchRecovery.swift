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
      try kill(after: setsPath, in: directory, storeEntries: 100_000)
      let copy = directory + "-copy"
      try tools.removeIfThere(copy)
      try FileManager.default.copyItem(atPath: directory, toPath: copy)
      try await reopen(directory, "recover_200k", sets, expecting: .unclean)
      // The same journal without its checkpoints: every event is replayed.
      for name in try FileManager.default.contentsOfDirectory(atPath: copy)
      where name.hasSuffix(".checkpoint") {
        try FileManager.default.removeItem(atPath: "\(copy)/\(name)")
      }
      let (seconds, events) = try await reopen(
        copy, "recover_200k_replay", sets, expecting: .unclean)
      tools.sink.emit("recover_200k_rate", Double(events) / seconds, "events/s")
      try tools.removeIfThere(copy)
    }
    let fillPath = URL(fileURLWithPath: setsPath).deletingLastPathComponent()
      .appendingPathComponent("fill.tsv").path
    guard tools.streams.fill.count >= 100_000 else { return }
    let fill = Array(tools.streams.fill.prefix(100_000))
    try await tools.withDirectory("recover-100k") { directory in
      try kill(after: fillPath, in: directory, storeEntries: 100_000)
      try await reopen(directory, "reopen_100k_killed", fill, expecting: .unclean)
      try await reopen(directory, "reopen_100k_clean", fill, expecting: .clean)
    }
  }

  /// Opens a cache and asks it for a value; then, outside the timed part, reads everything back.
  /// - Returns: how long that took, and how many events were replayed.
  @discardableResult
  private func reopen(
    _ directory: String, _ metric: String, _ operations: [BenchOperation],
    expecting journal: RecoverySummary.Journal
  ) async throws -> (seconds: Double, events: Int) {
    let began = BenchTools.clock.now
    let cache = try await TextCache.open(at: directory, coder: .jsonText)
    let opened = (BenchTools.clock.now - began).seconds
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
    return (opened, recovery.replayedEvents)
  }

  /// Has a child process make all sets of a stream and kill itself, without closing anything.
  private func kill(after stream: String, in directory: String, storeEntries: Int) throws {
    let child = Process()
    child.executableURL = URL(fileURLWithPath: CommandLine.executablePath)
    child.arguments = ["bench-writer", "--input", stream, "--cache", directory]
    try child.run()
    child.waitUntilExit()
    guard child.terminationReason == .uncaughtSignal, child.terminationStatus == SIGKILL else {
      throw CheckFailure(message: "bench: the writer ended with \(child.terminationStatus)")
    }
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
    let cache = try await TextCache.open(at: directory, coder: .jsonText)
    for operation in operations { try await cache.set(operation, .enqueued) }
    try await cache.flush(to: .written)
    kill(getpid(), SIGKILL)
  }
}
