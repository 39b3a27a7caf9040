package import Hindsight

/// Why a line is no operation.
package struct BadOperation: Error {
  package var code = "badRequest"
  package var message: String

  package init(code: String = "badRequest", message: String) {
    self.code = code
    self.message = message
  }
}

/// One line of the input of `hindsight exec`, parsed: an object whose `op` is known, with no fields
/// that this operation doesn't know. What the fields hold is checked as they are asked for.
package struct OperationLine: Sendable {
  package let name: String
  private let fields: JSONValue
  private let given: ArraySlice<UInt8>?

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

  package init(parsing line: ArraySlice<UInt8>) throws(BadOperation) {
    do {
      fields = try JSONParser.parse(line)
    } catch {
      throw BadOperation(message: "the line is no JSON: \(error)")
    }
    guard case .object(let list) = fields else {
      throw BadOperation(message: "the line is no object")
    }
    guard case .string(let name)? = fields["op"], let known = Self.known[name] else {
      throw BadOperation(
        message: "\"op\" must be one of \(Self.known.keys.sorted().joined(separator: ", "))")
    }
    for field in list where field.name != "op" && !known.contains(field.name) {
      throw BadOperation(message: "\(name) knows no field \(jsonString(field.name))")
    }
    self.name = name
    given = list.last { $0.name == "value" }.map { line[$0.range] }
  }

  /// The key that the operation is about, where it is about one; a wrong key is about none.
  package var subject: CacheKey? {
    guard ["set", "get", "contains", "invalidate"].contains(name) else { return nil }
    do {
      return try key()
    } catch {
      return nil
    }
  }

  /// - Throws: `BadOperation` where there is none, or both forms of it; `CacheError` where it can't be a key.
  package func key() throws -> CacheKey {
    let (registry, package) = (try text("registry"), try text("package"))
    if let key = try text("key") {
      guard registry == nil, package == nil else {
        throw BadOperation(message: "it takes \"key\", or \"registry\" and \"package\", not both")
      }
      return try CacheKey(key)
    }
    guard let registry, let package else {
      throw BadOperation(message: "\"key\", or \"registry\" and \"package\", are missing")
    }
    return try CacheKey(registry: registry, package: package)
  }

  /// What the keys that are to be cleared start with; empty where the field is missing.
  /// - Throws: `BadOperation` where it is `null`, too: whoever computes a prefix and has none means no
  ///   clearing of everything.
  package func prefix() throws(BadOperation) -> String {
    if case .null? = fields["prefix"] {
      throw BadOperation(
        message: "\"prefix\" must be a string; a line without it clears everything")
    }
    return try text("prefix") ?? ""
  }

  /// The value's own bytes in the line.
  package func value() throws(BadOperation) -> ArraySlice<UInt8> {
    guard let given else { throw BadOperation(message: "\"value\" is missing") }
    return given
  }

  /// A field that is a string; `nil` where it is missing or `null`.
  package func text(_ name: String) throws(BadOperation) -> String? {
    switch fields[name] {
    case nil, .null: return nil
    case .string(let text): return text
    default: throw BadOperation(message: "\(jsonString(name)) must be a string")
    }
  }

  /// A field that is a number of seconds; `nil` where it is missing or `null`.
  /// - Throws: `BadOperation` where it is something else, `CacheError` where it can't be a TTL.
  package func ttl(_ name: String) throws -> Duration? {
    switch fields[name] {
    case nil, .null: return nil
    case .number(let number):
      guard let seconds = Double(number) else { break }
      return try .ttl(seconds: seconds)
    default: break
    }
    throw BadOperation(message: "\(jsonString(name)) must be a number of seconds")
  }
}
