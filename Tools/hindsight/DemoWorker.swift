import ArgumentParser
import Foundation
import Hindsight
import HindsightTesting

/// The demo's child process: it works through recorded lookups until it is done or killed, and
/// says on standard output, in JSON lines, how far it has come and what was acknowledged.
struct DemoWorker: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo-worker", abstract: "The child process of demo.", shouldDisplay: false)

  /// Lookups are made in batches: a resolver asks for all the dependencies of a project.
  private static let batchCount = 32

  @Option var lookups: String
  @Option(name: .customLong("cache")) var directory: String
  @Option(help: "Lookups to pass over.") var from = 0

  func run() async throws {
    let stream = try RecordedLookups(path: lookups)
    let clock = ManualClock()
    if from > 0 { clock.advance(by: .milliseconds(stream.lookups[from - 1].milliseconds)) }
    var configuration = CacheConfiguration()
    configuration.clock = clock
    // Acknowledged per batch, below.
    configuration.acknowledgement = .enqueued
    try await withCache(at: directory, coder: .jsonText, configuration: configuration) { cache in
      try say(DemoMessage(opened: cache.recovery))
      let tolerance = tolerance(stream)
      var progress = DemoMessage.Progress(done: from)
      for start in stride(from: from, to: stream.lookups.count, by: Self.batchCount) {
        let batch = stream.lookups[start..<min(start + Self.batchCount, stream.lookups.count)]
        for lookup in batch {
          try await perform(lookup, stream, cache, clock, tolerance: tolerance, &progress)
        }
        progress.acknowledged = try await cache.flush(to: .written).rawValue
        progress.done += batch.count
        try say(DemoMessage(progress: progress))
      }
      try await cache.settle()
      try say(DemoMessage(statistics: cache.statistics))
    }
  }

  /// How far the cache's time may be ahead of the stream's, in milliseconds: a process that was
  /// killed may have come one batch further than it could say, and time doesn't go back.
  private func tolerance(_ stream: RecordedLookups) -> Int64 {
    let batch = stream.lookups[from..<min(from + Self.batchCount, stream.lookups.count)]
    guard from > 0, let last = batch.last else { return 1 }
    return 1 + last.milliseconds - stream.lookups[from - 1].milliseconds
  }

  /// What every user of a cache does: ask it, else ask the registry and keep the answer.
  private func perform(
    _ lookup: RecordedLookups.Lookup, _ stream: RecordedLookups, _ cache: TextCache,
    _ clock: ManualClock, tolerance: Int64, _ progress: inout DemoMessage.Progress
  ) async throws {
    let now = lookup.milliseconds
    clock.advance(to: .milliseconds(now))
    switch try await cache.lookup(lookup.key) {
    case .hit(let hit):
      if hit.tier == .memory { progress.hits.memory += 1 } else { progress.hits.store += 1 }
      let age = hit.age.components
      let ageMilliseconds = age.seconds * 1_000 + age.attoseconds / 1_000_000_000_000_000
      guard hit.age < .seconds(86_400),
        stream.isKnown(hit.value, for: lookup, age: ageMilliseconds, tolerance: tolerance)
      else {
        throw CheckFailure(message: "\(lookup.key) at \(now) ms: a stale or a wrong answer")
      }
    case .miss:
      progress.misses += 1
      try await cache.set(
        stream.answer(to: lookup), for: lookup.key, reason: "not in the cache")
    }
  }

  private func say(_ message: DemoMessage) throws { try Output.line(Output.json(message)) }
}

/// What the worker tells its parent: one of these a line.
struct DemoMessage: Codable {
  struct Progress: Codable {
    /// Lookups made since the stream's beginning, and the last event acknowledged as written.
    var done: Int
    var acknowledged: UInt64 = 0
    /// Since this process began.
    var hits = TierCounts(memory: 0, store: 0)
    var misses = 0
  }

  var opened: RecoverySummary?
  var progress: Progress?
  var statistics: CacheStatistics?
}
