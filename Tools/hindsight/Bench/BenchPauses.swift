import Foundation
import Glibc
import Hindsight
import HindsightCore
import Histogram
import Synchronization

/// How long an operation of the memory tier takes at worst while everything else is going on: sets
/// that fill segments, checkpoints, retention, sweeps of what expires, projection into SQLite.
struct BenchPauses {
  let sink: BenchSink
  let workDirectory: String
  let entryCount: Int
  let seconds: Double

  /// Bytes of a value.
  private static let valueByteCount = 100
  /// One set in so many has a TTL that the sweeper has to look after.
  private static let expiringShare = 4

  func run() async throws {
    let directory = "\(workDirectory)/hindsight-pauses-\(getpid())"
    BenchCleanup.add(directory: directory)
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: UInt64(entryCount))
    configuration.storeLimit = configuration.memoryLimit
    // Small, so that all of it happens often.
    configuration.segmentByteCount = 4 << 20
    configuration.retention = Retention(byteCountMax: 32 << 20)
    do {
      try await withCache(at: directory, coder: .jsonText, configuration: configuration) {
        try await measure($0, directory)
      }
    } catch {
      try removeIfThere(directory)
      throw error
    }
    try removeIfThere(directory)
  }

  private func measure(_ cache: TextCache, _ directory: String) async throws {
    let input = BenchInput(valueByteCount: Self.valueByteCount)
    let keys = try input.keys(0..<entryCount)
    for (at, key) in keys.enumerated() {
      try await cache.set(input.value(at), for: key, acknowledgement: .enqueued)
    }
    try await cache.settle()
    report("clock_quiet", try await probe(nil, keys, seconds: seconds / 4))
    report("hit_quiet", try await probe(cache, keys, seconds: seconds / 4))
    let before = (cache.statistics, try BackgroundFiles(directory))
    let isOver = Atomic<Bool>(false)
    async let sets = writeUntilOver(cache, input, keys, isOver)
    let control = try await probe(nil, keys, seconds: seconds / 4)
    let hits = try await probe(cache, keys, seconds: seconds)
    isOver.store(true, ordering: .relaxed)
    report("clock_busy", control)
    report("hit_busy", hits)
    report("set_busy", try await sets)
    let after = (cache.statistics, try BackgroundFiles(directory))
    try emitBackground(before, after)
  }

  /// Sets without a break, as fast as the queues let them in: new keys and old ones, some of them
  /// short-lived.
  private func writeUntilOver(
    _ cache: TextCache, _ input: BenchInput, _ keys: [CacheKey], _ isOver: borrowing Atomic<Bool>
  ) async throws -> PauseRecord {
    var record = PauseRecord()
    var at = 0
    while !isOver.load(ordering: .relaxed) {
      // Old keys are passed over by the prober; every fourth of them expires.
      let key = keys[(at &* 7_919) % keys.count]
      let isShort = at % Self.expiringShare == 0
      let value = input.value(at)
      let start = BenchTools.clock.now
      try await cache.set(
        value, for: key, memoryTTL: isShort ? .seconds(1) : nil, acknowledgement: .enqueued)
      record.add(start.duration(to: BenchTools.clock.now))
      at += 1
    }
    return record
  }

  /// Asks for one key after the other for so long, on a thread of its own. Without a cache it only
  /// reads the clock: that shows what the machine does to any thread.
  private func probe(
    _ cache: TextCache?, _ keys: [CacheKey], seconds: Double
  ) async throws -> PauseRecord {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        var record = PauseRecord()
        var found = 0
        var at = 0
        let end = BenchTools.clock.now.advanced(by: .seconds(seconds))
        var start = BenchTools.clock.now
        while start < end {
          if let cache {
            if cache.memoryValue(for: keys[(at &* 104_729) % keys.count]) != nil { found += 1 }
          } else {
            found += 1
          }
          let now = BenchTools.clock.now
          record.add(start.duration(to: now))
          start = now
          at += 1
        }
        // Short-lived entries may be absent.
        if found * 2 > at {
          continuation.resume(returning: record)
        } else {
          continuation.resume(
            throwing: CheckFailure(message: "bench: \(found) of \(at) keys were in memory"))
        }
      }
    }
  }

  private func report(_ metric: String, _ record: PauseRecord) {
    sink.emit("\(metric)_count", Double(record.all.totalCount), "operations")
    for (name, percentile) in [("p50", 50.0), ("p99", 99), ("p99.9", 99.9)] {
      sink.emit(
        "\(metric)_\(name)", Double(record.all.valueAtPercentile(percentile)) / 1e3, "us")
    }
    sink.emit("\(metric)_max", Double(record.longest) / 1e3, "us")
    // The scheduler took the processor away during the others.
    sink.emit("\(metric)_max_while_running", Double(record.longestRunning) / 1e3, "us")
  }

  private func emitBackground(
    _ before: (CacheStatistics, BackgroundFiles), _ after: (CacheStatistics, BackgroundFiles)
  ) throws {
    let rows: [(String, Int)] = [
      ("segments", after.1.lastSegment - before.1.lastSegment),
      ("segments_dropped", after.1.firstSegment - before.1.firstSegment),
      ("checkpoints", after.1.lastCheckpoint - before.1.lastCheckpoint),
      ("swept", after.0.expiries.memory - before.0.expiries.memory),
      ("events_applied_to_store", Int(after.0.appliedSequence - before.0.appliedSequence)),
    ]
    for (name, count) in rows { sink.emit("busy_\(name)", Double(count), "count") }
    for (name, count) in rows where count == 0 {
      Output.diagnose("bench: no \(name) while it was measured; run it longer (--seconds)")
    }
  }

  private func removeIfThere(_ path: String) throws {
    guard FileManager.default.fileExists(atPath: path) else { return }
    try FileManager.default.removeItem(atPath: path)
  }
}

/// The durations of operations of one thread.
private struct PauseRecord: Sendable {
  /// From here on it is looked at whether the thread was running all the time.
  private static let long: UInt64 = 100_000

  var all = Histogram<UInt64>(
    highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
  /// In nanoseconds.
  var longest: UInt64 = 0
  /// The longest one during which the scheduler didn't take the processor away.
  var longestRunning: UInt64 = 0
  private var preemptions = 0

  mutating func add(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    let nanoseconds = UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    all.record(nanoseconds)
    longest = max(longest, nanoseconds)
    guard nanoseconds >= Self.long else {
      longestRunning = max(longestRunning, nanoseconds)
      return
    }
    // Counted since the last long one: a preemption between two may hide a pause, but only one.
    let now = Self.preemptionCount()
    if now == preemptions { longestRunning = max(longestRunning, nanoseconds) }
    preemptions = now
  }

  /// Involuntary context switches of this thread (getrusage(2)).
  private static func preemptionCount() -> Int {
    var usage = rusage()
    getrusage(1, &usage)  // RUSAGE_THREAD
    return usage.ru_nivcsw
  }
}

/// What background work leaves in the directory.
private struct BackgroundFiles {
  var firstSegment = 0
  var lastSegment = 0
  var lastCheckpoint = 0

  init(_ directory: String) throws {
    func numbers(_ suffix: String) throws -> [Int] {
      try FileManager.default.contentsOfDirectory(atPath: directory)
        .filter { $0.hasSuffix(suffix) }
        .compactMap { Int($0.dropLast(suffix.count)) }.sorted()
    }
    let segments = try numbers(".journal")
    firstSegment = segments.first ?? 0
    lastSegment = segments.last ?? 0
    lastCheckpoint = try numbers(".checkpoint").last ?? 0
  }
}
