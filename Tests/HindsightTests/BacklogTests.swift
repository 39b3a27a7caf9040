import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Logging
import Testing

/// A store that is far behind the newest checkpoint: the cache opens from that, and the rows are
/// gathered afterwards.
@Suite("S040 a store far behind")
struct BacklogTests {
  private let clock = ManualClock()
  private let scheduler = HoldingScheduler()
  /// What the caches below hold in the end.
  private let expected: [Int: [UInt8]]

  init() {
    var values: [Int: [UInt8]] = [:]
    for number in 0..<100 { values[number] = Self.value(number, number % 3 == 0 ? 1 : 0) }
    for number in 100..<200 { values[number] = Self.value(number, 1) }
    for number in stride(from: 1, to: 200, by: 10) { values[number] = nil }
    expected = values
  }

  private func open(
    _ path: String, _ least: UInt64 = 0, _ change: (inout CacheConfiguration) -> Void = { _ in }
  ) async throws -> Cache<[UInt8]> {
    try await Cache.open(
      at: path, coder: .bytes,
      configuration: configuration(clock: clock, memory: 5, store: 1_000) {
        $0.segmentByteCount = 64 << 10
        $0.scheduler = scheduler
        $0.backlogByteCountMin = least
        change(&$0)
      })
  }

  private func key(_ number: Int) throws -> CacheKey { try CacheKey("k:\(number)") }

  /// 2,000 bytes that don't get smaller.
  private static func value(_ number: Int, _ round: Int) -> [UInt8] {
    var random = SplitMix64(seed: UInt64(1_000 * round + number))
    return (0..<250).flatMap { _ in
      withUnsafeBytes(of: UInt64.random(in: 0 ... .max, using: &random)) { [UInt8]($0) }
    }
  }

  /// Makes a closed cache whose store lacks most of what its newest checkpoint contains.
  private func makeBehind(
    _ path: String, promotes: Bool = false, setsLast: Bool = false
  ) async throws {
    let first = try await open(path)
    for number in 0..<100 { try await first.set(Self.value(number, 0), for: key(number)) }
    try await first.settle()
    try await first.close()
    let old = path + "-old"
    try FileManager.default.copyItem(atPath: path, toPath: old)
    let second = try await open(path)
    for number in stride(from: 0, to: 100, by: 3) {
      try await second.set(Self.value(number, 1), for: key(number))
    }
    for number in 100..<200 { try await second.set(Self.value(number, 1), for: key(number)) }
    for number in stride(from: 1, to: 200, by: 10) { try await second.invalidate(key(number)) }
    try await second.settle()
    try await second.close()
    if promotes {
      // From the store, and after the checkpoint of that end.
      let third = try await open(path)
      #expect(answer(try await third.lookup(key(150)))?.tier == .store)
      try await third.flush()
      try FileManager.default.copyItem(atPath: path, toPath: path + "-killed")
      try await third.close()
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.moveItem(atPath: path + "-killed", toPath: path)
    }
    if setsLast {
      // Into the store alone, after the checkpoint of that end, and nothing behind it.
      let third = try await open(path) { $0.memoryLimit.byteCountMax = 1_000 }
      try await third.set(Self.value(500, 0), for: key(500), acknowledgement: .durable)
      try FileManager.default.copyItem(atPath: path, toPath: path + "-killed")
      try await third.close()
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.moveItem(atPath: path + "-killed", toPath: path)
    }
    for name in try FileManager.default.contentsOfDirectory(atPath: path)
    where name.hasPrefix("store.sqlite") {
      try FileManager.default.removeItem(atPath: path + "/" + name)
    }
    for name in try FileManager.default.contentsOfDirectory(atPath: old)
    where name.hasPrefix("store.sqlite") {
      try FileManager.default.copyItem(atPath: old + "/" + name, toPath: path + "/" + name)
    }
  }

  private func checkValues(_ cache: Cache<[UInt8]>) async throws {
    for number in 0..<200 {
      #expect(try await cache.get(key(number)) == expected[number], "\(number)")
    }
  }

