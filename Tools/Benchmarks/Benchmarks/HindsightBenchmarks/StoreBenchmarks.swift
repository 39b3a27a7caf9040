import Benchmark
import Foundation
import Glibc
import Hindsight
import HindsightTesting

/// Lookups that the store's reader thread answered, since answering in place would have waited, most often for
/// the disk: the queries beyond one a lookup.
///
/// It leaves out those that found every connection for reads in place busy, which takes three threads.
private let readerLookups = BenchmarkMetric.custom(
  "Lookups by the reader thread", polarity: .prefersSmaller)

/// Store hits and promotions, page cache warm and cold.
func addStoreBenchmarks() {
  for tasks in [1, 64] {
    for isWarm in [true, false] {
      addStoreHits(tasks: tasks, isWarm: isWarm)
    }
  }
  addPromotions()
}

private func addStoreHits(tasks: Int, isWarm: Bool) {
  let operations = 8_192
  let name = "store hit: \(isWarm ? "warm" : "cold"), \(tasks) tasks, 8,192 in all"
  addStoreBenchmark(name) { benchmark, filled in
    let keys = try filled.keys(operations, iteration: benchmark.currentIteration)
    try await filled.withCache(memory: 1) { cache in
      if !isWarm { try dropFromPageCache(filled.storePath) }
      try await benchmark.timed(operations) {
        try await concurrently(tasks) { task in
          for at in stride(from: task, to: operations, by: tasks) {
            guard try await cache.get(keys[at]) != nil else {
              throw BenchmarkFailure(message: "\(keys[at]) is missing")
            }
          }
        }
      }
      let statistics = cache.statistics
      benchmark.measurement(readerLookups, statistics.storeQueries - operations)
      guard statistics.hits.store == operations else {
        throw BenchmarkFailure(message: "only \(statistics.hits.store) lookups went to the store")
      }
    }
  }
}

private func addPromotions() {
  let operations = FilledCache.memoryCount
  addStoreBenchmark("promotion: store hit into memory, 4,096") { benchmark, filled in
    let keys = try filled.keys(operations, iteration: benchmark.currentIteration)
    try await filled.withCache(memory: operations) { cache in
      try await benchmark.timed(operations) {
        for key in keys {
          guard try await cache.get(key) != nil else {
            throw BenchmarkFailure(message: "\(key) is missing")
          }
        }
      }
      let statistics = cache.statistics
      benchmark.measurement(readerLookups, statistics.storeQueries - operations)
      guard statistics.promotions == operations else {
        throw BenchmarkFailure(message: "store hits must be promoted")
      }
    }
  }
}

/// A benchmark of a filled cache, which is made once for all of its iterations.
private func addStoreBenchmark(
  _ name: String, _ body: @escaping (Benchmark, FilledCache) async throws -> Void
) {
  let filled = FilledCache()
  let configuration = Benchmark.Configuration(
    metrics: Benchmark.defaultConfiguration.metrics + [readerLookups], maxDuration: .seconds(5))
  Benchmark(
    name, configuration: configuration, closure: { try await body($0, filled) },
    setup: { try await filled.fill() }, teardown: { try filled.remove() })
}

/// A cache that was filled and closed, so that values are in the store alone.
private final class FilledCache {
  static let count = 200_000
  /// Memory has the last entries set, which are never asked for.
  static let memoryCount = 4_096
  /// The system reads ahead: of a small database, a few lookups would bring in all.
  private static let storeByteCountMin = 64 << 20

  private let directory = scratchPath()
  /// In an order that has nothing to do with that of their rows: neighbours in the table would come
  /// with one page.
  private var scattered: [CacheKey] = []

  var storePath: String { directory + "/store.sqlite" }

  func fill() async throws {
    let keys = try Input.keys(0..<Self.count)
    try await withCache(memory: Self.memoryCount) { cache in
      for (at, key) in keys.enumerated() {
        try await cache.set(
          Input.values[at % Input.values.count], for: key, acknowledgement: .enqueued)
      }
      try await cache.settle()
    }
    let byteCount = try FileManager.default.attributesOfItem(atPath: storePath)[.size] as? Int ?? 0
    guard byteCount >= Self.storeByteCountMin else {
      throw BenchmarkFailure(message: "the store has only \(byteCount) bytes")
    }
    var random = SplitMix64(seed: 1)
    scattered = keys.dropLast(Self.memoryCount).shuffled(using: &random)
  }

  /// Calls `body` with the cache, opened with so many entries in memory.
  func withCache(memory: Int, _ body: (TextCache) async throws -> Void) async throws {
    try await Hindsight.withCache(
      at: directory, coder: .jsonText,
      configuration: configuration(memory: UInt64(memory), store: UInt64(Self.count)), body)
  }

  /// So many keys that no other iteration asks for.
  func keys(_ count: Int, iteration: Int) throws -> [CacheKey] {
    guard (iteration + 1) * count <= scattered.count else {
      throw BenchmarkFailure(message: "there are no further keys for iteration \(iteration)")
    }
    return Array(scattered[iteration * count..<(iteration + 1) * count])
  }

  func remove() throws { try removeScratch(directory) }
}

/// Asks the system to forget a file's pages (posix_fadvise(2)).
private func dropFromPageCache(_ path: String) throws {
  let file = open(path, O_RDONLY)
  guard file >= 0 else { throw BenchmarkFailure(message: "\(path): error \(errno)") }
  defer { close(file) }
  guard fdatasync(file) == 0, posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0 else {
    throw BenchmarkFailure(message: "\(path): its pages can't be dropped")
  }
}
