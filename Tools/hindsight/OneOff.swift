import ArgumentParser
import Foundation
import Hindsight
import HindsightTesting

struct Get: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the value of a key.",
    discussion: """
      The value goes to standard output; which tier had it, since when and for how long, or why \
      there is none, to standard error. A miss is no failure: its exit code is 0, too, and with \
      --json its "hit" is false. A value that is no JSON, which a program's own coder wrote, comes as a \
      string. Why a value went before this command opened the cache is 'unknown' here: \
      'hindsight events DIR --key KEY' tells.

      Example: hindsight get /tmp/cache pypi:flask --json
      """)

  @OptionGroup var options: DirectoryOptions
  @OptionGroup var key: KeyArguments

  func run() async throws {
    let key = try key.parsed()
    let lookup = try await withTextCache(options.directory, try options.configuration()) {
      try await $0.lookup(key)
    }
    if options.output.json { return try Output.line(Reply(lookup).json) }
    switch lookup {
    case .hit(let hit):
      try Output.line(Reply.value(hit.value))
      Output.diagnose(
        "\(hit.tier) hit, set \(shown(hit.age.seconds)) s ago as event \(hit.origin), "
          + "expires in \(shown(hit.expiresIn.seconds)) s")
    case .miss(let reason): Output.diagnose("miss (\(reason.rawValue))")
    }
  }
}

struct SetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "set",
    abstract: "Set a key to a JSON value.",
    discussion: """
      Makes the cache where there is none, as exec does. The other commands want one that is there. \
      What the options for opening say holds for later openings, too, until others say otherwise.

      Example: hindsight set /tmp/cache pypi:flask '{"name":"flask"}' --memory-ttl 60
      """)

  @OptionGroup var options: DirectoryOptions
  @OptionGroup(title: CacheOptions.title) var cache: CacheOptions
  @OptionGroup var write: WriteOptions
  @OptionGroup var key: KeyArguments

  @Argument(help: "The value, as JSON; one that begins with '-', as -1, stands behind '--'.")
  var value: String

  @Option(parsing: .unconditional, help: "The TTL of this entry in both tiers, in seconds.")
  var ttl: Double?

  @Option(
    name: .customLong("memory-ttl"), parsing: .unconditional,
    help: "… in memory; by default no longer than --store-ttl.")
  var memoryTTL: Double?

  @Option(name: .customLong("store-ttl"), parsing: .unconditional, help: "… in the store.")
  var storeTTL: Double?

  @Option(help: "Why; kept in the history.")
  var reason: String?

  func run() async throws {
    let key = try key.parsed()
    let bytes = Array(value.utf8)
    do {
      _ = try JSONParser.parse(bytes[...])
    } catch {
      throw ValidationError("the value is no JSON: \(error)")
    }
    let memory = try (memoryTTL ?? ttl).map { try Duration.ttl(seconds: $0) }
    let store = try (storeTTL ?? ttl).map { try Duration.ttl(seconds: $0) }
    var configuration = try options.configuration(cache, forValueOf: bytes.count)
    configuration.acknowledgement = write.acknowledge
    let sequence = try await withTextCache(options.directory, configuration) { cache in
      try await cache.set(bytes, for: key, memoryTTL: memory, storeTTL: store, reason: reason)
    }
    try Output.line(
      options.output.json ? Reply.sequence(sequence).json : "set as event \(sequence)")
  }
}

struct Invalidate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Invalidate a key in both tiers.",
    discussion: "Example: hindsight invalidate /tmp/cache pypi:flask --reason typosquat")

  @OptionGroup var options: DirectoryOptions
  @OptionGroup var write: WriteOptions
  @OptionGroup var key: KeyArguments

  @Option(help: "Why; kept in the history.")
  var reason: String?

  func run() async throws {
    let key = try key.parsed()
    var configuration = try options.configuration()
    configuration.acknowledgement = write.acknowledge
    let wasThere = try await withTextCache(options.directory, configuration) { cache in
      try await cache.invalidate(key, reason: reason)
    }
    try Output.line(
      options.output.json
        ? Reply.removed(wasThere).json : wasThere ? "invalidated" : "nothing was there")
  }
}

struct Clear: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Remove everything, or everything whose key starts with a prefix.",
    discussion: "Example: hindsight clear /tmp/cache --prefix pypi:")

  @OptionGroup var options: DirectoryOptions
  @OptionGroup var write: WriteOptions

  @Option(help: "What the keys start with.")
  var prefix = ""

  @Option(help: "Why; kept in the history.")
  var reason: String?

  func run() async throws {
    var configuration = try options.configuration()
    configuration.acknowledgement = write.acknowledge
    let counts = try await withTextCache(options.directory, configuration) { cache in
      try await cache.clear(prefix: prefix, reason: reason)
    }
    try Output.line(
      options.output.json
        ? Reply.counts(counts).json
        : "removed \(counts.memory) from memory and \(counts.store) from the store")
  }
}

struct Count: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Count the entries of both tiers.",
    discussion: "Example: hindsight count /tmp/cache")

  @OptionGroup var options: DirectoryOptions

  func run() async throws {
    let counts = try await withTextCache(
      options.directory, try options.configuration()
    ) { $0.count }
    try Output.line(
      options.output.json
        ? Reply.counts(counts).json : "memory \(counts.memory), store \(counts.store)")
  }
}

struct Stats: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print statistics, and what opening found.",
    discussion: "Example: hindsight stats /tmp/cache --json")

  @OptionGroup var options: DirectoryOptions

  private struct Report: Encodable {
    var statistics: CacheStatistics
    var registries: [String: RegistryStatistics]
    var recovery: RecoverySummary
  }

  func run() async throws {
    let report = try await withTextCache(
      .directory(options.directory), try options.configuration()
    ) {
      Report(
        statistics: $0.statistics, registries: $0.registryStatistics(), recovery: $0.recovery)
    }
    let json = try Output.json(report)
    if options.output.json { return try Output.line(json) }
    let (statistics, recovery) = (report.statistics, report.recovery)
    try Output.line(
      """
      entries   memory \(statistics.entries.memory), store \(statistics.entries.store)
      bytes     memory \(statistics.bytes.memory), store \(statistics.bytes.store)
      journal   \(statistics.journalByteCount) bytes, last event \(statistics.lastSequence), \
      durable \(statistics.durableSequence)
      store     applied \(statistics.appliedSequence), lag \(statistics.projectionLag)
      opening   journal \(recovery.journal.rawValue), store \(recovery.store.rawValue), \
      \(recovery.replayedEvents) events replayed in \(shown(recovery.seconds)) s
      """)
    for (name, text) in recovery.losses {
      let column = name.padding(toLength: 10, withPad: " ", startingAt: 0)
      try Output.line(column + Output.printable(text))
    }
    for (name, registry) in report.registries.sorted(by: { $0.key < $1.key }) {
      try Output.line(
        "registry  \(name.isEmpty ? "(none)" : Output.printable(name)): "
          + "\(registry.entries) entries, \(registry.bytes) bytes")
    }
  }
}

extension Duration {
  /// In seconds, to the microsecond.
  var seconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds * 1_000_000 + attoseconds / 1_000_000_000_000) / 1_000_000
  }
}

/// Seconds for people: to the millisecond.
private func shown(_ seconds: Double) -> String { String(format: "%.3f", seconds) }
