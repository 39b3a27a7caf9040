import Benchmark
import Hindsight

/// An actor that asks a cache: a hit must not leave it.
private actor Asker {
  func ask(_ cache: TextCache, _ keys: [CacheKey]) async throws -> Int {
    var found = 0
    for key in keys where try await cache.get(key) != nil { found += 1 }
    return found
  }
}

/// Hits and misses of the memory tier, and keys.
func addMemoryBenchmarks() {
  for count in [1_000, 100_000] {
    addHits(count)
    addMisses(count)
  }
  let operations = 10_000
  Benchmark("key: registry and package") { benchmark in
    try await benchmark.timed(operations) {
      for at in 0..<operations {
        blackHole(try CacheKey(registry: "PyPI", package: "My_Package-\(at % 10)"))
      }
    }
  }
  Benchmark("key: raw") { benchmark in
    try await benchmark.timed(operations) {
      for _ in 0..<operations { blackHole(try CacheKey("pypi:my-package-0001")) }
    }
  }
}

private func check(_ found: Int, _ expected: Int) throws {
  guard found == expected else {
    throw BenchmarkFailure(message: "\(found) of \(expected) lookups found what they should")
  }
}

private func addHits(_ count: Int) {
  let operations = 100_000
  for tasks in [1, 2] {
    Benchmark("memory hit: \(count) entries, \(tasks) tasks, each 100,000") { benchmark in
      let keys = try Input.keys(0..<count)
      let cache = try await memoryCache(keys)
      // The tasks themselves allocate; the hits don't.
      try await benchmark.timed(operations * tasks, allocationsMax: 0.001) {
        try await concurrently(tasks) { task in
          var found = 0
          for at in 0..<operations
          where try await cache.get(keys[(at &* 7 &+ task &* 31) % count]) != nil {
            found += 1
          }
          try check(found, operations)
        }
      }
    }
  }
  Benchmark("memory hit: \(count) entries, from an actor, 100,000") { benchmark in
    let keys = try Input.keys(0..<count)
    let cache = try await memoryCache(keys)
    let asked = (0..<operations).map { keys[$0 &* 7 % count] }
    let asker = Asker()
    try await benchmark.timed(operations, allocationsMax: 0.001) {
      try check(try await asker.ask(cache, asked), operations)
    }
  }
  Benchmark("memory hit: \(count) entries, memoryValue(for:), 100,000") { benchmark in
    let keys = try Input.keys(0..<count)
    let cache = try await memoryCache(keys)
    try await benchmark.timed(operations, allocationsMax: 0.001) {
      var found = 0
      for at in 0..<operations where cache.memoryValue(for: keys[at &* 7 % count]) != nil {
        found += 1
      }
      try check(found, operations)
    }
  }
}

private func addMisses(_ count: Int) {
  let operations = 100_000
  for tasks in [1, 2] {
    Benchmark("memory miss: \(count) entries, \(tasks) tasks, each 100,000") { benchmark in
      let cache = try await memoryCache(try Input.keys(0..<count))
      let absent = try Input.keys(1_000_000..<1_001_000)
      try await benchmark.timed(operations * tasks) {
        try await concurrently(tasks) { _ in
          var missed = 0
          for at in 0..<operations where try await cache.get(absent[at % absent.count]) == nil {
            missed += 1
          }
          try check(missed, operations)
        }
      }
    }
  }
}
