import Benchmark
import Hindsight

/// Sets at each acknowledgement level, and evictions.
func addSetBenchmarks() {
  for (level, total) in [
    (Acknowledgement.enqueued, 8_192), (.written, 4_096), (.durable, 256),
  ] {
    for callers in [1, 16, 64] {
      Benchmark("set: .\(level), \(callers) callers, \(total)") { benchmark in
        try await withScratch { scratch in
          let cache = try await TextCache.open(at: scratch, coder: .jsonText)
          let keys = try Input.keys(0..<total)
          try await benchmark.timed(total) {
            try await concurrently(callers) { caller in
              for at in stride(from: caller, to: total, by: callers) {
                try await cache.set(
                  Input.values[at % Input.values.count], for: keys[at], acknowledgement: level)
              }
            }
          }
          try await cache.close()
        }
      }
    }
  }
  let operations = 10_000
  Benchmark("set and evict: memory alone, 1,000 entries, 10,000") { benchmark in
    let cache = try await memoryCache(try Input.keys(0..<1_000))
    let keys = try Input.keys(1_000..<1_000 + operations)
    try await benchmark.timed(operations) {
      for (at, key) in keys.enumerated() {
        try await cache.set(Input.values[at % Input.values.count], for: key)
      }
    }
    guard cache.statistics.evictions.memory >= operations else {
      throw BenchmarkFailure(message: "sets into a full cache must evict")
    }
  }
  Benchmark("frame: 64 sets and their frame, 64 times") { benchmark in
    try await withScratch { scratch in
      let cache = try await TextCache.open(at: scratch, coder: .jsonText)
      let keys = try Input.keys(0..<4_096)
      try await benchmark.timed(keys.count) {
        for (at, key) in keys.enumerated() {
          try await cache.set(
            Input.values[at % Input.values.count], for: key, acknowledgement: .enqueued)
          if at % 64 == 63 { try await cache.flush(to: .written) }
        }
      }
      try await cache.close()
    }
  }
}
