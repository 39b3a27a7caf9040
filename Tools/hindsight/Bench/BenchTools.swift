import CHindsightMalloc
import CHindsightSQLite
import Foundation
import Hindsight
import Synchronization

/// What the measurements share: directories, times, rates.
struct BenchTools: Sendable {
  let streams: BenchStreams
  let sink: BenchSink
  /// How long a slow metric runs, in seconds (`--budget`, `PEERS_BUDGET`).
  let budget: Double
  /// Where caches are made (`PEERS_RUN`); each is removed after use.
  let workDirectory: String

  static let clock = ContinuousClock()

  /// As a cache is opened by default, but with room for every key of the stream of sets.
  var configuration: CacheConfiguration {
    var configuration = CacheConfiguration()
    configuration.storeLimit.entryCountMax = max(
      configuration.storeLimit.entryCountMax, UInt64(streams.setKeyCount))
    return configuration
  }

  /// Runs `body` with a directory that doesn't exist yet, and removes it afterwards.
  func withDirectory<R>(
    _ name: String, _ body: nonisolated(nonsending) (String) async throws -> R
  ) async throws -> R {
    let path = "\(workDirectory)/hindsight-\(name)-\(getpid())"
    Cleanup.add(directory: path)
    try removeIfThere(path)
    try FileManager.default.createDirectory(
      atPath: workDirectory, withIntermediateDirectories: true)
    let result: R
    do {
      result = try await body(path)
    } catch {
      try removeIfThere(path)
      throw error
    }
    try removeIfThere(path)
    return result
  }

  func removeIfThere(_ path: String) throws {
    guard FileManager.default.fileExists(atPath: path) else { return }
    try FileManager.default.removeItem(atPath: path)
  }

  /// Runs `operation(i)` for i = 0, 1, … from so many tasks at once until the budget ends, or `limit`
  /// is reached.
  /// - Returns: how many were done, and how many a second.
  func rate(
    callers: Int, limit: Int = .max,
    _ operation: nonisolated(nonsending) @escaping @Sendable (Int) async throws -> Void
  ) async throws -> (count: Int, perSecond: Double) {
    let next = SharedCounter()
    let began = Self.clock.now
    let end = began.advanced(by: .seconds(budget))
    let work: @Sendable () async throws -> Int = {
      var done = 0
      while true {
        // The time first: what is taken is done, so that what is done is a prefix.
        if Self.clock.now >= end { return done }
        let at = next.take()
        if at >= limit { return done }
        try await operation(at)
        done += 1
      }
    }
    let count = try await Self.sum(tasks: callers) { _ in try await work() }
    return (count, Double(count) / (Self.clock.now - began).seconds)
  }

  /// Runs one task for each number below `tasks` and adds up what they return.
  static func sum(
    tasks: Int, _ work: @escaping @Sendable (Int) async throws -> Int
  ) async throws -> Int {
    try await withThrowingTaskGroup(of: Int.self) { group in
      for task in 0..<tasks { group.addTask { try await work(task) } }
      return try await group.reduce(0, +)
    }
  }

  /// - Returns: how long `body` took, in seconds.
  static func seconds(_ body: nonisolated(nonsending) () async throws -> Void) async rethrows
    -> Double
  {
    let began = clock.now
    try await body()
    return (clock.now - began).seconds
  }

  /// Bytes of the heap in use, all arenas and maps together (mallinfo2(3)), but for SQLite's caches.
  static var heapByteCount: Int {
    let info = mallinfo2()
    return Int(info.uordblks) + Int(info.hblkhd) - Int(sqlite3_memory_used())
  }
}

extension BenchTools {
  /// Resident memory of this process, in bytes (proc_pid_statm(5)).
  static func residentByteCount() throws -> Int {
    let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
    guard let pages = text.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
      throw CheckFailure(message: "bench: /proc/self/statm says '\(text)'")
    }
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
  }
}

/// Numbers from 0, each taken once.
final class SharedCounter: Sendable {
  private let value = Atomic<Int>(0)
  func take() -> Int { value.wrappingAdd(1, ordering: .relaxed).oldValue }
}

extension Cache<[UInt8]> {
  /// A set as the stream has it: its TTL holds in both tiers.
  @discardableResult
  nonisolated(nonsending) func set(
    _ operation: BenchOperation, _ acknowledgement: Acknowledgement
  ) async throws(CacheError) -> SequenceNumber {
    try await set(
      operation.value, for: operation.key, memoryTTL: operation.ttl, storeTTL: operation.ttl,
      acknowledgement: acknowledgement)
  }
}
