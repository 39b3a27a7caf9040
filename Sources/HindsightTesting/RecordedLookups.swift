import CHindsightZlib
import Foundation
package import Hindsight

/// A recorded stream of registry lookups: see Fixtures/lookups/README.md for its form.
package struct RecordedLookups: Sendable {
  package struct Lookup: Sendable {
    /// Since the beginning of the stream.
    package var milliseconds: Int64
    package var key: CacheKey
    /// Which of the key's answers the registry gives.
    package var answer: Int
  }

  /// What a registry answered from a moment on.
  package struct Answer: Sendable {
    package var since: Int64
    package var json: [UInt8]
  }

  package private(set) var lookups: [Lookup] = []
  /// In the order of time.
  package private(set) var answers: [CacheKey: [Answer]] = [:]

  /// Inflated, a stream has at most this many bytes: a small file may claim any number.
  package static let byteCountMax = 1 << 30
  /// A stream takes at most this long, about 139 years: sums and products of times must fit.
  private static let millisecondsMax: Int64 = 1 << 42

  /// Reads a stream, compressed with gzip or not.
  /// - Throws: `CacheError` with the code `.system` where the file can't be read or is over
  ///   `byteCountMax` when it is inflated, else as `init(parsing:path:)`.
  package init(path: String, byteCountMax: Int = Self.byteCountMax) throws(CacheError) {
    try self.init(parsing: try Self.inflated(path, byteCountMax), path: path)
  }

  /// Reads a stream's text, which came from `path`.
  /// - Throws: `CacheError` with the code `.invalidValue` or `.invalidKey` where a line is none of a
  ///   stream; it names file and line.
  package init(parsing text: [UInt8], path: String) throws(CacheError) {
    let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() where !line.isEmpty {
      do throws(CacheError) {
        try add(line)
      } catch {
        throw CacheError(error.code, "\(path):\(index + 1): \(error.message)")
      }
    }
  }

  private mutating func add(_ line: ArraySlice<UInt8>) throws(CacheError) {
    let columns = line.split(separator: UInt8(ascii: "\t"), maxSplits: 3)
    guard columns.count >= 3 else {
      throw CacheError(.invalidValue, "it needs three columns, separated by tabs")
    }
    let key = try CacheKey(
      registry: String(decoding: columns[1], as: UTF8.self),
      package: String(decoding: columns[2], as: UTF8.self))
    let now = lookups.last?.milliseconds ?? 0
    if columns[0].elementsEqual("=".utf8) {
      guard columns.count == 4 else { throw CacheError(.invalidValue, "the answer is missing") }
      answers[key, default: []].append(Answer(since: now, json: Array(columns[3])))
      return
    }
    guard let time = Int64(String(decoding: columns[0], as: UTF8.self)),
      (now...Self.millisecondsMax).contains(time)
    else {
      throw CacheError(
        .invalidValue, "a lookup begins with its time in milliseconds, never decreasing")
    }
    guard let known = answers[key] else {
      throw CacheError(.invalidValue, "no line before it says what the registry answers")
    }
    lookups.append(Lookup(milliseconds: time, key: key, answer: known.count - 1))
  }

  /// What the registry answers to a lookup.
  package func answer(to lookup: Lookup) -> [UInt8] {
    answers[lookup.key]?[lookup.answer].json ?? []
  }

  /// Whether the registry gave this answer so many milliseconds before `lookup`, give or take
  /// `tolerance`.
  package func isKnown(_ json: [UInt8], for lookup: Lookup, age: Int64, tolerance: Int64) -> Bool {
    guard let all = answers[lookup.key] else { return false }
    let asked = lookup.milliseconds - age
    return all.indices.contains { index in
      let until = index + 1 < all.count ? all[index + 1].since : .max
      return all[index].json == json && all[index].since <= asked + tolerance
        && until >= asked - tolerance
    }
  }

  private static func inflated(_ path: String, _ byteCountMax: Int) throws(CacheError) -> [UInt8] {
    guard let file = gzopen(path, "rb") else {
      throw CacheError(.system, "\(path) can't be opened: \(String(cString: strerror(errno)))")
    }
    defer { gzclose(file) }
    var code = Z_OK
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = gzread(file, &chunk, UInt32(chunk.count))
      if count == 0, gzerror(file, &code) != nil, code == Z_OK { return bytes }
      // Where the file ends before its stream, nothing is left to read either: Z_BUF_ERROR.
      guard count > 0 else {
        throw CacheError(.system, "\(path) is damaged: it doesn't inflate")
      }
      bytes.append(contentsOf: chunk[..<Int(count)])
      guard bytes.count <= byteCountMax else {
        throw CacheError(.system, "\(path) has over \(byteCountMax) bytes when it is inflated")
      }
    }
  }
}
