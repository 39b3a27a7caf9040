import Foundation
import Hindsight
import HindsightCore
import Histogram
import Synchronization

/// How long an operation of the memory tier takes at worst while everything else is going on: sets
/// that fill segments, checkpoints, retention, sweeps of what expires, projection into SQLite.
struct BenchPauses {
  let tools: BenchTools
  let entryCount: Int
  let seconds: Double

  private var sink: BenchSink { tools.sink }
  private var checking: BenchChecking { BenchChecking(tools: tools) }

  /// Bytes of a value.
  private static let valueByteCount = 100
  /// One set in so many has a TTL that the sweeper has to look after.
  private static let expiringShare = 4

  func run() async throws {
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: UInt64(entryCount))
    configuration.storeLimit = configuration.memoryLimit
    // Small, so that all of it happens often.
    configuration.segmentByteCount = 4 << 20
    configuration.retention = Retention(byteCountMax: 32 << 20)
    try await tools.withDirectory("pauses") { directory in
      try await withCache(at: directory, coder: .jsonText, configuration: configuration) {
        try await measure($0, directory)
      }
      try checking.journal(in: directory)
    }
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
    let (record, count) = try await sets
    report("set_busy", record)
    let after = (cache.statistics, try BackgroundFiles(directory))
    try emitBackground(before, after)
    try await readBack(cache, input, keys, setCount: count)
  }

  /// Sets of keys that are there, without a break, as fast as the queues let them in; one set in four
  /// expires after a second.
  /// - Returns: how long each took, and how many there were.
  private func writeUntilOver(
    _ cache: TextCache, _ input: BenchInput, _ keys: [CacheKey], _ isOver: borrowing Atomic<Bool>
  ) async throws -> (PauseRecord, count: Int) {
    var record = PauseRecord()
    var at = 0
    while !isOver.load(ordering: .relaxed) {
      let key = keys[Self.place(at, keys.count)]
      let isShort = at % Self.expiringShare == 0
      let value = input.value(at)
      let start = BenchTools.clock.now
      try await cache.set(
        value, for: key, memoryTTL: isShort ? .seconds(1) : nil, acknowledgement: .enqueued)
      record.add(start.duration(to: BenchTools.clock.now))
      at += 1
    }
    record.look()
    return (record, at)
  }

  /// Which key a set is of.
  private static func place(_ at: Int, _ count: Int) -> Int { (at &* 7_919) % count }

  /// What has expired in memory is in the store.
  private func readBack(
    _ cache: TextCache, _ input: BenchInput, _ keys: [CacheKey], setCount: Int
  ) async throws {
    var newest = Array(keys.indices)
    for at in 0..<setCount { newest[Self.place(at, keys.count)] = at }
    try await checking.sample(cache, of: keys.count) { (keys[$0], input.value(newest[$0])) }
    try await checking.expiry(cache)
  }

  private func probe(
    _ cache: TextCache?, _ keys: [CacheKey], seconds: Double
  ) async throws -> PauseRecord {
    let end = BenchTools.clock.now.advanced(by: .seconds(seconds))
    let outcome = await HitProbe.run(cache, keys) { $0 < end ? .measuring : .over }
    // Short-lived entries may be absent.
    guard outcome.found * 2 > outcome.asked else {
      throw CheckFailure(
        message: "bench: \(outcome.found) of \(outcome.asked) keys were in memory")
    }
    return outcome.record
  }

  private func report(_ metric: String, _ record: PauseRecord) {
    sink.emit("\(metric)_count", Double(record.all.totalCount), "operations")
    for (name, percentile) in [("p50", 50.0), ("p99", 99), ("p99.9", 99.9)] {
      sink.emit(
        "\(metric)_\(name)", Double(record.all.valueAtPercentile(percentile)) / 1e3, "us")
    }
    sink.emit("\(metric)_max", Double(record.longest) / 1e3, "us")
    if let longest = record.longestRunning {
      sink.emit("\(metric)_max_while_running", Double(longest) / 1e3, "us")
    } else {
      sink.omit("\(metric)_max_while_running", PauseRecord.nothingRan)
    }
    sink.emit("\(metric)_stolen", record.stolen / .milliseconds(1), "ms")
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
