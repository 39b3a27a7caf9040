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
      let (made, grown) = try kill(after: setsPath, sets.count, in: directory)
      tools.sink.emit("rss_after_200k", Double(grown) / 1_048_576, "MiB")
      try await tools.withDirectory("recover-copy") { copy in
        try FileManager.default.copyItem(atPath: directory, toPath: copy)
        try await reopen(directory, "recover_200k", sets, made, expecting: .unclean)
        try await reopen(directory, "reopen", sets, made, expecting: .clean)
        // The same journal without its checkpoints: every event is replayed.
        for name in try FileManager.default.contentsOfDirectory(atPath: copy)
        where name.hasSuffix(".checkpoint") {
          try FileManager.default.removeItem(atPath: "\(copy)/\(name)")
        }
        let (seconds, events) = try await reopen(
          copy, "recover_200k_replay", sets, made, expecting: .unclean)
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
      let (made, _) = try kill(after: fillPath, fill.count, in: directory)
      try await reopen(directory, "reopen_100k_killed", fill, made, expecting: .unclean)
      try await reopen(directory, "reopen_100k_clean", fill, made, expecting: .clean)
    }
  }

  /// Opens a cache and asks it for a value; then, outside the timed part, reads everything back.
  /// - Returns: how long that took, and how many events of the journal were replayed.
  @discardableResult
  private func reopen(
    _ directory: String, _ metric: String, _ operations: [BenchOperation],
    _ made: BenchSetPeriod, expecting journal: RecoverySummary.Journal
  ) async throws -> (seconds: Double, events: Int) {
    let configuration = tools.configuration
    let began = BenchTools.clock.now
    let cache = try await TextCache.open(
      at: directory, coder: .jsonText, configuration: configuration)
    // The oldest: outside memory, where there are more keys than it has room for.
    _ = try await cache.get(operations[0].key)
    let seconds = (BenchTools.clock.now - began).seconds
    guard cache.recovery.journal == journal else {
      throw CheckFailure(
        message: "bench: reopened as \(cache.recovery.journal), not as \(journal)")
    }
    tools.sink.emit(metric, seconds * 1e3, "ms")
    let recovery = cache.recovery
    try await checking.readBack(cache, operations, count: operations.count, made: made)
    try await cache.close()
    try checking.journal(in: directory)
    return (seconds, recovery.replayedEvents)
  }

  /// Has a child process make the first sets of a stream and kill itself, without closing anything.
  /// - Returns: when it made them, and by how many bytes its resident memory had grown at the end.
  private func kill(
    after stream: String, _ count: Int, in directory: String
  ) throws -> (made: BenchSetPeriod, grown: Int) {
    let began = BenchTools.clock.now
    let child = Process()
    let output = Pipe()
    child.standardOutput = output
    child.executableURL = URL(fileURLWithPath: CommandLine.executablePath)
    child.arguments = [
      "bench-writer", "--input", stream, "--count", "\(count)", "--cache", directory,
      "--store-entries", "\(tools.configuration.storeLimit.entryCountMax)",
    ]
    try Cleanup.start(child)
    let said = output.fileHandleForReading.readDataToEndOfFile()
    Cleanup.wait(for: child)
    guard child.terminationReason == .uncaughtSignal, child.terminationStatus == SIGKILL else {
      throw CheckFailure(message: "bench: the writer ended with \(child.terminationStatus)")
    }
    let text = String(decoding: said, as: UTF8.self).trimmingCharacters(in: .newlines)
    guard let grown = Int(text) else {
      throw CheckFailure(message: "bench: the writer said '\(text)' instead of its memory")
    }
    return (BenchSetPeriod(began: began, ended: BenchTools.clock.now), grown)
  }
}

/// The child of `bench` whose crash is recovered from.
struct BenchWriter: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench-writer", abstract: "The child process of bench.", shouldDisplay: false)

  @Option var input: String
  @Option var count: Int
  @Option var storeEntries: UInt64
  @Option(name: .customLong("cache")) var directory: String

  func run() async throws {
    let operations = try BenchStreams.load(input, .set, countMax: count)
    let before = try BenchTools.residentByteCount()
    var configuration = CacheConfiguration()
    configuration.storeLimit.entryCountMax = storeEntries
    let cache = try await TextCache.open(
      at: directory, coder: .jsonText, configuration: configuration)
    for operation in operations { try await cache.set(operation, .enqueued) }
    try await cache.flush(to: .written)
    try Output.line("\(try BenchTools.residentByteCount() - before)")
    kill(getpid(), SIGKILL)
  }
}
