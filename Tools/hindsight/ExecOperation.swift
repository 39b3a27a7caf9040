import Foundation
import Hindsight
import HindsightTesting

/// One line of `exec`'s input, performed.
struct ExecOperation {
  private let line: OperationLine

  static func parse(_ line: LineReader.Line) -> Result<ExecOperation, BadOperation> {
    switch line {
    case .tooLong:
      return .failure(
        BadOperation(
          code: CacheError.Code.invalidValue.rawValue,
          message: "the line is over \(LineReader.byteCountMax) bytes"))
    case .line(let bytes):
      return Result { () throws(BadOperation) in
        ExecOperation(line: try OperationLine(parsing: bytes))
      }
    }
  }

  /// The key that the operation is about, where it is about one; a wrong key is about none.
  var subject: CacheKey? { line.subject }

  /// - Returns: the reply, and whether it says that the operation was done.
  func reply(_ cache: TextCache) async -> (Reply, isDone: Bool) {
    do {
      return (try await perform(cache), true)
    } catch let error as CacheError {
      return (.error(error.code.rawValue, error.message), false)
    } catch let error as BadOperation {
      return (error.reply, false)
    } catch {
      return (.error("system", "\(error)"), false)
    }
  }

  var isWrite: Bool { ["set", "invalidate", "clear", "cleanup"].contains(line.name) }

  private func perform(_ cache: TextCache) async throws -> Reply {
    switch line.name {
    case "set": return try await set(cache)
    case "get": return Reply(try await cache.lookup(try line.key()))
    case "contains": return .contains(cache.contains(try line.key()))
    case "invalidate":
      return .removed(try await cache.invalidate(try line.key(), reason: try line.text("reason")))
    case "clear":
      return .counts(
        try await cache.clear(
          prefix: try line.prefix(), reason: try line.text("reason")))
    case "count": return .counts(cache.count)
    case "cleanup": return .cleaned(try await cache.cleanupExpired())
    case "sync": return .sequence(try await cache.flush())
    case "settle": return .sequence(try await cache.settle())
    case "stats": return try .statistics(cache.statistics)
    default: preconditionFailure("unknown operations are refused before")
    }
  }

  private func set(_ cache: TextCache) async throws -> Reply {
    let value = try line.value()
    let both = try line.ttl("ttl")
    let sequence = try await cache.set(
      Array(value), for: try line.key(), memoryTTL: try line.ttl("memoryTTL") ?? both,
      storeTTL: try line.ttl("storeTTL") ?? both, reason: try line.text("reason"))
    return .sequence(sequence)
  }
}