  private func verify(_ path: String) throws -> Verification {
    try Verifier(directory: path).run()
  }

  @Test("values come from the journal until the rows are gathered, then from the store")
  func reads() async throws {
    let directory = try TemporaryDirectory()
    try await makeBehind(directory.cache)
    scheduler.holds("projector", true)
    let cache = try await open(directory.cache)
    #expect(cache.recovery.store == .resumed && cache.recovery.replayedEvents < 60)
    #expect(cache.statistics.appliedSequence < 200)
    try await checkValues(cache)
    // What changes meanwhile comes after what is gathered.
    try await cache.set([1], for: key(120))
    try await cache.invalidate(key(130))
    scheduler.holds("projector", false)
    try await cache.settle()
    #expect(try await cache.get(key(120)) == [1])
    #expect(try await cache.get(key(130)) == nil)
    #expect(try await cache.get(key(140)) == expected[140])
    try await cache.close()
    let verified = try verify(directory.cache)
    #expect(verified.isSound && verified.rows == expected.count - 1, "\(verified.problems)")
  }

  @Test("the last event of all may be a set that it lacks")
  func lastSet() async throws {
    let directory = try TemporaryDirectory()
    try await makeBehind(directory.cache, setsLast: true)
    scheduler.holds("projector", true)
    let cache = try await open(directory.cache) { $0.memoryLimit.byteCountMax = 1_000 }
    #expect(cache.recovery.store == .resumed && cache.statistics.appliedSequence < 200)
    #expect(try await cache.get(key(500)) == Self.value(500, 0))
    scheduler.holds("projector", false)
    try await cache.settle()
    #expect(try await cache.get(key(500)) == Self.value(500, 0))
    try await cache.close()
    #expect(try verify(directory.cache).isSound)
  }

  @Test("it may be killed before, and after, the rows are gathered")
  func killed() async throws {
    let directory = try TemporaryDirectory()
    try await makeBehind(directory.cache)
    scheduler.holds("projector", true)
    let cache = try await open(directory.cache)
    let copy = directory.path + "/killed"
    try FileManager.default.copyItem(atPath: directory.cache, toPath: copy)
    scheduler.holds("projector", false)
    try await cache.close()
    for path in [copy, directory.cache] {
      let again = try await open(path)
      try await checkValues(again)
      try await again.settle()
      try await checkValues(again)
      try await again.close()
      let verified = try verify(path)
      #expect(verified.isSound && verified.rows == expected.count, "\(verified.problems)")
    }
  }

  @Test("it is gathered in parts that the queues have room for, whatever happens in between")
  func parts() async throws {
    let directory = try TemporaryDirectory()
    try await makeBehind(directory.cache)
    let store = try GatedStore(directory: directory.cache)
    store.allowTransactions(0)
    let cache = try await Cache<[UInt8]>.open(
      at: .custom(try PosixStorage(path: directory.cache), store), coder: .bytes,
      configuration: configuration(clock: clock, memory: 5, store: 1_000) {
        $0.backlogByteCountMin = 0
        $0.queues.pinnedByteCountMax = 40_000
      }, logger: Logger(label: "test"))
    var expected = expected
    let last = cache.statistics.lastSequence
    var parts = 0
    while cache.statistics.appliedSequence < last, parts < 100 {
      try await eventually { cache.statistics.pinnedByteCount > 0 }
      parts += 1
      // Half of what may wait, and a frame of one value.
      #expect(cache.statistics.pinnedByteCount <= 20_000 + 2_000)
      if parts == 3 {
        // While some have come to the store, and others haven't.
        for number in 0..<200 {
          #expect(try await cache.get(key(number)) == expected[number], "\(number)")
        }
        let copy = directory.path + "/killed"
        try FileManager.default.copyItem(atPath: directory.cache, toPath: copy)
        #expect(try verify(copy).isSound)
        let again = try await open(copy)
        try await checkValues(again)
        try await again.close()
        #expect(try verify(copy).isSound)
        for number in [0, 2, 140, 199] {
          try await cache.set([1], for: key(number), acknowledgement: .enqueued)
          expected[number] = [1]
        }
        try await cache.invalidate(key(150))
        expected[150] = nil
      }
      let applied = cache.statistics.appliedSequence
      store.allowTransactions(1)
      try await eventually { cache.statistics.appliedSequence > applied }
    }
    #expect(parts > 5 && parts < 100)
    store.allowTransactions(nil)
    try await cache.settle()
    for number in 0..<200 {
      #expect(try await cache.get(key(number)) == expected[number], "\(number)")
    }
    try await cache.close()
    let verified = try verify(directory.cache)
    #expect(verified.isSound && verified.rows == expected.count, "\(verified.problems)")
  }

