import Foundation
import Hindsight
import HindsightCore

/// What a cache must hold after a run, and whether it does. Never inside a timed part.
struct BenchChecking: Sendable {
  let tools: BenchTools

  /// Reads back what the first `count` sets of a stream left behind, compares the bytes, and holds
  /// the remaining time against the TTL.
  /// - Parameters:
  ///   - isOrdered: whether one caller made the sets, so that the last one of a key must be the one
  ///     in force; else it may be any of the key's.
  ///   - room: how many of the keys the cache has room for.
  func readBack(
    _ cache: TextCache, _ operations: [BenchOperation], count: Int, isOrdered: Bool = true,
    room: Int = .max
  ) async throws {
    var candidates: [CacheKey: [Int]] = [:]
    for at in 0..<min(count, operations.count) {
      candidates[operations[at].key, default: []].append(at)
    }
    var found = 0
    for (key, indices) in candidates {
      guard case .hit(let hit) = try await cache.lookup(key) else { continue }
      found += 1
      let possible = isOrdered ? indices.suffix(1) : indices[...]
      guard possible.contains(where: { Self.isAnswer(hit, to: operations[$0]) }) else {
        throw CheckFailure(message: "bench: \(key) has a wrong value or expiry")
      }
    }
    guard found == min(candidates.count, room) else {
      throw CheckFailure(message: "bench: \(found) of \(candidates.count) keys are there")
    }
    tools.sink.count { [found] in $0.valuesCompared += found }
  }

  private static func isAnswer(_ hit: Hit<[UInt8]>, to operation: BenchOperation) -> Bool {
    hit.value == operation.value && hit.expiresIn > .zero && hit.expiresIn <= operation.ttl
  }

  /// A short TTL is honoured: the value is there before its end, and absent after it.
  func expiry(_ cache: TextCache) async throws {
    let key = try CacheKey("bench:short-lived")
    try await cache.set(
      Array("1".utf8), for: key, memoryTTL: .milliseconds(200), storeTTL: .milliseconds(200))
    guard try await cache.get(key) == Array("1".utf8) else {
      throw CheckFailure(message: "bench: a value is absent before its expiry")
    }
    try await Task.sleep(for: .milliseconds(250))
    guard try await cache.get(key) == nil else {
      throw CheckFailure(message: "bench: a value outlived its TTL")
    }
    tools.sink.count { $0.expiriesSeen += 1 }
  }

  /// The journal and the store of a closed cache verify.
  func journal(in directory: String) throws {
    let result = try verification(of: directory)
    guard result.isSound else {
      throw CheckFailure(message: "bench: \(directory): \(result.problems)")
    }
    tools.sink.count {
      $0.journalsVerified += 1
      $0.eventsVerified += result.events
    }
  }
}
