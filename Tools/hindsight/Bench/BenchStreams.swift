import ArgumentParser
import Foundation
import Hindsight

/// A line of a stream: `op<TAB>key<TAB>ttl<TAB>value`, TTL in seconds, value as JSON.
struct BenchOperation: Sendable {
  var key: CacheKey
  var ttl: Duration
  var value: [UInt8]

  /// The same with a copy of the value, which the cache then is the only one to hold.
  var withOwnValue: BenchOperation {
    BenchOperation(key: key, ttl: ttl, value: value.withUnsafeBytes { Array($0) })
  }
}

/// A stream of lookups: its distinct keys, each built once, and the order they are asked for in. The
/// walk over the stream then costs little, and what is timed is the cache.
struct GetStream: Sendable {
  var keys: [CacheKey] = []
  var order: [UInt32] = []

  init(_ operations: [BenchOperation]) {
    var seen: [CacheKey: UInt32] = [:]
    for operation in operations {
      let at = seen[operation.key] ?? UInt32(keys.count)
      if Int(at) == keys.count {
        seen[operation.key] = at
        keys.append(operation.key)
      }
      order.append(at)
    }
  }
}

/// The streams that a run measures with. What isn't there isn't measured.
struct BenchStreams: Sendable {
  /// As many lookups as the peers make with each stream.
  private static let memoryGetCount = 500_000
  private static let storeGetCount = 200_000

  let sets: [BenchOperation]
  let gets: GetStream?
  let fill: [BenchOperation]
  let hits1k: GetStream?
  let hits100k: GetStream?

  /// No streams.
  static let none = BenchStreams()

  private init() {
    (sets, gets, fill, hits1k, hits100k) = ([], nil, [], nil, nil)
  }

  /// - Parameters:
  ///   - sets: the stream of sets; the others are looked for beside it.
  ///   - gets: the stream of lookups, where it is elsewhere.
  init(sets path: String, gets: String?) throws {
    let directory = URL(fileURLWithPath: path).deletingLastPathComponent()
    func beside(_ name: String, _ countMax: Int = .max) throws -> [BenchOperation]? {
      let path = directory.appendingPathComponent(name).path
      guard FileManager.default.fileExists(atPath: path) else { return nil }
      return try Self.load(path, countMax: countMax)
    }
    sets = try Self.load(path)
    self.gets =
      try gets.map { GetStream(try Self.load($0, countMax: Self.storeGetCount)) }
      ?? beside("gets.tsv", Self.storeGetCount).map(GetStream.init)
    fill = try beside("fill.tsv") ?? []
    hits1k = try beside("hits1k.tsv", Self.memoryGetCount).map(GetStream.init)
    hits100k = try beside("hits100k.tsv", Self.memoryGetCount).map(GetStream.init)
  }

  /// Reads a stream.
  /// - Throws: `ValidationError` naming the file, and the line that is none.
  static func load(
    _ path: String, countMax: Int = .max
  ) throws(ValidationError) -> [BenchOperation] {
    let lines = try contents(of: path).split(
      separator: UInt8(ascii: "\n"), maxSplits: countMax, omittingEmptySubsequences: false)
    var operations: [BenchOperation] = []
    for (index, line) in lines.enumerated() where !line.isEmpty {
      guard operations.count < countMax else { break }
      do throws(CacheError) {
        operations.append(try parse(line))
      } catch {
        throw ValidationError("\(path):\(index + 1): \(error.message)")
      }
    }
    return operations
  }

  private static func parse(_ line: ArraySlice<UInt8>) throws(CacheError) -> BenchOperation {
    let fields = line.split(
      separator: UInt8(ascii: "\t"), maxSplits: 3, omittingEmptySubsequences: false)
    guard fields.count == 4, let ttl = Int(String(decoding: fields[2], as: UTF8.self)) else {
      throw CacheError(.invalidValue, "not a line of op, key, TTL and value")
    }
    guard ["set", "get"].contains(String(decoding: fields[0], as: UTF8.self)) else {
      throw CacheError(.invalidValue, "the op must be set or get")
    }
    return BenchOperation(
      key: try CacheKey(String(decoding: fields[1], as: UTF8.self)),
      ttl: try .ttl(seconds: Double(ttl)), value: Array(fields[3]))
  }
}
