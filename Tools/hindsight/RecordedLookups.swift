import CZlib
import Foundation
import Hindsight

/// A recorded stream of registry lookups: see Fixtures/lookups/README.md for its form.
struct RecordedLookups {
  struct Lookup {
    /// Since the beginning of the stream.
    var milliseconds: Int64
    var key: CacheKey
    /// Which of the key's answers the registry gives.
    var answer: Int
  }

  /// What a registry answered from a moment on.
  struct Answer {
    var since: Int64
    var json: [UInt8]
  }

  private(set) var lookups: [Lookup] = []
  /// In the order of time.
  private(set) var answers: [CacheKey: [Answer]] = [:]

  /// Reads a stream, compressed with gzip or not.
  /// - Throws: `CacheError` with the code `.system` where the file can't be read, `.invalidValue`
  ///   where a line is none of a stream; it names file and line.
  init(path: String) throws {
    let text = try Self.inflated(path)
    var milliseconds: Int64 = 0
    for (index, line) in text.split(separator: UInt8(ascii: "\n")).enumerated() {
      let columns = line.split(separator: UInt8(ascii: "\t"), maxSplits: 3)
      func fail(_ what: String) -> CacheError {
        CacheError(.invalidValue, "\(path):\(index + 1): \(what)")
      }
      guard columns.count >= 3 else { throw fail("it needs three columns, separated by tabs") }
      let key = try CacheKey(
        registry: String(decoding: columns[1], as: UTF8.self),
        package: String(decoding: columns[2], as: UTF8.self))
      if columns[0].elementsEqual("=".utf8) {
        guard columns.count == 4 else { throw fail("the answer is missing") }
        answers[key, default: []].append(Answer(since: milliseconds, json: Array(columns[3])))
      } else {
        guard let time = Int64(String(decoding: columns[0], as: UTF8.self)), time >= milliseconds
        else { throw fail("a lookup begins with its time in milliseconds, never decreasing") }
        guard let known = answers[key] else {
          throw fail("no line before it says what the registry answers")
        }
        milliseconds = time
        lookups.append(Lookup(milliseconds: time, key: key, answer: known.count - 1))
      }
    }
  }

  /// What the registry answers to a lookup.
  func answer(to lookup: Lookup) -> [UInt8] { answers[lookup.key]?[lookup.answer].json ?? [] }

  /// Whether the registry gave this answer so many milliseconds before `lookup`, give or take
  /// `tolerance`.
  func isKnown(_ json: [UInt8], for lookup: Lookup, age: Int64, tolerance: Int64) -> Bool {
    guard let all = answers[lookup.key] else { return false }
    let asked = lookup.milliseconds - age
    return all.indices.contains { index in
      let until = index + 1 < all.count ? all[index + 1].since : .max
      return all[index].json == json && all[index].since <= asked + tolerance
        && until >= asked - tolerance
    }
  }

  private static func inflated(_ path: String) throws -> [UInt8] {
    guard let file = gzopen(path, "rb") else {
      throw CacheError(.system, "\(path) can't be opened: \(String(cString: strerror(errno)))")
    }
    defer { gzclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = gzread(file, &chunk, UInt32(chunk.count))
      if count == 0 { return bytes }
      guard count > 0 else {
        throw CacheError(.system, "\(path) is damaged: it doesn't inflate")
      }
      bytes.append(contentsOf: chunk[..<Int(count)])
    }
  }
}
