import Hindsight

/// What must hold of any lines that `exec` is given, and of any stream of lookups: they are refused
/// with a message that is safe to show and can be told as JSON, or mean what they say.
enum FuzzedLines {
  // MARK: Operations

  static func check(operations bytes: [UInt8]) -> String? {
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      do throws(BadOperation) {
        let operation = try OperationLine(parsing: line)
        if let broken = check(operation) { return broken }
      } catch {
        if let broken = check(message: error.message) { return broken }
      }
    }
    return nil
  }

  private static func check(_ operation: OperationLine) -> String? {
    let parts: [() throws -> String?] = [
      { try check(key: try operation.key(), of: operation) },
      { try check(value: try operation.value()) },
      { try operation.ttl("ttl").flatMap(check) },
      { try operation.ttl("memoryTTL").flatMap(check) },
      { try operation.ttl("storeTTL").flatMap(check) },
      { check(message: try operation.text("reason") ?? "none") },
      { check(message: try operation.prefix()) },
    ]
    for part in parts {
      do {
        if let broken = try part() { return broken }
      } catch let error as BadOperation {
        if let broken = check(message: error.message) { return broken }
      } catch let error as CacheError {
        if let broken = check(message: error.message) { return broken }
      } catch {
        return "an error that `exec` doesn't know: \(error)"
      }
    }
    return nil
  }

  private static func check(key: CacheKey, of operation: OperationLine) throws -> String? {
    guard (1...1_024).contains(key.rawValue.utf8.count) else { return "a key of a wrong length" }
    return operation.subject.map { $0 == key } ?? true ? nil : "the lane is another key's"
  }

  /// A reply gives the value as it came, on one line.
  private static func check(value: ArraySlice<UInt8>) throws -> String? {
    do throws(JSONError) {
      let shown = Array(String(decoding: value, as: UTF8.self).shownAsJSON.utf8)
      return try JSONParser.parse(value) == JSONParser.parse(shown[...])
        ? nil : "the value is another one in the reply"
    } catch {
      return "the value is no JSON by itself: \(error)"
    }
  }

  private static func check(_ ttl: Duration) -> String? {
    (.zero ... .seconds(1 << 34)).contains(ttl) ? nil : "a TTL of \(ttl)"
  }

  private static func check(message: String) -> String? {
    let json = jsonString(message)
    guard !json.unicodeScalars.contains(where: \.isUnsafeToShow) else {
      return "a reply that isn't safe to show"
    }
    do throws(JSONError) {
      return try JSONParser.parse(Array(json.utf8)[...]) == .string(message)
        ? nil : "a message is another one in its reply"
    } catch {
      return "a reply is no JSON: \(error)"
    }
  }

  // MARK: Lookups

  static func check(lookups bytes: [UInt8]) -> String? {
    let stream: RecordedLookups
    do throws(CacheError) {
      stream = try RecordedLookups(parsing: bytes, path: "fuzz")
    } catch {
      return error.message.hasPrefix("fuzz:") ? nil : "an error without its line"
    }
    let isSound = stream.lookups.allSatisfy {
      stream.isKnown(stream.answer(to: $0), for: $0, age: 0, tolerance: 1_000)
    }
    return isSound ? nil : "an answer isn't the one of its time"
  }
}
