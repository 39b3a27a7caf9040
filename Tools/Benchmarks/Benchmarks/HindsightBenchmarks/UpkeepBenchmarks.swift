import Benchmark
import Foundation
import Hindsight
import HindsightReplay
import HindsightTesting

/// What happens beside reads and writes: expiry, projection, checkpoints, recovery, readers of journals.
func addUpkeepBenchmarks() {
  let count = 10_000
  Benchmark("expiry sweep: 10,000 entries") { benchmark in
    let clock = ManualClock()
    var configuration = configuration(memory: UInt64(count))
    configuration.clock = clock
    configuration.sweepInterval = nil
    let cache = try await TextCache.open(
      at: nil, coder: .jsonText, configuration: configuration)
    for (at, key) in try Input.keys(0..<count).enumerated() {
      try await cache.set(
        Input.values[at % Input.values.count], for: key, memoryTTL: .seconds(60))
    }
    clock.advance(by: .seconds(61))
    try await benchmark.timed(count) {
      guard try await cache.cleanupExpired() == count else {
        throw BenchmarkFailure(message: "a sweep must remove all that has expired")
      }
    }
  }
  Benchmark("projection: 10,000 sets until SQLite has them") { benchmark in
    try await withScratch { scratch in
      let keys = try Input.keys(0..<count)
      let cache = try await TextCache.open(at: scratch, coder: .jsonText)
      try await benchmark.timed(count) {
        try await fill(cache, keys)
        try await cache.settle()
      }
      try await cache.close()
    }
  }
  addRecovery(count)
  addReaders(count)
}

private func addReaders(_ count: Int) {
  Benchmark("checkpoint: 10,000 entries, at the close") { benchmark in
    try await withScratch { scratch in
      var configuration = CacheConfiguration()
      configuration.usesStore = false
      configuration.memoryLimit = TierLimit(entryCountMax: UInt64(count))
      let cache = try await TextCache.open(
        at: scratch, coder: .jsonText, configuration: configuration)
      try await fill(cache, try Input.keys(0..<count))
      try await cache.flush()
      try await benchmark.timed(count) { try await cache.close() }
    }
  }
  for verifies in [false, true] {
    let name = verifies ? "verify" : "decode and apply"
    Benchmark("\(name): 10,000 sets and what they entail") { benchmark in
      try await withScratch { scratch in
        var configuration = CacheConfiguration()
        configuration.usesStore = false
        try await withCache(
          at: scratch, coder: .jsonText, configuration: configuration
        ) { try await fill($0, try Input.keys(0..<count)) }
        var found = 0
        try await benchmark.timed(count) {
          if verifies {
            let verification = try Verifier(directory: scratch).run()
            found = verification.problems.isEmpty ? verification.events : 0
          } else {
            _ = try EventStream(directory: scratch).replay { _ in found += 1 }
          }
        }
        guard found > count else { throw BenchmarkFailure(message: "\(name): \(found) events") }
      }
    }
  }
}

private func fill(_ cache: TextCache, _ keys: [CacheKey]) async throws {
  for (at, key) in keys.enumerated() {
    try await cache.set(
      Input.values[at % Input.values.count], for: key, acknowledgement: .enqueued)
  }
}

private func addRecovery(_ count: Int) {
  for hasCheckpoint in [true, false] {
    let name = hasCheckpoint ? "from its checkpoint" : "replaying every event"
    Benchmark("recovery: 10,000 sets, \(name)") { benchmark in
      try await withScratch { scratch in
        var configuration = CacheConfiguration()
        // Small, so that the last checkpoint, which stands at a segment's start, holds most entries.
        if hasCheckpoint { configuration.segmentByteCount = 64 << 10 }
        try await withCache(
          at: scratch, coder: .jsonText, configuration: configuration
        ) { cache in
          try await fill(cache, try Input.keys(0..<count))
          // Checkpoints are written beside the writes: a few more, once that has caught up.
          for part in 0..<(hasCheckpoint ? 4 : 0) {
            try await cache.settle()
            try await fill(cache, try Input.keys(500 * part..<500 * (part + 1)))
          }
        }
        if !hasCheckpoint {
          for name in try FileManager.default.contentsOfDirectory(atPath: scratch)
          where name.hasSuffix(".checkpoint") {
            try FileManager.default.removeItem(atPath: "\(scratch)/\(name)")
          }
        }
        var reopened: TextCache?
        try await benchmark.timed(count) {
          reopened = try await TextCache.open(at: scratch, coder: .jsonText)
        }
        guard let recovery = reopened?.recovery, reopened?.count.store == count,
          hasCheckpoint == (recovery.replayedEvents < count)
        else { throw BenchmarkFailure(message: "recovery must bring everything back") }
        try await reopened?.close()
      }
    }
  }
}
