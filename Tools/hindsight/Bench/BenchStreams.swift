import ArgumentParser
import Foundation
import Hindsight
import HindsightTesting

/// A line of a stream: `op<TAB>key<TAB>ttl<TAB>value`, TTL in seconds, value as JSON.
struct BenchOperation: Sendable {
  enum Op: String {
    case set
    case get
  }

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
  /// Different keys in `sets`.
  let setKeyCount: Int
  let gets: GetStream?
  let fill: [BenchOperation]
  let hits1k: GetStream?
  let hits100k: GetStream?

  /// No streams.
  static let none = BenchStreams()

  private init() {
    (sets, setKeyCount, gets, fill, hits1k, hits100k) = ([], 0, nil, [], nil, nil)
  }

  /// - Parameters:
  ///   - sets: the stream of sets; the others are looked for beside it.
  ///   - gets: the stream of lookups, where it is elsewhere.
  init(sets path: String, gets: String?) throws {
    let directory = URL(fileURLWithPath: path).deletingLastPathComponent()
    func beside(
      _ name: String, _ op: BenchOperation.Op, _ countMax: Int = .max
    ) throws -> [BenchOperation]? {
      let path = directory.appendingPathComponent(name).path
      guard FileManager.default.fileExists(atPath: path) else { return nil }
      return try Self.load(path, op, countMax: countMax)
    }
    try Self.checkFile(path)
    sets = try Self.load(path, .set)
    setKeyCount = Set(sets.lazy.map(\.key)).count
    self.gets =
      try gets.map { GetStream(try Self.load($0, .get, countMax: Self.storeGetCount)) }
      ?? beside("gets.tsv", .get, Self.storeGetCount).map(GetStream.init)
    fill = try beside("fill.tsv", .set) ?? []
    hits1k = try beside("hits1k.tsv", .get, Self.memoryGetCount).map(GetStream.init)
    hits100k = try beside("hits100k.tsv", .get, Self.memoryGetCount).map(GetStream.init)
  }

  /// A pipe can be read only once, and a child process reads the stream again.
  private static func checkFile(_ path: String) throws(ValidationError) {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG else { return }
    throw ValidationError("\(path) is not a regular file: it is read more than once")
  }

  /// Reads a stream of sets or of lookups.
  /// - Throws: `ValidationError` naming the file if it is empty, and the line that is none of it.
  static func load(
    _ path: String, _ op: BenchOperation.Op, countMax: Int = .max
  ) throws(ValidationError) -> [BenchOperation] {
    let lines = try contents(of: path).split(
      separator: UInt8(ascii: "\n"), maxSplits: countMax, omittingEmptySubsequences: false)
    var operations: [BenchOperation] = []
    for (index, line) in lines.enumerated() where !line.isEmpty {
      guard operations.count < countMax else { break }
      do throws(CacheError) {
        operations.append(try parse(line, op))
      } catch {
        throw ValidationError("\(path):\(index + 1): \(error.message)")
      }
    }
    guard !operations.isEmpty else { throw ValidationError("\(path) is empty") }
    return operations
  }

  private static func parse(
    _ line: ArraySlice<UInt8>, _ op: BenchOperation.Op
  ) throws(CacheError) -> BenchOperation {
    let fields = line.split(
      separator: UInt8(ascii: "\t"), maxSplits: 3, omittingEmptySubsequences: false)
    guard fields.count == 4, let ttl = Double(String(decoding: fields[2], as: UTF8.self)) else {
      throw CacheError(.invalidValue, "not a line of op, key, TTL and value")
    }
    guard let own = BenchOperation.Op(rawValue: String(decoding: fields[0], as: UTF8.self)) else {
      throw CacheError(.invalidValue, "the op must be set or get")
    }
    guard own == op else {
      throw CacheError(.invalidValue, "a \(own) in a stream of \(op)s")
    }
    guard let key = String(validating: fields[1], as: UTF8.self) else {
      throw CacheError(.invalidKey, "the key is not UTF-8")
    }
    if op == .set { try checkJSON(fields[3]) }
    return BenchOperation(
      key: try CacheKey(key), ttl: try .ttl(seconds: ttl), value: Array(fields[3]))
  }

  private static func checkJSON(_ value: ArraySlice<UInt8>) throws(CacheError) {
    do throws(JSONError) {
      _ = try JSONParser.parse(value)
    } catch {
      throw CacheError(.invalidValue, "the value is not JSON: \(error)")
    }
  }
}
