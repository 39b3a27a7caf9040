import Foundation
import Hindsight

/// Sets at each acknowledgement level, and what they leave on disk.
///
/// `hindsight` is a cache as it is opened by default; `hindsight-nostore` lacks the SQLite tier.
struct BenchJournal {
  let tools: BenchTools
  private var checking: BenchChecking { BenchChecking(tools: tools) }

  /// Sets in one go, as many as the queue of unwritten events has room for.
  private static let burstCount = 10_000
  /// Sets that a pipelining caller makes before it waits for all of them.
  private static let pipelineDepth = 64
  private static let budgetTooSmall = "the budget ended before the first set"

  func run() async throws {
    for peer in ["hindsight", "hindsight-nostore"] {
      try await burst(peer)
      try await sustained(peer)
      for callers in [1, 64] { try await sets(.written, callers: callers, peer) }
      try await pipelined(.written, peer)
    }
    try await materialize("fill_100k_one_txn")
    try await materialize("set_wal_normal_batch1000", transactionRowCountMax: 1_000)
  }

  func runDurable() async throws {
    for callers in [1, 16, 64] { try await sets(.durable, callers: callers, "hindsight") }
    try await pipelined(.durable, "hindsight")
    try await sets(.durable, callers: 64, "hindsight-nostore")
  }

  /// `.enqueued` as the caller sees it: bursts that the queues have room for. What is in them is
  /// written, and projected where there is a store, between bursts and outside the timed part.
  private func burst(_ peer: String) async throws {
    let sets = tools.streams.sets
    try await withCache("burst", peer) { cache in
      var seconds = 0.0
      let start = BenchTools.clock.now
      for at in stride(from: 0, to: sets.count, by: Self.burstCount) {
        let burst = sets[at..<min(at + Self.burstCount, sets.count)]
        seconds += try await BenchTools.seconds {
          for operation in burst { try await cache.set(operation, .enqueued) }
        }
        if peer == "hindsight" { try await cache.settle() }
        try await cache.flush(to: .written)
      }
      let made = BenchSetPeriod(began: start, ended: BenchTools.clock.now)
      tools.sink.emit(
        "set_background_caller", Double(sets.count) / seconds, "sets/s", peer: peer)
      try await checking.readBack(cache, sets, count: sets.count, made: made)
    }
  }

  /// `.enqueued` without a break, with the queues' default limits: until the journal has it all,
  /// until the store has it all, and how many bytes that takes.
  private func sustained(_ peer: String) async throws {
    let sets = tools.streams.sets
    let (bytes, storeBytes) = try await withCache("sustained", peer) { cache in
      let began = BenchTools.clock.now
      for operation in sets { try await cache.set(operation, .enqueued) }
      try await cache.flush(to: .written)
      let made = BenchSetPeriod(began: began, ended: BenchTools.clock.now)
      let drained = (made.ended - began).seconds
      tools.sink.emit(
        "set_background_drained", Double(sets.count) / drained, "sets/s", peer: peer)
      if peer == "hindsight" {
        try await cache.settle()
        let settled = (BenchTools.clock.now - began).seconds
        // Fewer rows than sets: what is replaced before its transaction is never written.
        tools.sink.emit("set_settled", Double(sets.count) / settled, "sets/s", peer: peer)
      }
      try await checking.readBack(cache, sets, count: sets.count, made: made)
      try await checking.expiry(cache)
    }
    tools.sink.emit("disk_log", Double(bytes) / Double(sets.count), "B/event", peer: peer)
    guard storeBytes > 0 else { return }
    tools.sink.emit("disk_db", Double(storeBytes) / Double(sets.count), "B/event", peer: peer)
  }

  /// Sets of different keys, until each is a row in SQLite, in WAL mode with synchronous=NORMAL.
  /// - Parameter transactionRowCountMax: by default the projector makes a few transactions of 100,000 rows,
  ///   each of what is durable and waits by then; the peers make one.
  private func materialize(_ metric: String, transactionRowCountMax: Int? = nil) async throws {
    let fill = tools.streams.fill
    guard !fill.isEmpty else { return }
    var configuration = tools.configuration
    configuration.storeLimit.entryCountMax = max(
      configuration.storeLimit.entryCountMax, UInt64(fill.count))
    if let transactionRowCountMax { configuration.transactionRowCountMax = transactionRowCountMax }
    try await withCache("materialize", "hindsight", configuration) { cache in
      let made = try await BenchSetPeriod.of {
        for operation in fill { try await cache.set(operation, .enqueued) }
        try await cache.settle()
      }
      let seconds = (made.ended - made.began).seconds
      tools.sink.emit(metric, Double(fill.count) / seconds, "sets/s")
      try await checking.readBack(cache, fill, count: fill.count, made: made)
    }
  }

