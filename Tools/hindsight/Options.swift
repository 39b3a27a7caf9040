public import ArgumentParser
import Foundation
public import Hindsight
import HindsightTesting

/// What every command takes.
struct OutputOptions: ParsableArguments {
  @Flag(name: .long, help: "Print JSON instead of text.")
  var json = false
}

/// How a cache is opened.
struct CacheOptions: ParsableArguments {
  @Option(help: "The most entries that memory holds.")
  var memoryEntries: UInt64 = 1_000

  @Option(help: "The memory tier's TTL in seconds.")
  var memoryTTL: Double = 3_600

  @Option(help: "The most entries that the store holds.")
  var storeEntries: UInt64 = 100_000

  @Option(help: "The store's TTL in seconds.")
  var storeTTL: Double = 86_400

  @Option(help: "What the journal records of reads: off, recency or lookups.")
  var access: AccessLog = .recency

  @Option(help: "What a write waits for: enqueued, written or durable.")
  var acknowledge: Acknowledgement = .written

  @Flag(help: "Use no SQLite store.")
  var noStore = false

  @Flag(help: "Use no journal: no history.")
  var noJournal = false

  func configuration() throws -> CacheConfiguration {
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: memoryEntries)
    configuration.storeLimit = TierLimit(entryCountMax: storeEntries)
    configuration.memoryTTL = try .ttl(seconds: memoryTTL)
    configuration.storeTTL = try .ttl(seconds: storeTTL)
    configuration.accessLog = access
    configuration.acknowledgement = acknowledge
    configuration.usesStore = !noStore
    configuration.usesJournal = !noJournal
    return configuration
  }
}

extension AccessLog: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension Acknowledgement: ExpressibleByArgument {}

/// A cache's directory, and how to open it, for one-off commands.
struct DirectoryOptions: ParsableArguments {
  @Argument(help: "The cache's directory.", completion: .directory)
  var directory: String

  @OptionGroup var cache: CacheOptions
  @OptionGroup var output: OutputOptions
}

/// A key: raw, or registry and package.
struct KeyArguments: ParsableArguments {
  @Argument(help: "The key, as 'pypi:flask'; or a registry, with the package behind it.")
  var key: String

  @Option(name: .shortAndLong, help: "The package, where the key is a registry's name.")
  var package: String?

  func parsed() throws -> CacheKey {
    guard let package else { return try CacheKey(key) }
    return try CacheKey(registry: key, package: package)
  }
}

/// Values on the command line and in `exec` are JSON text, kept as it is.
typealias TextCache = Cache<[UInt8]>

/// Opens a cache of JSON text, runs `body`, closes it.
func withTextCache<R>(
  _ directory: String, _ configuration: CacheConfiguration,
  _ body: nonisolated(nonsending) (TextCache) async throws -> R
) async throws -> R {
  try await withCache(
    at: directory, coder: .jsonText, configuration: configuration, body)
}