  @Test("what was promoted since the checkpoint is in memory at once, and nothing else")
  func promoted() async throws {
    let directory = try TemporaryDirectory()
    try await makeBehind(directory.cache, promotes: true)
    scheduler.holds("projector", true)
    let cache = try await open(directory.cache)
    #expect(cache.recovery.lostValues == 0 && cache.statistics.pinnedByteCount == 0)
    #expect(cache.memoryValue(for: try key(150)) == expected[150])
    try await checkValues(cache)
    scheduler.holds("projector", false)
    try await cache.close()
    let verified = try verify(directory.cache)
    #expect(verified.isSound && verified.rows == expected.count, "\(verified.problems)")
  }

  @Test("a store that the journal no longer reaches back to is compared row by row")
  func beyondRetention() async throws {
    let directory = try TemporaryDirectory()
    let first = try await open(directory.cache)
    for number in 0..<50 { try await first.set(Self.value(number, 0), for: key(number)) }
    try await first.settle()
    try await first.close()
    // Without the store, retention heeds the journal alone.
    let second = try await open(directory.cache) {
      $0.usesStore = false
      $0.retention = Retention(byteCountMax: 128 << 10)
    }
    for number in 100..<200 {
      try await second.set(Self.value(number, 1), for: key(number), acknowledgement: .durable)
    }
    try await eventually {
      !FileManager.default.fileExists(atPath: directory.cache + "/00000001.journal")
    }
    try await second.close()
    let third = try await open(directory.cache)
    #expect(third.recovery.store == .reconciled)
    for number in 195..<200 {
      #expect(try await third.get(key(number)) == Self.value(number, 1), "\(number)")
    }
    try await third.settle()
    try await third.close()
    let verified = try verify(directory.cache)
    #expect(verified.isSound, "\(verified.problems)")
  }

  @Test("a little is replayed at once")
  func little() async throws {
    let directory = try TemporaryDirectory()
    try await makeBehind(directory.cache)
    let cache = try await open(directory.cache, 64 << 20)
    #expect(cache.recovery.replayedEvents > 100)
    try await checkValues(cache)
    try await cache.close()
  }

  @Test(
    "where the journal is damaged there, nothing wrong is served, and the next opening reconciles")
  func damaged() async throws {
    let directory = try TemporaryDirectory()
    try await makeBehind(directory.cache)
    let segment = directory.cache + "/00000004.journal"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: segment))
    bytes[20_000] ^= 1
    try bytes.write(to: URL(fileURLWithPath: segment))
    let cache = try await open(directory.cache)
    var unavailable = 0
    for number in 0..<200 {
      do {
        #expect(try await cache.get(key(number)) == expected[number], "\(number)")
      } catch {
        #expect((error as? CacheError)?.code == .storeUnavailable, "\(error)")
        unavailable += 1
      }
    }
    #expect(unavailable > 0)
    await #expect(throws: CacheError.self) { try await cache.settle() }
    try await cache.close()
    let again = try await open(directory.cache)
    #expect(again.recovery.store == .reconciled && again.recovery.lostValues > 0)
    for number in 0..<200 {
      let value = try await again.get(key(number))
      #expect(value == nil || value == expected[number], "\(number)")
    }
    try await again.close()
    // The damage itself is still there; the rows are the projection again.
    let verified = try verify(directory.cache)
    let files = Set(verified.problems.map(\.file))
    #expect(files == ["00000004.journal"], "\(verified.problems)")
  }
}