  private func sets(
    _ level: Acknowledgement, callers: Int, _ peer: String
  ) async throws {
    let sets = tools.streams.sets
    let name = level == .durable ? "set_fsync" : "set_buffered"
    let metric = "\(name)_\(callers)w"
    guard sets.count >= callers else {
      return tools.sink.omit(metric, peer: peer, "fewer sets than callers")
    }
    nonisolated(unsafe) var count = 0
    let (bytes, _) = try await withCache("\(name)-\(callers)", peer) { cache in
      let began = BenchTools.clock.now
      let rate = try await tools.rate(callers: callers, limit: sets.count) { at in
        try await cache.set(sets[at], level)
      }
      let made = BenchSetPeriod(began: began, ended: BenchTools.clock.now)
      count = rate.count
      if count > 0 { tools.sink.emit(metric, rate.perSecond, "sets/s", peer: peer) }
      try await checking.readBack(
        cache, sets, count: rate.count, made: made, isOrdered: callers == 1)
    }
    guard count > 0 else { return tools.sink.omit(metric, peer: peer, Self.budgetTooSmall) }
    tools.sink.emit(
      "disk_log_\(level)_\(callers)w", Double(bytes) / Double(count), "B/event", peer: peer)
  }

  /// One caller that makes many sets, then waits for all of them.
  private func pipelined(_ level: Acknowledgement, _ peer: String) async throws {
    let sets = tools.streams.sets
    let depth = Self.pipelineDepth
    let name = level == .durable ? "set_fsync" : "set_buffered"
    let metric = "\(name)_1w_pipeline\(depth)"
    guard sets.count >= depth else {
      return tools.sink.omit(metric, peer: peer, "fewer than \(depth) sets")
    }
    try await withCache("pipelined", peer) { cache in
      let began = BenchTools.clock.now
      let rate = try await tools.rate(callers: 1, limit: sets.count / depth) { at in
        for operation in sets[at * depth..<(at + 1) * depth] {
          try await cache.set(operation, .enqueued)
        }
        try await cache.flush(to: level)
      }
      let made = BenchSetPeriod(began: began, ended: BenchTools.clock.now)
      if rate.count > 0 {
        tools.sink.emit(metric, rate.perSecond * Double(depth), "sets/s", peer: peer)
      } else {
        tools.sink.omit(metric, peer: peer, Self.budgetTooSmall)
      }
      try await checking.readBack(cache, sets, count: rate.count * depth, made: made)
    }
  }

  /// Opens a cache of its own, closes it, and verifies what it left.
  /// - Returns: bytes of its journal's files, and of its store's.
  @discardableResult
  private func withCache(
    _ name: String, _ peer: String, _ configuration: CacheConfiguration? = nil,
    _ body: nonisolated(nonsending) (TextCache) async throws -> Void
  ) async throws -> (journal: Int, store: Int) {
    var configuration = configuration ?? tools.configuration
    configuration.usesStore = peer == "hindsight"
    if !configuration.usesStore {
      // Without a store, only memory can answer when the values are read back.
      configuration.memoryLimit = configuration.storeLimit
    }
    return try await tools.withDirectory(name) { directory in
      try await Hindsight.withCache(
        at: directory, coder: .jsonText, configuration: configuration, body)
      try checking.journal(in: directory)
      return (
        try Self.byteCount(of: ".journal", in: directory),
        try Self.byteCount(of: ".sqlite", in: directory)
      )
    }
  }

  /// Bytes of a directory's files with this ending, as they stand there.
  static func byteCount(of suffix: String, in directory: String) throws -> Int {
    let files = FileManager.default
    return try files.contentsOfDirectory(atPath: directory)
      .filter { $0.hasSuffix(suffix) }
      .map { try files.attributesOfItem(atPath: "\(directory)/\($0)")[.size] as? Int ?? 0 }
      .reduce(0, +)
  }
}
