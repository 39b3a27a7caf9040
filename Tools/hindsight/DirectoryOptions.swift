import ArgumentParser
import Foundation
import Hindsight
import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightStore

/// A cache's directory, for one-off commands, which open the cache as it was last opened.
struct DirectoryOptions: ParsableArguments {
  /// Room for what a command writes besides the value that it sets.
  private static let roomByteCount: UInt64 = 64 << 10

  @Argument(help: "The cache's directory.", completion: .directory)
  var directory: String

  @OptionGroup var output: OutputOptions

  /// How to open the cache.
  /// - Parameters:
  ///   - cache: what should differ from the last opening; `nil`: nothing, for a command that looks or removes.
  ///   - valueByteCount: the size of the value that is to be set, which makes the cache where there is none;
  ///     `nil`: there has to be one.
  /// - Throws: `CacheError.Code.system` where there is none; `.storeUnavailable` where all that there is, is a
  ///   store that a command which looks or removes can't read; `ValidationError` where neither store nor journal
  ///   would be used, so that nothing would be kept.
  func configuration(
    _ cache: CacheOptions? = nil, forValueOf valueByteCount: Int? = nil
  ) throws -> CacheConfiguration {
    if valueByteCount == nil {
      let names = try checkCache()
      if cache == nil, !names.contains(where: JournalDirectory.isJournalFile) { try checkStore() }
    }
    var configuration = try CacheConfiguration(lastOpenedIn: directory)
    cache?.apply(to: &configuration)
    guard configuration.usesStore || configuration.usesJournal else {
      throw ValidationError("without a store and without a journal nothing would be kept")
    }
    configuration.useLittleRoom(
      in: directory, beyond: Self.roomByteCount + 2 * UInt64(valueByteCount ?? 0))
    return configuration
  }
}

extension DirectoryOptions {
  /// - Returns: the names of all that is in the directory.
  private func checkCache() throws -> [String] {
    try checkDirectory(directory)
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: directory)
    } catch {
      // Opening it says what is wrong.
      return []
    }
    guard
      names.contains(where: { $0 == StoreBounds.fileName || JournalDirectory.isJournalFile($0) })
    else {
      throw CacheError(.system, "\(directory): there is no cache in it")
    }
    return names
  }

  /// An opening puts a store aside that it can't read, and begins anew. Without a journal to build it again from,
  /// that would take all there is, or another program's database.
  private func checkStore() throws {
    let failure: StoreError
    do throws(StoreError) {
      _ = try StoreInspector(directory: directory)
      return
    } catch {
      failure = error
    }
    // Opening it says what else is wrong.
    guard failure.remedy == .rebuild else { return }
    throw CacheError(
      .storeUnavailable,
      "\(failure); there is no journal to build it again from. Nothing was changed. 'hindsight repair' says "
        + "what to do about a damaged store")
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
      if let failure = error.storageFailure { throw CacheError(storage: failure) }
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

extension CacheConfiguration {
  /// Has no more space allocated than a command needs that ends soon: on a disk that is nearly full a cache can
  /// still be read. It goes on in the newest segment, unless that is full or its process was killed.
  /// - Parameter byteCount: what is to be written, and more.
  fileprivate mutating func useLittleRoom(in directory: String, beyond byteCount: UInt64) {
    let needed = Self.newestSegmentByteCount(in: directory) + byteCount
    segmentByteCount = min(segmentByteCount, needed <= segmentByteCount ? needed : byteCount)
  }

  private static func newestSegmentByteCount(in directory: String) -> UInt64 {
    let files = FileManager.default
    guard files.fileExists(atPath: directory) else { return 0 }
    do {
      let newest = try files.contentsOfDirectory(atPath: directory)
        .filter(JournalDirectory.isSegment)
        .max { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
      guard let newest else { return 0 }
      let attributes = try files.attributesOfItem(atPath: "\(directory)/\(newest)")
      return attributes[.size] as? UInt64 ?? 0
    } catch {
      // Opening it says what is wrong.
      return 0
    }
  }
}
