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
    var one = tools.configuration
    one.memoryLimit = TierLimit(entryCountMax: 1)
    var none = one
    none.memoryTTL = .zero
    try await tools.withDirectory("store") { directory in
      let contents = try await fill(directory, tools.streams.sets)
      for (peer, configuration) in [("hindsight", one), ("hindsight-nopromote", none)] {
        try await lookUp(
          directory, configuration, gets, contents, "persistent_get", peer, [1, 2, 64])
      }
      try await lookUp(
        directory, tools.configuration, gets, contents, "two_tier_get_zipf", "hindsight", [1])
      try await check(directory, contents)
    }
    guard let hits = tools.streams.hits100k else { return }
    guard tools.streams.fill.count >= 100_000 else {
      return tools.sink.omit("persistent_get_100k", "fill.tsv has fewer than 100000 lines")
    }
    try await tools.withDirectory("store-100k") { directory in
      let contents = try await fill(directory, Array(tools.streams.fill.prefix(100_000)))
      try await lookUp(directory, one, hits, contents, "persistent_get_100k", "hindsight", [1, 64])
      try await check(directory, contents)
    }
  }

  /// What a cache was filled with.
  private struct Contents {
    var sets: [BenchOperation]
    var made: BenchSetPeriod
  }

  private func fill(_ directory: String, _ sets: [BenchOperation]) async throws -> Contents {
    var configuration = tools.configuration
    configuration.memoryLimit = TierLimit(entryCountMax: 1)
    return try await withCache(
      at: directory, coder: .jsonText, configuration: configuration
    ) { cache in
      let made = try await BenchSetPeriod.of {
        for operation in sets { try await cache.set(operation, .enqueued) }
      }
      try await cache.settle()
      try await checking.readBack(cache, sets, count: sets.count, made: made)
      return Contents(sets: sets, made: made)
    }
  }

  /// After the lookups, the values are what they were, and the journal verifies.
  private func check(_ directory: String, _ contents: Contents) async throws {
    try await withCache(
      at: directory, coder: .jsonText, configuration: tools.configuration
    ) { cache in
      try await checking.readBack(
        cache, contents.sets, count: contents.sets.count, made: contents.made)
    }
    try checking.journal(in: directory)
  }

  private func lookUp(
    _ directory: String, _ configuration: CacheConfiguration, _ gets: GetStream,
    _ contents: Contents, _ metric: String, _ peer: String, _ tasks: [Int]
  ) async throws {
    let expected = ExpectedHits(gets, contents.sets, contents.made)
    try await withCache(at: directory, coder: .jsonText, configuration: configuration) { cache in
      for tasks in tasks {
        let isZipf = metric == "two_tier_get_zipf"
        let label = isZipf ? metric : tasks > 2 ? "\(metric)_\(tasks)w" : "\(metric)_\(tasks)t"
        guard gets.order.count >= tasks else {
          tools.sink.omit(label, peer: peer, "fewer lookups than tasks")
          continue
        }
        let walk = try await walk(cache, gets, tasks: tasks)
        try expected.check(walk, tasks: tasks, fromStore: !isZipf)
        // Two tasks: as each of them sees it, like the peers' threads. 64: all of them together.
        tools.sink.emit(
          label, (walk.ended - walk.began).seconds * 1e6 / Double(gets.order.count),
          tasks == 2 ? "us/op/thread" : "us/op", peer: peer)
      }
    }
  }

  /// One task or many walk the stream: two of them the whole of it each, from different places, as
  /// the peers' threads do; more of them a part each.
  private func walk(_ cache: TextCache, _ gets: GetStream, tasks: Int) async throws -> StoreWalk {
    let count = gets.order.count
    let queriesBefore = cache.statistics.storeQueries
    let began = BenchTools.clock.now
    let found = try await BenchTools.sum(tasks: tasks) { task in
      var found = 0
      var at = count * task / tasks
      let steps = tasks > 2 ? count * (task + 1) / tasks - at : count
      for _ in 0..<steps {
        if try await cache.get(gets.keys[Int(gets.order[at])]) != nil { found += 1 }
        at += 1
        if at == count { at = 0 }
      }
      return found
    }
    let ended = BenchTools.clock.now
    return StoreWalk(
      began: began, ended: ended, found: found,
      queries: cache.statistics.storeQueries - queriesBefore)
  }
}
