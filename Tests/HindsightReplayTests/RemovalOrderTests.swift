import Hindsight
import HindsightTesting
import Synchronization
import Testing

@Suite("S040 retention and the order in which removals reach the disk")
struct RemovalOrderTests {
  @Test("a loss of power in the middle of it leaves no hole", arguments: 0..<6 as Range<UInt64>)
  func noHole(seed: UInt64) async throws {
    let injector = FaultInjector(seed: seed)
    let lab = Lab {
      $0.segmentByteCountMin = 256
      $0.segmentByteCount = 256
      $0.retention = .unlimited
    }
    lab.storage = SimulatedStorage(injector)
    try await lab.open(lab.storage)
    for number in 0..<60 { try await lab.set("k:\(number % 4)", [UInt8(number)]) }
    try await lab.close()
    // Many segments go at once; the power, at the first sync after the first of them.
    lab.configuration.retention = Retention(byteCountMax: 1)
    injector.enable(.namesMixed, oneIn: 1)
    let storage = lab.storage
    let isPlanned = Mutex(false)
    injector.onCall { [weak storage, weak injector] _ in
      let isFirst = isPlanned.withLock { isPlanned in
        guard !isPlanned, let storage, !storage.names.contains("00000001.journal") else {
          return false
        }
        isPlanned = true
        return true
      }
      if isFirst { injector?.fire(.crashAtDirectorySync) }
    }
    try await lab.open(storage)
    let cache = try #require(lab.cache)
    let key = try CacheKey("k:9")
    for number in 0..<60 as Range<UInt8> where !injector.isPowerOut {
      do {
        _ = try await lab.scheduler.run {
          try await cache.set([number], for: key, acknowledgement: .durable)
        }
      } catch {
        #expect(injector.isPowerOut, "\(error)")
      }
      lab.scheduler.runTimers()
    }
    #expect(injector.isPowerOut)
    lab.scheduler.abandon()
    lab.storage.crash(injector)
    injector.restorePower()
    injector.setOn(false)
    try await lab.open(lab.storage)
    #expect(lab.verify(lab.storage).isSound)
    try await lab.end()
  }

  @Test(
    "whatever has gone, the newest checkpoint may be damaged, and all that is left is reached",
    arguments: [1, 320 << 10] as [UInt64], 1...20)
  func damagedCheckpoint(byteCountMax: UInt64, count: Int) async throws {
    let lab = Lab { $0.retention = Retention(byteCountMax: byteCountMax) }
    try await lab.open()
    // About half a segment each.
    for number in 0..<count {
      try await lab.setNoise(1, byteCount: 30_000, seed: UInt64(number))
      try await lab.sync()
      lab.scheduler.runUntilIdle()
    }
    let verified = lab.verify(lab.storage)
    #expect(verified.isSound, "\(verified.problems)")
    if byteCountMax == 1 || count == 20 {
      #expect((verified.firstSequence == 1) == (count < 6), "\(verified.firstSequence)")
    }
    #expect(!verified.notes.contains { $0.contains("no checkpoint leads") })
    lab.kill()
    if let newest = lab.storage.names.filter({ $0.hasSuffix(".checkpoint") }).max() {
      lab.storage.setBytes([1], of: newest)
    } else {
      #expect(count < 3)
    }
    try await lab.open(lab.storage)
    #expect(try await lab.get("k:0")?.count == 30_000)
    try await lab.end()
  }
}
