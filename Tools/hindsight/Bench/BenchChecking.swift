import Foundation
import Hindsight
import HindsightCore
import HindsightReplay

/// What a cache must hold after a run, and whether it does. Never inside a timed part.
struct BenchChecking: Sendable {
  let tools: BenchTools

  private static let sampleCountMax = 10_000

  /// Reads back what the first `count` sets of a stream left behind, compares the bytes, and holds
  /// the remaining time against the TTL. What has expired must be absent, all else there.
  /// - Parameters:
  ///   - made: when the sets were made.
  ///   - isOrdered: whether one caller made the sets, so that the last one of a key must be the one
  ///     in force; else it may be any of the key's.
  ///   - room: how many of the keys the cache has room for.
  func readBack(
    _ cache: TextCache, _ operations: [BenchOperation], count: Int, made: BenchSetPeriod,
    isOrdered: Bool = true, room: Int = .max
  ) async throws {
    var candidates: [CacheKey: [Int]] = [:]
    for at in 0..<min(count, operations.count) {
      candidates[operations[at].key, default: []].append(at)
    }
    var found = 0
    var missing = 0
    for (key, indices) in candidates {
      let possible = (isOrdered ? indices.suffix(1) : indices[...]).map { operations[$0] }
      let before = BenchTools.clock.now
      if case .hit(let hit) = try await cache.lookup(key) {
        found += 1
        let after = BenchTools.clock.now
        // A set of a stream gives its TTL to both tiers; a promotion, the memory tier's to memory.
        let promotionTTL = hit.tier == .memory ? tools.configuration.memoryTTL : nil
        try check(hit, of: key, possible.filter { made.mayBeAlive($0.ttl, at: before) }) {
          made.remainder(of: $0, promotionTTL: promotionTTL, from: before, to: after)
        }
      } else {
        let after = BenchTools.clock.now
        if possible.allSatisfy({ made.isAlive($0.ttl, at: after) }) { missing += 1 }
      }
    }
    guard missing <= max(0, candidates.count - room) else {
      throw CheckFailure(
        message: "bench: \(missing) of \(candidates.count) keys are absent before their expiry")
    }
    guard found <= room else {
      throw CheckFailure(message: "bench: \(found) keys are there, with room for \(room)")
    }
    tools.sink.count { [found] in $0.valuesCompared += found }
  }

  /// - Parameters:
  ///   - possible: the sets that a hit may come from.
  ///   - remainder: what can be left of a TTL.
  private func check(
    _ hit: Hit<[UInt8]>, of key: CacheKey, _ possible: [BenchOperation],
    remainder: (Duration) -> ClosedRange<Duration>
  ) throws {
    guard !possible.isEmpty else {
      throw CheckFailure(message: "bench: \(key) outlived its TTL")
    }
    let equal = possible.filter { $0.value == hit.value }
    guard !equal.isEmpty else { throw CheckFailure(message: "bench: \(key) has a wrong value") }
    guard hit.expiresIn > .zero,
      equal.contains(where: { remainder($0.ttl).contains(hit.expiresIn) })
    else {
      throw CheckFailure(message: "bench: \(key) has a wrong expiry, in \(hit.expiresIn)")
    }
  }

  /// A short TTL is honoured: the value is there before its end, and absent after it. A machine so busy
  /// that the end has come before the first look gets a longer TTL.
  func expiry(_ cache: TextCache) async throws {
    let key = try CacheKey("bench:short-lived")
    let value = Array("1".utf8)
    for ttl in [Duration.milliseconds(200), .seconds(1), .seconds(5), .seconds(25)] {
      let began = BenchTools.clock.now
      try await cache.set(value, for: key, memoryTTL: ttl, storeTTL: ttl)
      let found = try await cache.get(key)
      guard found == value else {
        if found == nil, BenchTools.clock.now - began >= ttl { continue }
        throw CheckFailure(message: "bench: a value is absent before its expiry")
      }
      try await Task.sleep(for: ttl + .milliseconds(50))
      guard try await cache.get(key) == nil else {
        throw CheckFailure(message: "bench: a value outlived its TTL")
      }
      return tools.sink.count { $0.expiriesSeen += 1 }
    }
    throw CheckFailure(message: "bench: no look at a value came before its expiry")
  }

  /// Reads back at most 10,000 of so many values, evenly chosen, and compares the bytes.
  /// - Parameter entry: the key at an index, and the value that it must have.
  func sample(
    _ cache: TextCache, of count: Int, _ entry: (Int) throws -> (CacheKey, [UInt8])
  ) async throws {
    let step = (count + Self.sampleCountMax - 1) / Self.sampleCountMax
    for at in stride(from: 0, to: count, by: step) {
      let (key, value) = try entry(at)
      guard try await cache.get(key) == value else {
        throw CheckFailure(message: "bench: \(key) has a wrong value, or none")
      }
      tools.sink.count { $0.valuesCompared += 1 }
    }
  }

  /// The journal and the store of a closed cache verify.
  @discardableResult
  func journal(in directory: String) throws -> Verification {
    let result = try verification(of: directory)
    guard result.isSound else {
      throw CheckFailure(message: "bench: \(directory): \(result.problems)")
    }
    tools.sink.count {
      $0.journalsVerified += 1
      $0.eventsVerified += result.events
    }
    return result
  }
}
