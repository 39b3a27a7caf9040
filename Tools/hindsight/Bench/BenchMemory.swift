import CHindsightSQLite
import Foundation
import Hindsight
import HindsightCore

/// The memory tier: sets into a small one, and hits of a full one.
///
/// `hindsight` is a cache with journal and store, as it is opened by default, and its `get`;
/// `hindsight-memory` is one without a directory. `…-sync` asks it with `memoryValue(for:)`.
struct BenchMemory {
  let tools: BenchTools
  private var checking: BenchChecking { BenchChecking(tools: tools) }

  func run() async throws {
    try await sets(peer: "hindsight-memory", directory: nil)
    try await tools.withDirectory("memory-sets") { directory in
      try await sets(peer: "hindsight", directory: directory)
      try checking.journal(in: directory)
    }
    for (label, count, gets) in [
      ("1k", 1_000, tools.streams.hits1k), ("100k", 100_000, tools.streams.hits100k),
    ] {
      guard let gets else { continue }
      if let obstacle = obstacle(count, gets) {
        tools.sink.omit("mem_get_hit_\(label)", obstacle)
        continue
      }
      try await tools.withDirectory("memory-\(label)") { directory in
        try await hits(label, count, gets, peer: "hindsight", directory: directory)
        try checking.journal(in: directory)
      }
      try await hits(label, count, gets, peer: "hindsight-memory", directory: nil)
    }
  }

  /// Why lookups of a stream can't all be hits of a memory that so many sets have filled.
  private func obstacle(_ count: Int, _ gets: GetStream) -> String? {
    let keys = Set(tools.streams.fill.prefix(count).map(\.key))
    guard keys.count == count else {
      return "the first \(count) lines of fill.tsv set \(keys.count) keys"
    }
    let others = gets.keys.lazy.filter { !keys.contains($0) }.count
    return others == 0
      ? nil : "\(others) of its keys are not in the first \(count) lines of fill.tsv"
  }

  private func sets(peer: String, directory: String?) async throws {
    let sets = tools.streams.sets
    let configuration = tools.configuration
    try await withCache(at: directory, coder: .jsonText, configuration: configuration) { cache in
      let began = BenchTools.clock.now
      for operation in sets { try await cache.set(operation, .enqueued) }
      let made = BenchSetPeriod(began: began, ended: BenchTools.clock.now)
      let seconds = (made.ended - began).seconds
      tools.sink.emit(
        "mem_set_cap1000", seconds * 1e9 / Double(sets.count), "ns/op", peer: peer)
      try await checking.readBack(
        cache, sets, count: sets.count, made: made,
        room: directory == nil ? Int(configuration.memoryLimit.entryCountMax) : .max)
    }
  }

  private func hits(
    _ label: String, _ count: Int, _ gets: GetStream, peer: String, directory: String?
  ) async throws {
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: UInt64(count))
    configuration.storeLimit = TierLimit(entryCountMax: 100_000)
    // Values of their own, as those of a program that has just received them.
    let fill = tools.streams.fill.prefix(count)
    let before = BenchTools.heapByteCount
    try await withCache(at: directory, coder: .jsonText, configuration: configuration) { cache in
      let made = try await BenchSetPeriod.of {
        for operation in fill { try await cache.set(operation.withOwnValue, .enqueued) }
      }
      if directory != nil { try await cache.settle() }
      if count == 100_000, cache.count.memory == count {
        try await reportHeap(fill, before: before, peer)
      }
      try await walks(cache, gets, "mem_get_hit_\(label)", peer) {
        let now = BenchTools.clock.now
        return fill.contains { !made.isAlive($0.ttl, at: now) }
      }
      try await checking.readBack(cache, Array(fill), count: count, made: made)
      try await checking.expiry(cache)
    }
  }

  /// - Parameter isExpiring: whether by now some lookups may be misses.
  private func walks(
    _ cache: TextCache, _ gets: GetStream, _ metric: String, _ peer: String,
    isExpiring: () -> Bool
  ) async throws {
    func report(_ label: String, _ peer: String, _ unit: String, _ walk: Walk) throws {
      if walk.misses == 0 {
        tools.sink.emit(metric + label, walk.nanoseconds, unit, peer: peer)
      } else if isExpiring() {
        tools.sink.omit(metric + label, peer: peer, "values expired meanwhile")
      } else {
        throw CheckFailure(message: "bench: \(walk.misses) hits of \(metric) were misses")
      }
    }
    _ = try await walk(cache, gets, tasks: 1)
    try report("_1t", peer, "ns/op", await walk(cache, gets, tasks: 1))
    try report("_2t", peer, "ns/op/thread", await walk(cache, gets, tasks: 2))
    try report("_1t", peer + "-sync", "ns/op", walkSynchronously(cache, gets, threads: 1))
    try report("_2t", peer + "-sync", "ns/op/thread", walkSynchronously(cache, gets, threads: 2))
  }

  /// What the heap has grown by, once a checkpoint on its way is written: with keys and values, and
  /// without them an entry.
  private func reportHeap(
    _ fill: ArraySlice<BenchOperation>, before: Int, _ peer: String
  ) async throws {
    var grown = BenchTools.heapByteCount - before
    for _ in 0..<20 {
      try await Task.sleep(for: .milliseconds(250))
      let last = grown
      grown = BenchTools.heapByteCount - before
      if abs(grown - last) < 64 << 10 { break }
    }
    let payload = fill.reduce(0) { $0 + $1.key.rawValue.utf8.count + $1.value.count }
    tools.sink.emit(
      "sqlite_memory_100k_entries", Double(sqlite3_memory_used()) / 1_048_576, "MiB", peer: peer)
    tools.sink.emit("heap_100k_entries", Double(grown) / 1_048_576, "MiB", peer: peer)
    tools.sink.emit(
      "heap_100k_beyond_key_and_value", Double(grown - payload) / Double(fill.count), "B/entry",
      peer: peer)
  }

  private struct Walk {
    /// A get, as one of the tasks or threads sees it.
    var nanoseconds: Double
    var misses: Int
  }

  /// Tasks walk the whole stream, from different places.
  private func walk(_ cache: TextCache, _ gets: GetStream, tasks: Int) async throws -> Walk {
    var found = 0
    let count = gets.order.count
    let seconds = try await BenchTools.seconds {
      found = try await BenchTools.sum(tasks: tasks) { task in
        var at = count / tasks * task
        var found = 0
        for _ in 0..<count {
          if try await cache.get(gets.keys[Int(gets.order[at])]) != nil { found += 1 }
          at += 1
          if at == count { at = 0 }
        }
        return found
      }
    }
    return Walk(nanoseconds: seconds * 1e9 / Double(count), misses: tasks * count - found)
  }

  private func walkSynchronously(
    _ cache: TextCache, _ gets: GetStream, threads: Int
  ) -> Walk {
    let count = gets.order.count
    let misses = SharedCounter()
    let began = BenchTools.clock.now
    DispatchQueue.concurrentPerform(iterations: threads) { thread in
      var at = count / threads * thread
      for _ in 0..<count {
        if cache.memoryValue(for: gets.keys[Int(gets.order[at])]) == nil { _ = misses.take() }
        at += 1
        if at == count { at = 0 }
      }
    }
    let seconds = (BenchTools.clock.now - began).seconds
    return Walk(nanoseconds: seconds * 1e9 / Double(count), misses: misses.take())
  }
}
