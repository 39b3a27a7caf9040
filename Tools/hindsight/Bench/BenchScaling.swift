import Foundation
import Hindsight
import HindsightCore

/// How each cost grows: with entries, with the size of values, with callers, with the journal's
/// length. Rows are metric, value and unit, the metric being `dimension=x:cost`.
struct BenchScaling {
  let tools: BenchTools
  /// The most entries; each step is ten times the one before.
  let entryCountMax: Int

  private var sink: BenchSink { tools.sink }
  private var checking: BenchChecking { BenchChecking(tools: tools) }

  private static let valueByteCount = 100

  func run() async throws {
    var count = 1_000
    while count <= entryCountMax {
      try await entries(count)
      count *= 10
    }
    for bytes in [100, 1_000, 10_000, 100_000, 1 << 20] { try await valueSize(bytes) }
    for count in [1, 4, 16, 64, 256] { try await callers(count) }
    for events in [10_000, 100_000, 1_000_000] where events <= 10 * entryCountMax {
      try await journalLength(events)
    }
  }

  // MARK: Entries

  /// A tenth of the entries are in memory, all of them in the store.
  private func entries(_ count: Int) async throws {
    let label = "entries=\(count)"
    let memoryCount = max(1_000, count / 10)
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: UInt64(memoryCount))
    configuration.storeLimit = TierLimit(entryCountMax: UInt64(max(count, memoryCount)))
    try await tools.withDirectory("scaling-entries") { directory in
      let filled = try ScalingChild.fill(
        directory, entries: count, events: count, memory: memoryCount)
      sink.emit("\(label):set", 1e6 / filled.setsPerSecond, "us")

      let before = BenchTools.heapByteCount
      let (cache, seconds) = try await open(directory, configuration)
      sink.emit("\(label):recovery", seconds * 1e3, "ms")
      let keyBytes = "pypi:package-10000000".utf8.count
      // The index holds each key once, whether or not its entry is in memory.
      let values = cache.count.memory * Self.valueByteCount
      let heap = BenchTools.heapByteCount - before - values
      sink.emit("\(label):memory", Double(heap) / Double(count) - Double(keyBytes), "B/entry")

      var recent = try RecentSets(count: count, newest: min(count, memoryCount))
      sink.emit("\(label):hit", try hits(cache, recent.keys), "ns")
      try await checkpoint(cache, &recent, directory, label)
      try await checkpointPause(cache, &recent, directory, label)
      try await cache.close()
      let (again, clean) = try await open(directory, configuration)
      sink.emit("\(label):open_clean", clean * 1e3, "ms")
      try await checking.sample(again, of: count) { try recent.entry($0) }
      try await again.close()
      try checking.journal(in: directory)
    }
  }

  /// The newest entries, which are in memory, set again one after the other, and what every entry's value
  /// is by then.
  private struct RecentSets {
    let keys: [CacheKey]
    private let input = BenchInput(valueByteCount: BenchScaling.valueByteCount)
    private let firstKey: Int
    private var count = 0

    /// - Parameter count: of all entries, as `ScalingChild` has set them.
    init(count: Int, newest: Int) throws {
      firstKey = count - newest
      keys = try input.keys(firstKey..<count)
    }

    mutating func setNext(_ cache: TextCache) async throws {
      try await cache.set(
        input.value(count), for: keys[count % keys.count], acknowledgement: .enqueued)
      count += 1
    }

    func entry(_ at: Int) throws -> (CacheKey, [UInt8]) {
      let place = at - firstKey
      guard place >= 0, place < count else { return (try input.key(at), input.value(at)) }
      let rounds = (count - 1 - place) / keys.count
      return (keys[place], input.value(place + rounds * keys.count))
    }
  }

  private func hits(_ cache: TextCache, _ keys: [CacheKey]) throws -> Double {
    let operations = 1_000_000
    // Once through, so that values restored by the recovery are decoded.
    for key in keys where cache.memoryValue(for: key) == nil {
      throw CheckFailure(message: "bench: \(key) is not in memory")
    }
    let began = BenchTools.clock.now
    var found = 0
    for at in 0..<operations where cache.memoryValue(for: keys[(at &* 104_729) % keys.count]) != nil
    {
      found += 1
    }
    let seconds = (BenchTools.clock.now - began).seconds
    guard found == operations else { throw CheckFailure(message: "bench: hits were misses") }
    return seconds * 1e9 / Double(operations)
  }

  /// Sets until a checkpoint has been written, watched from beside: how long it took, and the
  /// longest that a set took meanwhile.
  private func checkpoint(
    _ cache: TextCache, _ recent: inout RecentSets, _ directory: String, _ label: String
  ) async throws {
    let watch = CheckpointWatch(directory)
    watch.start()
    var longest = 0.0
    let end = checkpointDeadline
    while BenchTools.clock.now < end, watch.seconds == nil {
      let began = BenchTools.clock.now
      try await recent.setNext(cache)
      longest = max(longest, (BenchTools.clock.now - began).seconds)
    }
    watch.stop()
    try await cache.flush(to: .written)
    sink.emit("\(label):longest_set", longest * 1e3, "ms")
    guard let seconds = watch.seconds else {
      return sink.omit("\(label):checkpoint", "there was none; try a larger --budget")
    }
    sink.emit("\(label):checkpoint", seconds * 1e3, "ms")
  }

  /// Sets until a checkpoint begins, and the longest that hits of one thread take while it is captured and
  /// written.
  private func checkpointPause(
    _ cache: TextCache, _ recent: inout RecentSets, _ directory: String, _ label: String
  ) async throws {
    let watch = CheckpointWatch(directory)
    watch.start()
    let keys = recent.keys
    async let probing = HitProbe.run(cache, keys) { _ in watch.phase }
    do {
      let end = checkpointDeadline
      while watch.phase == .waiting, BenchTools.clock.now < end { try await recent.setNext(cache) }
      if watch.phase == .waiting { watch.stop() }
    } catch {
      watch.stop()
      throw error
    }
    let outcome = await probing
    guard outcome.found == outcome.asked else {
      throw CheckFailure(message: "bench: hits were misses")
    }
    let record = outcome.record
    let metric = "\(label):checkpoint_pause"
    guard record.all.totalCount > 0 else {
      return sink.omit(metric, "no hit came while a checkpoint was written")
    }
    sink.emit(metric, Double(record.longest) / 1e6, "ms")
    if let longest = record.longestRunning {
      sink.emit("\(metric)_while_running", Double(longest) / 1e6, "ms")
    } else {
      sink.omit("\(metric)_while_running", PauseRecord.nothingRan)
    }
    sink.emit("\(metric)_p99.9", Double(record.all.valueAtPercentile(99.9)) / 1e3, "us")
  }

  /// How long a checkpoint is waited for.
  private var checkpointDeadline: ContinuousClock.Instant {
    BenchTools.clock.now.advanced(by: .seconds(tools.budget * 20))
  }

  // MARK: The others

  private func valueSize(_ bytes: Int) async throws {
    let label = "value=\(bytes)"
    let input = BenchInput(valueByteCount: bytes)
    let count = min(2_000, max(32, (64 << 20) / bytes))
    let keys = try input.keys(0..<count)
    let values = (0..<count).map { input.value($0) }
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: UInt64(count))
    try await tools.withDirectory("scaling-values") { directory in
      let (cache, _) = try await open(directory, configuration)
      let began = BenchTools.clock.now
      for (key, value) in zip(keys, values) { try await cache.set(value, for: key) }
      let seconds = (BenchTools.clock.now - began).seconds
      sink.emit("\(label):set_written", seconds * 1e6 / Double(count), "us")
      sink.emit("\(label):hit", try hits(cache, keys), "ns")
      try await cache.settle()
      try await cache.close()
      let journal = try BenchJournal.byteCount(of: ".journal", in: directory)
      sink.emit("\(label):journal", Double(journal) / Double(count), "B/event")
      configuration.memoryLimit = TierLimit(entryCountMax: 1)
      let (again, _) = try await open(directory, configuration)
      let start = BenchTools.clock.now
      for (at, key) in keys.enumerated() {
        guard try await again.get(key) == values[at] else {
          throw CheckFailure(message: "bench: a value came back changed")
        }
      }
      sink.emit(
        "\(label):store_hit", (BenchTools.clock.now - start).seconds * 1e6 / Double(count), "us")
      sink.count { $0.valuesCompared += count }
      try await checking.expiry(again)
      try await again.close()
      try checking.journal(in: directory)
    }
  }

  private func callers(_ callers: Int) async throws {
    let input = BenchInput(valueByteCount: 400)
    let keys = try input.keys(0..<10_000)
    let values = (0..<keys.count).map { input.value($0) }
    for level in [Acknowledgement.written, .durable] {
      try await tools.withDirectory("scaling-callers") { directory in
        try await withCache(at: directory, coder: .jsonText, configuration: .init()) { cache in
          let rate = try await tools.rate(callers: callers) { at in
            try await cache.set(
              values[at % values.count], for: keys[at % keys.count], acknowledgement: level)
          }
          sink.emit("callers=\(callers):set_\(level)", rate.perSecond, "sets/s")
          // A key has the same value each time.
          try await checking.sample(cache, of: min(rate.count, keys.count)) {
            (keys[$0], values[$0])
          }
        }
        try checking.journal(in: directory)
      }
    }
  }

  private func journalLength(_ events: Int) async throws {
    let label = "events=\(events)"
    try await tools.withDirectory("scaling-journal") { directory in
      _ = try ScalingChild.fill(directory, entries: 1_000, events: events, memory: 1_000)
      let (cache, seconds) = try await open(directory, .init())
      sink.emit("\(label):recovery", seconds * 1e3, "ms")
      sink.emit("\(label):replayed", Double(cache.recovery.replayedEvents), "events")
      let input = BenchInput(valueByteCount: Self.valueByteCount)
      try await checking.sample(cache, of: 1_000) {
        (try input.key($0), input.value(events - 1_000 + $0))
      }
      try await cache.close()
      let began = BenchTools.clock.now
      let result = try checking.journal(in: directory)
      sink.emit("\(label):verify", (BenchTools.clock.now - began).seconds * 1e3, "ms")
      // Frames, not files: space is allocated ahead.
      sink.emit("\(label):journal", Double(result.storedBytes) / 1_048_576, "MiB")
    }
  }

  // MARK: Parts

  private func open(
    _ directory: String, _ configuration: CacheConfiguration
  ) async throws -> (TextCache, seconds: Double) {
    let began = BenchTools.clock.now
    let cache = try await TextCache.open(
      at: directory, coder: .jsonText, configuration: configuration)
    return (cache, (BenchTools.clock.now - began).seconds)
  }
}
