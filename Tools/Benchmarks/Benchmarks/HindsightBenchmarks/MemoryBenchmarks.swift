import Benchmark
import Hindsight

/// An actor that asks a cache: a hit must not leave it.
private actor Asker {
  /// - Returns: how many of the keys were there.
  func ask(_ cache: TextCache, _ keys: [CacheKey]) async throws -> Int {
    var found = 0
    for key in keys where try await cache.get(key) != nil { found += 1 }
    return found
  }
}

/// Lookups by actors, each in a task of its own, so that two of them take two threads.
/// - Parameter found: how many of each one's keys must be there.
private func askFromActors(
  _ count: Int, _ cache: TextCache, _ keys: [CacheKey], found: Int
) async throws {
  let askers = (0..<count).map { _ in Asker() }
  try await concurrently(count) { at in
    try check(try await askers[at].ask(cache, keys), found)
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
  for actors in [1, 2] {
    Benchmark("memory hit: \(count) entries, from \(actors) actors, each 100,000") { benchmark in
      let keys = try Input.keys(0..<count)
      let cache = try await memoryCache(keys)
      let asked = (0..<operations).map { keys[$0 &* 7 % count] }
      try await benchmark.timed(operations * actors, allocationsMax: 0.001) {
        try await askFromActors(actors, cache, asked, found: operations)
      }
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
  for actors in [1, 2] {
    Benchmark("memory miss: \(count) entries, from \(actors) actors, each 100,000") { benchmark in
      let cache = try await memoryCache(try Input.keys(0..<count))
      let absent = try Input.keys(1_000_000..<1_001_000)
      let asked = (0..<operations).map { absent[$0 % absent.count] }
      try await benchmark.timed(operations * actors) {
        try await askFromActors(actors, cache, asked, found: 0)
      }
    }
  }
}
