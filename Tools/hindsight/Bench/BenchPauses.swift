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
    let steadyCount = try await measureBeside(
      "steady", cache, directory, Writer(input: input, keys: keys, first: 0, isPaced: true),
      seconds: seconds / 2)
    let count = try await measureBeside(
      "busy", cache, directory,
      Writer(input: input, keys: keys, first: steadyCount, isPaced: false), seconds: seconds)
    try await readBack(cache, input, keys, setCount: count)
  }

  /// Measures a thread without a cache, and one that hits, beside a writer.
  /// - Returns: how many sets there have been, those included that came before.
  private func measureBeside(
    _ name: String, _ cache: TextCache, _ directory: String, _ writer: Writer, seconds: Double
  ) async throws -> Int {
    let before = (cache.statistics, try BackgroundFiles(directory))
    let isOver = Atomic<Bool>(false)
    async let sets = writer.writeUntilOver(cache, isOver)
    let control = try await probe(nil, writer.keys, seconds: self.seconds / 4)
    let hits = try await probe(cache, writer.keys, seconds: seconds)
    isOver.store(true, ordering: .relaxed)
    report("clock_\(name)", control)
    report("hit_\(name)", hits)
    let (record, count) = try await sets
    report("set_\(name)", record)
    let after = (cache.statistics, try BackgroundFiles(directory))
    try emitBackground(name, before, after)
    return count
  }

  /// What has expired in memory is in the store.
  private func readBack(
    _ cache: TextCache, _ input: BenchInput, _ keys: [CacheKey], setCount: Int
  ) async throws {
    var newest = Array(keys.indices)
    for at in 0..<setCount { newest[Writer.place(at, keys.count)] = at }
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
    _ name: String, _ before: (CacheStatistics, BackgroundFiles),
    _ after: (CacheStatistics, BackgroundFiles)
  ) throws {
    let rows: [(String, Int)] = [
      ("segments", after.1.lastSegment - before.1.lastSegment),
      ("segments_dropped", after.1.firstSegment - before.1.firstSegment),
      ("checkpoints", after.1.lastCheckpoint - before.1.lastCheckpoint),
      ("swept", after.0.expiries.memory - before.0.expiries.memory),
      ("events_applied_to_store", Int(after.0.appliedSequence - before.0.appliedSequence)),
    ]
    for (row, count) in rows { sink.emit("\(name)_\(row)", Double(count), "count") }
    for (row, count) in rows where count == 0 {
      Output.diagnose("bench: \(name), no \(row) while it was measured; run it longer (--seconds)")
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

/// Sets keys that are there; one set in four expires after a second.
private struct Writer {
  let input: BenchInput
  let keys: [CacheKey]
  /// How many sets came before.
  let first: Int
  /// Whether it makes 10,000 a second, ten each millisecond; else as many as the queues let in.
  let isPaced: Bool

  /// One set in so many has a TTL that the sweeper has to look after.
  private static let expiringShare = 4
  private static let pacedCount = 10

  /// - Returns: how long each took, and how many there have been with those that came before.
  func writeUntilOver(
    _ cache: TextCache, _ isOver: borrowing Atomic<Bool>
  ) async throws -> (PauseRecord, count: Int) {
    var record = PauseRecord()
    var at = first
    var due = BenchTools.clock.now
    while !isOver.load(ordering: .relaxed) {
      let key = keys[Self.place(at, keys.count)]
      let isShort = at % Self.expiringShare == 0
      let value = input.value(at)
      let start = BenchTools.clock.now
      try await cache.set(
        value, for: key, memoryTTL: isShort ? .seconds(1) : nil, acknowledgement: .enqueued)
      record.add(start.duration(to: BenchTools.clock.now))
      at += 1
      if isPaced, at % Self.pacedCount == 0 {
        due += .milliseconds(1)
        try await Task.sleep(until: due, clock: BenchTools.clock)
      }
    }
    record.look()
    return (record, at)
  }

  /// Which key a set is of.
  static func place(_ at: Int, _ count: Int) -> Int { (at &* 7_919) % count }
}
