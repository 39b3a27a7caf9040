import Benchmark
import Foundation
import Glibc
import Hindsight

/// Store hits and promotions, page cache warm and cold.
func addStoreBenchmarks() {
  for tasks in [1, 64] {
    for isWarm in [true, false] {
      addStoreHits(tasks: tasks, isWarm: isWarm)
    }
  }
  Benchmark("promotion: store hit into memory, 4,096") { benchmark in
    try await withFilled(memory: 4_096, keyCount: 8_192) { cache, keys, _ in
      // Memory holds the last half; the first is promoted.
      try await benchmark.timed(4_096) {
        for key in keys[..<4_096] {
          guard try await cache.get(key) != nil else {
            throw BenchmarkFailure(message: "\(key) is missing")
          }
        }
      }
      guard cache.statistics.promotions >= 4_096 else {
        throw BenchmarkFailure(message: "store hits must be promoted")
      }
    }
  }
}

private func addStoreHits(tasks: Int, isWarm: Bool) {
  let operations = 8_192
  let name = "store hit: \(isWarm ? "warm" : "cold"), \(tasks) tasks, 8,192 in all"
  Benchmark(name) { benchmark in
    try await withFilled(memory: 1, keyCount: operations) { cache, keys, directory in
      if !isWarm { try dropFromPageCache(directory + "/store.sqlite") }
      try await benchmark.timed(operations) {
        try await concurrently(tasks) { task in
          for at in stride(from: task, to: operations, by: tasks) {
            guard try await cache.get(keys[at]) != nil else {
              throw BenchmarkFailure(message: "\(keys[at]) is missing")
            }
          }
        }
      }
    }
  }
}

/// A cache that was filled, closed and opened again, so that values are in the store alone.
private func withFilled(
  memory: UInt64, keyCount: Int,
  _ body: (TextCache, [CacheKey], String) async throws -> Void
) async throws {
  try await withScratch { scratch in
    let keys = try Input.keys(0..<keyCount)
    try await withCache(
      at: scratch, coder: .jsonText, configuration: configuration(memory: memory)
    ) { cache in
      for (at, key) in keys.enumerated() {
        try await cache.set(
          Input.values[at % Input.values.count], for: key, acknowledgement: .enqueued)
      }
      try await cache.settle()
    }
    let cache = try await TextCache.open(
      at: scratch, coder: .jsonText, configuration: configuration(memory: memory))
    try await body(cache, keys, scratch)
    try await cache.close()
  }
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
