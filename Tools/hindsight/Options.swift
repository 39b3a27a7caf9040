public import ArgumentParser
import Foundation
public import Hindsight
public import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting

/// What every command takes.
struct OutputOptions: ParsableArguments {
  @Flag(name: .long, help: "Print JSON instead of text.")
  var json = false
}

/// How a cache is opened, but for its TTLs.
struct CacheOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: "The most entries that memory holds; 1000 for a new cache. Drops a limit by bytes.")
  var memoryEntries: UInt64?

  @Option(
    parsing: .unconditional,
    help: """
      The most entries that the store holds; 100000 for a new cache. Uses a store, and drops a limit \
      by bytes.
      """)
  var storeEntries: UInt64?

  @Option(help: "What the journal records of reads: off, recency (for a new cache) or lookups.")
  var access: AccessLog?

  @Option(help: "What a write waits for.")
  var acknowledge: Acknowledgement = .written

  @Flag(help: "Use no SQLite store.")
  var noStore = false

  @Flag(help: "Use no journal: no history.")
  var noJournal = false

  /// Changes what was asked for on the command line, and leaves the rest.
  func apply(to configuration: inout CacheConfiguration) {
    if let memoryEntries { configuration.memoryLimit.entryCountMax = memoryEntries }
    if let storeEntries {
      configuration.storeLimit.entryCountMax = storeEntries
      configuration.usesStore = true
    }
    if let access { configuration.accessLog = access }
    configuration.acknowledgement = acknowledge
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

/// A cache's directory, and how to open it, for one-off commands.
struct DirectoryOptions: ParsableArguments {
  @Argument(help: "The cache's directory.", completion: .directory)
  var directory: String

  @OptionGroup(
    title: "Options for opening the cache (default: limits, tiers and access log as last opened)")
  var cache: CacheOptions

  @OptionGroup var output: OutputOptions

  /// How to open the cache.
  /// - Parameter makesCache: where there is none, it is made.
  /// - Throws: `CacheError.Code.system` where there is none otherwise.
  func configuration(makesCache: Bool = false) throws -> CacheConfiguration {
    if !makesCache { try checkCache() }
    var configuration = try CacheConfiguration(lastOpenedIn: directory)
    cache.apply(to: &configuration)
    return configuration
  }
}

extension DirectoryOptions {
  private func checkCache() throws {
    try checkDirectory(directory)
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: directory)
    } catch {
      // Opening it says what is wrong.
      return
    }
    guard
      names.contains(where: { $0 == StoreBounds.fileName || JournalDirectory.isJournalFile($0) })
    else {
      throw CacheError(.system, "\(directory): there is no cache in it")
    }
  }
}

extension CacheConfiguration {
  /// As the cache in a directory was last opened, unless the command line says otherwise: a look at a
  /// cache must not shrink it to the defaults, and no more must a repair.
  /// - Throws: what keeps the history from being read, but for its damage.
  init(lastOpenedIn directory: String) throws {
    self.init()
    try adoptLast(in: directory)
  }

  /// Takes limits, TTLs and tiers from a directory's history, as far as that tells.
  private mutating func adoptLast(in directory: String) throws {
    func has(_ name: String) -> Bool {
      FileManager.default.fileExists(atPath: directory + "/" + name)
    }
    guard has("") else { return }
    do {
      guard let opened = try LastOpened.read(try PosixStorage(reading: directory)) else {
        // A journal whose beginning is damaged is one, too: opening it tells, and refuses.
        let names = try FileManager.default.contentsOfDirectory(atPath: directory)
        if has(StoreBounds.fileName), !names.contains(where: JournalDirectory.isJournalFile) {
          try adoptStore(in: directory)
        }
        return
      }
      memoryLimit = opened.memoryLimit
      usesStore = opened.storeLimit != nil
      if let limit = opened.storeLimit { storeLimit = limit }
      memoryTTL = .microseconds(opened.memoryTTL.rawValue)
      storeTTL = .microseconds(opened.storeTTL.rawValue)
      accessLog = opened.accessLog
      // How much history the cache's owner keeps isn't recorded. Whoever has far more than is kept by default
      // means to keep it; a little more, there may be just before some of it goes.
      if try Self.journalByteCount(in: directory) / 2 > retention.byteCountMax ?? .max {
        retention = .unlimited
      }
    } catch let error as DamageError {
      if let failure = error.storageFailure { throw CacheError(.system, "\(failure)") }
      // Nothing that is whole tells. Opening it says what is wrong, and refuses; a repair begins with the defaults.
    } catch {
      // Opening it says what is wrong.
    }
  }

  private static func journalByteCount(in directory: String) throws -> UInt64 {
    let files = FileManager.default
    return try files.contentsOfDirectory(atPath: directory)
      .filter(JournalDirectory.isSegment)
      .reduce(0) { sum, name in
        let size = try files.attributesOfItem(atPath: "\(directory)/\(name)")[.size] as? UInt64
        return sum + (size ?? 0)
      }
  }

  /// Uses no journal where a store without one says that it never had any. One that an opening left
  /// behind which did not get as far as its journal is fresh; one whose journal is gone names it.
  private mutating func adoptStore(in directory: String) throws(StoreError) {
    guard let mark = try StoreInspector(directory: directory).mark else { return }
    if mark.journalID == .nobody, mark.applied > .zero { usesJournal = false }
  }
}

/// A key: raw, or registry and package.
struct KeyArguments: ParsableArguments {
  @Argument(help: "The key, as 'pypi:flask'; with --package, the registry's name.")
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
