public import ArgumentParser
import Foundation
public import Hindsight
public import HindsightCore
import HindsightTesting

/// What every command takes.
struct OutputOptions: ParsableArguments {
  @Flag(name: .long, help: "Print JSON instead of text.")
  var json = false
}

/// What a write waits for.
struct WriteOptions: ParsableArguments {
  @Option(help: "What a write waits for.")
  var acknowledge: Acknowledgement = .written
}

/// How a cache is opened, but for its TTLs.
struct CacheOptions: ParsableArguments {
  /// Over the options of a one-off command.
  static let title = "Options for opening the cache, now and later (default: as last opened)"

  @Option(
    parsing: .unconditional,
    help: """
      The most entries that memory holds; 1000 for a new cache. Those beyond it are evicted. A limit \
      by bytes stays.
      """)
  var memoryEntries: UInt64?

  @Option(
    parsing: .unconditional,
    help: """
      The most entries that the store holds; 100000 for a new cache. Those beyond it are evicted. Uses \
      a store. A limit by bytes stays.
      """)
  var storeEntries: UInt64?

  @Option(help: "What the journal records of reads: off, recency (for a new cache) or lookups.")
  var access: AccessLog?

  @Flag(help: "Use no SQLite store: of a cache that has one, only what memory holds stays.")
  var noStore = false

  @Flag(help: "Use no journal: no history. With --no-store, nothing outlives the process.")
  var noJournal = false

  func validate() throws {
    guard !noStore || storeEntries == nil else {
      throw ValidationError("--store-entries is about the store that --no-store leaves out")
    }
  }

  /// Changes what was asked for on the command line, and leaves the rest.
  func apply(to configuration: inout CacheConfiguration) {
    if let memoryEntries { configuration.memoryLimit.entryCountMax = memoryEntries }
    if let storeEntries {
      configuration.storeLimit.entryCountMax = storeEntries
      configuration.usesStore = true
    }
    if let access { configuration.accessLog = access }
    if noStore { configuration.usesStore = false }
    if noJournal { configuration.usesJournal = false }
  }
}

/// The TTLs of a cache.
struct TTLOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: "The memory tier's TTL in seconds; 3600 for a new cache.")
  var memoryTTL: Double?

  @Option(parsing: .unconditional, help: "The store's TTL in seconds; 86400 for a new cache.")
  var storeTTL: Double?

  /// Changes what was asked for on the command line, and leaves the rest.
  func apply(to configuration: inout CacheConfiguration) throws {
    if let memoryTTL { configuration.memoryTTL = try .ttl(seconds: memoryTTL) }
    if let storeTTL { configuration.storeTTL = try .ttl(seconds: storeTTL) }
  }
}

extension AccessLog: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
  public var defaultValueDescription: String { description }
  public static var allValueStrings: [String] { [] }
}

extension Acknowledgement: ExpressibleByArgument {}

/// A key: raw, or registry and package.
struct KeyArguments: ParsableArguments {
  @Argument(
    help: """
      The key, as 'pypi:flask'; with --package, the registry's name. One that begins with '-' stands \
      behind '--'.
      """)
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

/// Opens a cache of JSON text, says on standard error what that cost, runs `body`, closes it.
func withTextCache<R>(
  _ directory: String, _ configuration: CacheConfiguration,
  _ body: nonisolated(nonsending) (TextCache) async throws -> R
) async throws -> R {
  try await withTextCache(.directory(directory), configuration) { cache in
    let losses = cache.recovery.losses.map { "\($0.name) \($0.text)" }
    if !losses.isEmpty {
      let text = losses.joined(separator: "; ")
      Output.diagnose("hindsight: opening the cache: \(Output.printable(text))")
    }
    return try await body(cache)
  }
}

extension RecoverySummary {
  /// What opening dropped, put aside, or found damaged; empty where all was whole.
  var losses: [(name: String, text: String)] {
    var losses: [(name: String, text: String)] = []
    if droppedBytes > 0 { losses.append(("dropped", "\(droppedBytes) bytes")) }
    losses += quarantined.map { ("aside", $0) }
    losses += damage.map { ("damage", $0) }
    if lostValues > 0 { losses.append(("lost", "\(lostValues) values")) }
    return losses
  }
}
