import Foundation
import Hindsight
import HindsightTesting

/// One line of `exec`'s input.
struct ExecOperation {
  private let name: String
  private let fields: JSONValue
  private let value: ArraySlice<UInt8>?

  private static let known: [String: Set<String>] = [
    "set": [
      "key", "registry", "package", "value", "ttl", "memoryTTL", "storeTTL", "reason",
    ],
    "get": ["key", "registry", "package"],
    "contains": ["key", "registry", "package"],
    "invalidate": ["key", "registry", "package", "reason"],
    "clear": ["prefix", "reason"],
    "count": [], "cleanup": [], "sync": [], "settle": [], "stats": [],
  ]

  init(_ line: ArraySlice<UInt8>) throws(BadLine) {
    do {
      fields = try JSONParser.parse(line)
    } catch {
      throw BadLine(message: "the line is no JSON: \(error)")
    }
    guard case .object(let list) = fields else { throw BadLine(message: "the line is no object") }
    guard case .string(let name)? = fields["op"], let known = Self.known[name] else {
      throw BadLine(
        message: "\"op\" must be one of \(Self.known.keys.sorted().joined(separator: ", "))")
    }
    for field in list where field.name != "op" && !known.contains(field.name) {
      throw BadLine(message: "\(name) knows no field \(jsonString(field.name))")
    }
    self.name = name
    value = list.last { $0.name == "value" }.map { line[$0.range] }
  }

  static func parse(_ line: LineReader.Line) -> Result<ExecOperation, BadLine> {
    switch line {
    case .tooLong:
      return .failure(
        BadLine(
          code: CacheError.Code.invalidValue.rawValue,
          message: "the line is over \(LineReader.byteCountMax) bytes"))
    case .line(let bytes):
      return Result { () throws(BadLine) in try ExecOperation(bytes) }
    }
  }

  /// The key that the operation is about, where it is about one; a wrong key is about none.
  var subject: CacheKey? {
    guard ["set", "get", "contains", "invalidate"].contains(name) else { return nil }
    do {
      return try key()
    } catch {
      return nil
    }
  }

  /// - Returns: the reply, and whether it says that the operation was done.
  func reply(_ cache: TextCache) async -> (Reply, isDone: Bool) {
    do {
      return (try await perform(cache), true)
    } catch let error as CacheError {
      return (.error(error.code.rawValue, error.message), false)
    } catch let error as BadLine {
      return (error.reply, false)
    } catch {
      return (.error("system", "\(error)"), false)
    }
  }

  var isWrite: Bool { ["set", "invalidate", "clear", "cleanup"].contains(name) }

  private func perform(_ cache: TextCache) async throws -> Reply {
    switch name {
    case "set": return try await set(cache)
    case "get": return Reply(try await cache.lookup(try key()))
    case "contains": return .contains(cache.contains(try key()))
    case "invalidate":
      return .removed(try await cache.invalidate(try key(), reason: try text("reason")))
    case "clear":
      return .counts(
        try await cache.clear(prefix: try text("prefix") ?? "", reason: try text("reason")))
    case "count": return .counts(cache.count)
    case "cleanup": return .cleaned(try await cache.cleanupExpired())
    case "sync": return .sequence(try await cache.flush())
    case "settle": return .sequence(try await cache.settle())
    case "stats": return try .statistics(cache.statistics)
    default: preconditionFailure("unknown operations are refused before")
    }
  }

  private func set(_ cache: TextCache) async throws -> Reply {
    guard let value else { throw BadLine(message: "\"value\" is missing") }
    let both = try ttl("ttl")
    let sequence = try await cache.set(
      Array(value), for: try key(), memoryTTL: try ttl("memoryTTL") ?? both,
      storeTTL: try ttl("storeTTL") ?? both, reason: try text("reason"))
    return .sequence(sequence)
  }

  private func key() throws -> CacheKey {
    if let key = try text("key") { return try CacheKey(key) }
    guard let registry = try text("registry"), let package = try text("package") else {
      throw BadLine(message: "\"key\", or \"registry\" and \"package\", are missing")
    }
    return try CacheKey(registry: registry, package: package)
  }

  private func text(_ name: String) throws -> String? {
    switch fields[name] {
    case nil, .null: return nil
    case .string(let text): return text
    default: throw BadLine(message: "\(jsonString(name)) must be a string")
    }
  }

  private func ttl(_ name: String) throws -> Duration? {
    switch fields[name] {
    case nil, .null: return nil
    case .number(let number):
      guard let seconds = Double(number) else { break }
      return try .ttl(seconds: seconds)
    default: break
    }
    throw BadLine(message: "\(jsonString(name)) must be a number of seconds")
  }
}
