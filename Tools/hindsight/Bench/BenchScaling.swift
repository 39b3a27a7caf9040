import ArgumentParser
import Foundation
import Glibc
import Hindsight
import HindsightCore

/// How each cost grows: with entries, with the size of values, with callers, with the journal's
/// length. Rows are metric, value and unit, the metric being `dimension=x:cost`.
struct BenchScaling {
  let sink: BenchSink
  let workDirectory: String
  /// The most entries; each step is ten times the one before.
  let entryCountMax: Int
  /// How long a rate is measured.
  let budget: Double

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
    let directory = directory("entries")
    try removeIfThere(directory)
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

    let input = BenchInput(valueByteCount: Self.valueByteCount)
    let recent = try input.keys(count - min(count, memoryCount)..<count)
    sink.emit("\(label):hit", try hits(cache, recent), "ns")
    try await busy(cache, recent, input, directory, label)
    try await cache.close()
    let (again, clean) = try await open(directory, configuration)
    sink.emit("\(label):open_clean", clean * 1e3, "ms")
    try await again.close()
    try removeIfThere(directory)
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
  private func busy(
    _ cache: TextCache, _ keys: [CacheKey], _ input: BenchInput, _ directory: String,
    _ label: String
  ) async throws {
    let watch = CheckpointWatch(directory)
    watch.start()
    var longest = 0.0
    let end = BenchTools.clock.now.advanced(by: .seconds(budget * 20))
    var at = 0
    while BenchTools.clock.now < end, watch.seconds == nil {
      let began = BenchTools.clock.now
      try await cache.set(
        input.value(at), for: keys[at % keys.count], acknowledgement: .enqueued)
      longest = max(longest, (BenchTools.clock.now - began).seconds)
      at += 1
    }
    watch.stop()
    try await cache.flush(to: .written)
    sink.emit("\(label):longest_set", longest * 1e3, "ms")
    if let seconds = watch.seconds {
      sink.emit("\(label):checkpoint", seconds * 1e3, "ms")
    }
  }

  // MARK: The others

  private func valueSize(_ bytes: Int) async throws {
    let label = "value=\(bytes)"
    let input = BenchInput(valueByteCount: bytes)
    let count = min(2_000, max(32, (64 << 20) / bytes))
    let keys = try input.keys(0..<count)
    let values = (0..<count).map { input.value($0) }
    let directory = directory("values")
    try removeIfThere(directory)
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: UInt64(count))
    let cache = try await TextCache.open(
      at: directory, coder: .jsonText, configuration: configuration)
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
    try await again.close()
    try removeIfThere(directory)
  }

  private func callers(_ callers: Int) async throws {
    let input = BenchInput(valueByteCount: 400)
    let keys = try input.keys(0..<10_000)
    let values = (0..<keys.count).map { input.value($0) }
    for level in [Acknowledgement.written, .durable] {
      let directory = directory("callers")
      try removeIfThere(directory)
      let tools = BenchTools(
        streams: .none, sink: sink, budget: budget, workDirectory: workDirectory)
      try await withCache(at: directory, coder: .jsonText, configuration: .init()) { cache in
        let rate = try await tools.rate(callers: callers) { at in
          try await cache.set(
            values[at % values.count], for: keys[at % keys.count], acknowledgement: level)
        }
        sink.emit("callers=\(callers):set_\(level)", rate.perSecond, "sets/s")
      }
      try removeIfThere(directory)
    }
  }

  private func journalLength(_ events: Int) async throws {
    let label = "events=\(events)"
    let directory = directory("journal")
    try removeIfThere(directory)
    _ = try ScalingChild.fill(directory, entries: 1_000, events: events, memory: 1_000)
    let (cache, seconds) = try await open(directory, .init())
    sink.emit("\(label):recovery", seconds * 1e3, "ms")
    sink.emit("\(label):replayed", Double(cache.recovery.replayedEvents), "events")
    try await cache.close()
    let began = BenchTools.clock.now
    let result = try verification(of: directory)
    guard result.isSound else { throw CheckFailure(message: "bench: \(result.problems)") }
    sink.emit("\(label):verify", (BenchTools.clock.now - began).seconds * 1e3, "ms")
    // Frames, not files: space is allocated ahead.
    sink.emit("\(label):journal", Double(result.storedBytes) / 1_048_576, "MiB")
    try removeIfThere(directory)
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

  private func directory(_ name: String) -> String {
    let path = "\(workDirectory)/hindsight-scaling-\(name)-\(getpid())"
    BenchCleanup.add(directory: path)
    return path
  }

  private func removeIfThere(_ path: String) throws {
    guard FileManager.default.fileExists(atPath: path) else { return }
    try FileManager.default.removeItem(atPath: path)
  }
}
