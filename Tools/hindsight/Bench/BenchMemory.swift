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
      guard let gets, tools.streams.fill.count >= count else { continue }
      try await tools.withDirectory("memory-\(label)") { directory in
        try await hits(label, count, gets, peer: "hindsight", directory: directory)
        try checking.journal(in: directory)
      }
      try await hits(label, count, gets, peer: "hindsight-memory", directory: nil)
    }
  }

  private func sets(peer: String, directory: String?) async throws {
    let sets = tools.streams.sets
    try await withCache(at: directory, coder: .jsonText, configuration: .init()) { cache in
      let seconds = try await BenchTools.seconds {
        for operation in sets { try await cache.set(operation, .enqueued) }
      }
      tools.sink.emit(
        "mem_set_cap1000", seconds * 1e9 / Double(sets.count), "ns/op", peer: peer)
      try await checking.readBack(
        cache, sets, count: sets.count, room: directory == nil ? 1_000 : .max)
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
      for operation in fill { try await cache.set(operation.withOwnValue, .enqueued) }
      if directory != nil { try await cache.settle() }
      if count == 100_000 { try await reportHeap(fill, before: before, peer) }
      let metric = "mem_get_hit_\(label)"
      _ = try await walk(cache, gets, tasks: 1)
      tools.sink.emit(
        "\(metric)_1t", try await walk(cache, gets, tasks: 1), "ns/op", peer: peer)
      tools.sink.emit(
        "\(metric)_2t", try await walk(cache, gets, tasks: 2), "ns/op/thread", peer: peer)
      tools.sink.emit(
        "\(metric)_1t", try walkSynchronously(cache, gets, threads: 1), "ns/op",
        peer: peer + "-sync")
      tools.sink.emit(
        "\(metric)_2t", try walkSynchronously(cache, gets, threads: 2), "ns/op/thread",
        peer: peer + "-sync")
      try await checking.readBack(cache, Array(fill), count: count)
      try await checking.expiry(cache)
    }
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

  /// Tasks walk the whole stream, from different places.
  /// - Returns: ns per get as one of them sees it.
  private func walk(_ cache: TextCache, _ gets: GetStream, tasks: Int) async throws -> Double {
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
    try check(found, tasks * count)
    return seconds * 1e9 / Double(count)
  }

  private func walkSynchronously(
    _ cache: TextCache, _ gets: GetStream, threads: Int
  ) throws -> Double {
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
    try check(threads * count - misses.take(), threads * count)
    return seconds * 1e9 / Double(count)
  }

  private func check(_ found: Int, _ expected: Int) throws {
    guard found == expected else {
      throw CheckFailure(message: "bench: \(expected - found) of \(expected) hits were misses")
    }
  }
}
