import Benchmark
import CMallocCount
import Foundation
import Hindsight

/// Allocations, counted by CMallocCount. A metric is a whole number, and many paths make less than
/// one an operation.
let allocations = BenchmarkMetric.custom(
  "Allocations per 1,000 operations", polarity: .prefersSmaller)

let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .throughput, allocations], warmupIterations: 1, scalingFactor: .one,
    maxDuration: .seconds(1), maxIterations: 20)
  // Its threads are there before anything is counted.
  _ = TaskThreads.shared
  addMemoryBenchmarks()
  addSetBenchmarks()
  addFrameBenchmarks()
  addStoreBenchmarks()
  addUpkeepBenchmarks()
}

/// Values are JSON text, kept as it is.
typealias TextCache = Cache<[UInt8]>

/// Something did what it should not: the run ends with it.
struct BenchmarkFailure: Error {
  var message: String
}

extension Benchmark {
  /// Times `operations` runs of something as one iteration, and counts the allocations of one.
  /// - Parameter allocationsMax: the run fails where there are more.
  func timed(
    _ operations: Int, allocationsMax: Double = .infinity, _ body: () async throws -> Void
  ) async throws {
    let before = malloc_count()
    startMeasurement()
    try await body()
    stopMeasurement()
    let perOperation = Double(malloc_count() - before) / Double(operations)
    measurement(allocations, Int((perOperation * 1_000).rounded()))
    guard perOperation <= allocationsMax else {
      throw BenchmarkFailure(message: "\(name): \(perOperation) allocations an operation")
    }
  }
}

/// Calls `body` with the path of a directory that doesn't exist yet, and removes that afterwards,
/// also where `body` throws.
func withScratch(_ body: (String) async throws -> Void) async throws {
  let path = scratchPath()
  do {
    try await body(path)
  } catch {
    try removeScratch(path)
    throw error
  }
  try removeScratch(path)
}

/// The path of a temporary directory that doesn't exist yet.
func scratchPath() -> String {
  FileManager.default.temporaryDirectory
    .appendingPathComponent("hindsight-benchmarks-\(UUID().uuidString)").path
}

/// Removes such a directory, if it is there.
func removeScratch(_ path: String) throws {
  guard FileManager.default.fileExists(atPath: path) else { return }
  try FileManager.default.removeItem(atPath: path)
}

/// Keys of 20 bytes, values of about 380.
enum Input {
  static func keys(_ range: Range<Int>) throws -> [CacheKey] {
    try range.map { try CacheKey("pypi:package-\(1_000_000 + $0)") }
  }

  static func value(_ at: Int) -> [UInt8] {
    let text = (0..<30).map { "word-\((at &* 31 &+ $0 &* $0) % 97) " }.joined()
    return Array(#"{"name":"package-\#(at)","exists":true,"description":"\#(text)"}"#.utf8)
  }

  static let values = (0..<1_000).map(value)
}

func configuration(memory: UInt64, store: UInt64 = 100_000) -> CacheConfiguration {
  var configuration = CacheConfiguration()
  configuration.memoryLimit = TierLimit(entryCountMax: memory)
  configuration.storeLimit = TierLimit(entryCountMax: max(memory, store))
  return configuration
}

/// A full cache in memory alone.
func memoryCache(_ keys: [CacheKey]) async throws -> TextCache {
  let cache = try await TextCache.open(
    at: nil, coder: .jsonText, configuration: configuration(memory: UInt64(keys.count)))
  for (at, key) in keys.enumerated() {
    try await cache.set(Input.values[at % Input.values.count], for: key)
  }
  return cache
}

/// Runs so many tasks with their numbers, and waits for all of them.
func concurrently(
  _ tasks: Int, _ body: @escaping @Sendable (Int) async throws -> Void
) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    for task in 0..<tasks {
      group.addTask(executorPreference: TaskThreads.shared) { try await body(task) }
    }
    try await group.waitForAll()
  }
}

/// Runs tasks on threads of its own, one for each core.
///
/// While a benchmark runs, the benchmark library blocks one of the threads that tasks run on
/// otherwise: on two cores, two tasks would take turns.
///
/// Proof of Sendable: `jobs` is used behind `condition` alone.
final class TaskThreads: TaskExecutor, @unchecked Sendable {
  static let shared = TaskThreads()

  private let condition = NSCondition()
  private var jobs: [UnownedJob] = []

  private init() {
    for _ in 0..<ProcessInfo.processInfo.activeProcessorCount {
      Thread.detachNewThread { [self] in
        while true { next().runSynchronously(on: asUnownedTaskExecutor()) }
      }
    }
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    condition.withLock { jobs.append(job) }
    condition.signal()
  }

  private func next() -> UnownedJob {
    condition.withLock {
      while jobs.isEmpty { condition.wait() }
      return jobs.removeFirst()
    }
  }
}
