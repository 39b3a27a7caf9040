import ArgumentParser
import Foundation
import Hindsight
import HindsightCore

/// Fills a cache and kills itself, so that its parent measures a recovery, and memory that nobody
/// else has used before.
struct ScalingChild: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench-filler", abstract: "The child process of bench.", shouldDisplay: false)

  @Option(name: .customLong("cache")) var directory: String
  @Option var entries: Int
  @Option var events: Int
  @Option var memory: Int

  struct Outcome: Codable {
    var setsPerSecond: Double
  }

  func run() async throws {
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: UInt64(memory))
    configuration.storeLimit = TierLimit(entryCountMax: UInt64(max(entries, memory)))
    let cache = try await TextCache.open(
      at: directory, coder: .jsonText, configuration: configuration)
    let input = BenchInput(valueByteCount: 100)
    var seconds = 0.0
    // In parts, so that ten million keys don't have to be there at once.
    let part = min(entries, 100_000)
    for start in stride(from: 0, to: events, by: part) {
      let keys = try input.keys(start % entries..<start % entries + part)
      let began = BenchTools.clock.now
      for (at, key) in keys.enumerated() {
        try await cache.set(input.value(start + at), for: key, acknowledgement: .enqueued)
      }
      seconds += (BenchTools.clock.now - began).seconds
    }
    try await cache.settle()
    try Output.line(Output.json(Outcome(setsPerSecond: Double(events) / seconds)))
    kill(getpid(), SIGKILL)
  }

  /// Runs it.
  /// - Parameter events: sets in all, one entry after the other, again and again.
  static func fill(
    _ directory: String, entries: Int, events: Int, memory: Int
  ) throws -> Outcome {
    let child = Process()
    let pipe = Pipe()
    child.executableURL = URL(fileURLWithPath: CommandLine.executablePath)
    child.arguments = [
      "bench-filler", "--cache", directory, "--entries", "\(entries)", "--events", "\(events)",
      "--memory", "\(memory)",
    ]
    child.standardOutput = pipe
    try Cleanup.start(child)
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    Cleanup.wait(for: child)
    guard child.terminationReason == .uncaughtSignal, child.terminationStatus == SIGKILL else {
      throw CheckFailure(message: "bench: the filler ended with \(child.terminationStatus)")
    }
    return try JSONDecoder().decode(Outcome.self, from: output)
  }
}
