import Foundation
import Hindsight
import HindsightTesting
import Logging
import Synchronization

/// Tasks at full speed on one cache, and one that watches.
struct Load {
  let seed: UInt64
  let tasks: Int

  /// What one task did.
  fileprivate struct Work: Sendable {
    var gets = 0
    var hits = 0
    var sets = 0
    var removals = 0
    var refused = 0
    var problems: [String] = []
    var longestHit = Duration.zero
  }

  func run(at directory: String, for duration: Duration) async throws -> SoakReport {
    let before = try Meter.read()
    var report = SoakReport(
      seed: seed,
      peaks: SoakLimits.all(tasks: tasks).map {
        SoakReport.Peak(name: $0.name, bound: $0.bound, source: $0.source)
      })
    var logger = Logger(label: "soak") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = .warning
    let cache = try await Cache.open(
      at: directory, coder: .bytes, configuration: SoakLimits.configuration, logger: logger)
    let began = ContinuousClock.now
    let deadline = began + duration
    let works = try await withThrowingTaskGroup(of: Work.self) { group in
      for number in 0..<tasks {
        group.addTask { await work(cache, SplitMix64(seed: seed &+ UInt64(number)), deadline) }
      }
      try await watch(cache, &report, before, began, deadline)
      return try await group.reduce(into: [Work]()) { $0.append($1) }
    }
    report.seconds = (ContinuousClock.now - began) / .seconds(1)
    for work in works { report.add(work) }
    report.statistics = cache.statistics
    try await cache.close()
    return report
  }

  // MARK: Watching

  private func watch(
    _ cache: Cache<[UInt8]>, _ report: inout SoakReport, _ before: Meter,
    _ began: ContinuousClock.Instant, _ deadline: ContinuousClock.Instant
  ) async throws {
    let tenth = (deadline - began) / 10
    var milestone = began + tenth
    while ContinuousClock.now < deadline {
      try await Task.sleep(for: .milliseconds(50))
      let isMilestone = ContinuousClock.now >= milestone
      if isMilestone { milestone += tenth }
      let meter = try Meter.read()
      let statistics = cache.statistics
      let values: [(String, UInt64)] = [
        ("pinned bytes", statistics.pinnedByteCount),
        ("unsynced bytes", statistics.unsyncedByteCount),
        ("memory entries", UInt64(statistics.entries.memory)),
        ("memory bytes", UInt64(statistics.bytes.memory)),
        ("store entries", UInt64(statistics.entries.store)),
        ("journal bytes", statistics.journalByteCount),
        ("store log bytes", statistics.storeLogByteCount),
        ("resident bytes", meter.residentBytes),
        ("descriptors added", meter.descriptors - min(meter.descriptors, before.descriptors)),
        ("threads added", meter.threads - min(meter.threads, before.threads)),
      ]
      for (name, value) in values { report.note(name, value, isMilestone: isMilestone) }
      for trouble in [statistics.journalTrouble, statistics.storeTrouble].compactMap({ $0 }) {
        report.problems.append(trouble)
      }
    }
  }

  // MARK: Working

  private func work(
    _ cache: Cache<[UInt8]>, _ random: SplitMix64, _ deadline: ContinuousClock.Instant
  ) async -> Work {
    var (work, random) = (Work(), random)
    while ContinuousClock.now < deadline, work.problems.isEmpty {
      for _ in 0..<32 {
        do {
          try await step(cache, &random, &work)
        } catch let error as CacheError where error.code == .backpressure {
          work.refused += 1
        } catch {
          work.problems.append("\(error)")
        }
      }
    }
    return work
  }

  private func step(
    _ cache: Cache<[UInt8]>, _ random: inout SplitMix64, _ work: inout Work
  ) async throws {
    // Some keys are wanted far more often than others.
    let spread = Double.random(in: 0..<1, using: &random)
    let number = Int(spread * spread * spread * Double(SoakLimits.keyCount))
    let key = try CacheKey("g\(number % 7):\(number)")
    switch Int.random(in: 0..<1_000, using: &random) {
    case 0..<450: try await get(key, number, cache, &work)
    case 450..<980:
      work.sets += 1
      try await cache.set(
        Self.value(number, &random), for: key, memoryTTL: ttl(&random), storeTTL: ttl(&random),
        acknowledgement: level(&random))
    case 980..<998:
      work.removals += 1
      try await cache.invalidate(key)
    case 998:
      _ = try await cache.cleanupExpired()
    default:
      guard Int.random(in: 0..<200, using: &random) == 0 else { return }
      work.removals += 1
      try await cache.clear(prefix: "g\(number % 7):1")
    }
  }

  /// Waiting for the disk is rare, or the disk decides how fast everything is.
  private func level(_ random: inout SplitMix64) -> Acknowledgement {
    switch Int.random(in: 0..<1_000, using: &random) {
    case 0..<2: .durable
    case 2..<200: .written
    default: .enqueued
    }
  }

  private func ttl(_ random: inout SplitMix64) -> Duration? {
    Int.random(in: 0..<4, using: &random) == 0
      ? .milliseconds(Int.random(in: 1...3_000, using: &random)) : nil
  }

  private func get(
    _ key: CacheKey, _ number: Int, _ cache: Cache<[UInt8]>, _ work: inout Work
  ) async throws {
    work.gets += 1
    let began = ContinuousClock.now
    var value = cache.memoryValue(for: key)
    work.longestHit = max(work.longestHit, ContinuousClock.now - began)
    if value == nil { value = try await cache.get(key) }
    guard let value else { return }
    work.hits += 1
    if !Self.isWhole(value, number) { work.problems.append("key \(number) has another's value") }
  }

  /// Half of it compresses. Its number stands at both ends.
  private static func value(_ number: Int, _ random: inout SplitMix64) -> [UInt8] {
    let count = Int.random(in: 16...Int(SoakLimits.valueByteCountMax), using: &random)
    let begin = Int.random(in: 0..<noise.count / 2, using: &random)
    var value = Array(noise[begin..<begin + count / 2])
    value.append(contentsOf: repeatElement(UInt8(truncatingIfNeeded: number), count: count / 2))
    withUnsafeBytes(of: UInt64(number)) { bytes in
      value.replaceSubrange(0..<8, with: bytes)
      value.append(contentsOf: bytes)
    }
    return value
  }

  /// What values are cut from: making it anew would take longer than the cache does.
  private static let noise: [UInt8] = {
    var random = SplitMix64(seed: 0)
    return (0..<8_192).map { _ in random.next() }.withUnsafeBytes { Array($0) }
  }()

  private static func isWhole(_ value: [UInt8], _ number: Int) -> Bool {
    withUnsafeBytes(of: UInt64(number)) { bytes in
      value.count >= 16 && value.prefix(8).elementsEqual(bytes)
        && value.suffix(8).elementsEqual(bytes)
    }
  }
}

extension SoakReport {
  fileprivate mutating func add(_ work: Load.Work) {
    gets += work.gets
    hits += work.hits
    sets += work.sets
    removals += work.removals
    refused += work.refused
    operations += work.gets + work.sets + work.removals
    problems += work.problems
    longestHitMilliseconds = max(longestHitMilliseconds, work.longestHit / .milliseconds(1))
  }
}
