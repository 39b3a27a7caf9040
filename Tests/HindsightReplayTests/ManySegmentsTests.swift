import Hindsight
import HindsightTesting
import Synchronization
import Testing

@Suite("S040 journals of many segments")
struct ManySegmentsTests {
  @Test("opening, replaying and salvaging hold few of them open at a time")
  func descriptors() async throws {
    let injector = FaultInjector(seed: 1)
    let lab = Lab(memory: 500) {
      $0.segmentByteCountMin = 256
      $0.segmentByteCount = 256
      $0.retention = .unlimited
    }
    let storage = SimulatedStorage(injector)
    let peak = Mutex(0)
    injector.onCall { [weak storage] _ in
      peak.withLock { $0 = max($0, storage?.openFileCount ?? 0) }
    }
    try await lab.open(storage)
    for number in 0..<400 { try await lab.set("k:\(number)", Array("value \(number)".utf8)) }
    try await lab.sync()
    lab.crash()
    #expect(storage.names.count { $0.hasSuffix(".journal") } > 100)
    try await lab.open(storage)
    #expect(lab.cache?.count.memory == 400)
    #expect(lab.verify(storage).isSound)
    lab.kill()
    // An old one is cut where it isn't one of those that stay open.
    var bytes = try #require(storage.bytes(of: "00000009.journal"))
    bytes[70] ^= 1
    storage.setBytes(bytes, of: "00000009.journal")
    for name in storage.names where name.hasSuffix(".checkpoint") { storage.delete(name) }
    await #expect(throws: CacheError.self) { try await lab.open(storage) }
    lab.configuration.corruption = .salvage
    try await lab.open(storage)
    #expect(lab.cache?.recovery.journal == .salvaged)
    #expect(try #require(lab.cache?.count.memory) > 0)
    try await lab.end()
    #expect(peak.withLock { $0 } < 80)
  }
}
