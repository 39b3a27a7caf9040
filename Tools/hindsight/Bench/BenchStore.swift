import Foundation
import Hindsight
import HindsightCore

/// The store tier: lookups that SQLite answers, page cache warm, no writer busy.
///
/// `hindsight` keeps one entry in memory, so that a lookup is a store hit and a promotion (but for
/// a key twice in a row); `hindsight-nopromote` has a memory TTL of 0, which leaves the promotion's
/// events out. `two_tier_get_zipf` is the stream through both tiers with their default sizes.
struct BenchStore {
  let tools: BenchTools
  private var checking: BenchChecking { BenchChecking(tools: tools) }

  func run() async throws {
    guard let gets = tools.streams.gets else { return }
    let sets = tools.streams.sets
    var one = CacheConfiguration()
    one.memoryLimit = TierLimit(entryCountMax: 1)
    var none = one
    none.memoryTTL = .zero
    try await tools.withDirectory("store") { directory in
      try await fill(directory, sets)
      for (peer, configuration) in [("hindsight", one), ("hindsight-nopromote", none)] {
        try await lookUp(directory, configuration, gets, "persistent_get", peer, [1, 2, 64])
      }
      try await lookUp(directory, .init(), gets, "two_tier_get_zipf", "hindsight", [1])
      try checking.journal(in: directory)
    }
    guard let hits = tools.streams.hits100k, tools.streams.fill.count >= 100_000 else { return }
    try await tools.withDirectory("store-100k") { directory in
      try await fill(directory, Array(tools.streams.fill.prefix(100_000)))
      try await lookUp(directory, one, hits, "persistent_get_100k", "hindsight", [1, 64])
    }
  }

  private func fill(_ directory: String, _ operations: [BenchOperation]) async throws {
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: 1)
    try await withCache(at: directory, coder: .jsonText, configuration: configuration) { cache in
      for operation in operations { try await cache.set(operation, .enqueued) }
      try await cache.settle()
      try await checking.readBack(cache, operations, count: operations.count)
    }
  }

  private func lookUp(
    _ directory: String, _ configuration: CacheConfiguration, _ gets: GetStream,
    _ metric: String, _ peer: String, _ tasks: [Int]
  ) async throws {
    try await withCache(at: directory, coder: .jsonText, configuration: configuration) { cache in
      for tasks in tasks {
        let isZipf = metric == "two_tier_get_zipf"
        let seconds = try await walk(cache, gets, tasks: tasks, fromStore: !isZipf)
        let label = isZipf ? "" : tasks > 2 ? "_\(tasks)w" : "_\(tasks)t"
        // Two tasks: as each of them sees it, like the peers' threads. 64: all of them together.
        let operations = Double(gets.order.count)
        tools.sink.emit(
          metric + label, seconds * 1e6 / operations, tasks == 2 ? "us/op/thread" : "us/op",
          peer: peer)
      }
    }
  }

  /// One task or many walk the stream: two of them the whole of it each, from different places, as
  /// the peers' threads do; more of them a part each.
  /// - Parameter fromStore: whether SQLite must have answered all but a few.
  private func walk(
    _ cache: TextCache, _ gets: GetStream, tasks: Int, fromStore: Bool
  ) async throws -> Double {
    let count = gets.order.count
    let steps = tasks > 2 ? count / tasks : count
    let queriesBefore = cache.statistics.storeQueries
    var found = 0
    let seconds = try await BenchTools.seconds {
      found = try await BenchTools.sum(tasks: tasks) { task in
        var found = 0
        var at = count / tasks * task
        for _ in 0..<steps {
          if let value = try await cache.get(gets.keys[Int(gets.order[at])]), !value.isEmpty {
            found += 1
          }
          at += 1
          if at == count { at = 0 }
        }
        return found
      }
    }
    guard found * 10 > steps * tasks * 9 else {
      throw CheckFailure(message: "bench: only \(found) of \(steps * tasks) lookups were hits")
    }
    let queries = cache.statistics.storeQueries - queriesBefore
    guard !fromStore || queries * 10 > found * 8 else {
      throw CheckFailure(message: "bench: \(queries) queries for \(found) hits of the store")
    }
    return seconds * Double(count) / Double(steps * (tasks > 2 ? tasks : 1))
  }
}
