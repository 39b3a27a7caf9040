import ArgumentParser
import Foundation
import Hindsight
import HindsightJournal
import HindsightStore
import HindsightTesting
import Logging

/// What `exec` can be told beside limits and TTLs: mostly for tests.
struct TuningOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: "Bytes of a segment, 65536 to 1073741824; 16777216 by default.")
  var segmentBytes: UInt64?

  @Option(
    parsing: .unconditional,
    help: """
      Bytes of history that are kept; without it 1073741824, or all of it where the cache has more.
      """)
  var retentionBytes: UInt64?

  @Option(
    parsing: .unconditional,
    help: "Seconds between background syncs, 1 by default; 0: only on request.")
  var syncInterval: Double?

  @Option(
    parsing: .unconditional,
    help: "Seconds between sweeps of what is past its expiry, 1 by default; 0: only on request.")
  var sweepInterval: Double?

  @Flag(help: "Go on in memory while the journal can't be written.")
  var continueInMemory = false

  @Flag(help: "Fail where a queue is full instead of waiting.")
  var failWhenFull = false

  func apply(to configuration: inout CacheConfiguration) throws {
    if let segmentBytes { configuration.segmentByteCount = segmentBytes }
    if let retentionBytes { configuration.retention.byteCountMax = retentionBytes }
    if let syncInterval {
      configuration.syncInterval = try Self.interval(syncInterval, "--sync-interval")
    }
    if let sweepInterval {
      configuration.sweepInterval = try Self.interval(sweepInterval, "--sweep-interval")
    }
    if continueInMemory { configuration.journalFailure = .continueInMemory }
    if failWhenFull { configuration.backpressure = .fail }
  }

  private static func interval(_ seconds: Double, _ option: String) throws -> Duration? {
    if seconds == 0 { return nil }
    guard (0.001...1e9).contains(seconds) else {
      throw CacheError(
        .invalidConfiguration, "\(option) is \(seconds); it must be 0, or 0.001 to 1e9 seconds")
    }
    return .seconds(seconds)
  }
}

/// A cache's directory, with failpoints where the environment asks for them.
enum FailpointPlace {
  static let variable = "HINDSIGHT_FAILPOINTS"

  /// - Throws: `ValidationError` where the variable can't be read; `CacheError`.
  static func place(_ directory: String) throws -> Place {
    guard let text = ProcessInfo.processInfo.environment[variable] else {
      return .directory(directory)
    }
    let failpoints: Failpoints
    do throws(FailpointError) {
      failpoints = try Failpoints(text)
    } catch {
      throw ValidationError("\(variable): \(error)")
    }
    do throws(StorageError) {
      return .custom(
        FailpointStorage(try PosixStorage(path: directory), failpoints),
        FailpointStore(SQLiteStore(directory: directory), failpoints))
    } catch {
      throw CacheError(.system, "\(error)", underlying: error)
    }
  }
}

/// Opens a cache at a place, whose values are JSON text, or what else a program keeps there; runs `body`,
/// closes it on every way out.
func withTextCache<R>(
  _ place: Place, _ configuration: CacheConfiguration,
  _ body: nonisolated(nonsending) (TextCache) async throws -> R
) async throws -> R {
  let cache: TextCache
  do throws(CacheError) {
    cache = try await TextCache.open(
      at: place, coder: .anyText, configuration: configuration, logger: Logger(label: "hindsight"))
  } catch {
    throw OpeningFailure(error: error)
  }
  let result: R
  do {
    result = try await body(cache)
  } catch {
    do {
      try await cache.close()
    } catch let closing {
      Output.diagnose("hindsight: the cache can't be closed: \(closing)")
    }
    throw error
  }
  try await cache.close()
  return result
}
