import Hindsight
import HindsightCore
import HindsightJournal
import HindsightTesting
import Testing

/// A salvage may make a segment under the number of one that was lost.
@Suite("S040 segments made by a salvage")
struct SalvagedSegmentTests {
  @Test("a checkpoint whose segment was lost doesn't skip what its replacement holds")
  func replacedSegment() async throws {
    let lab = try await Lab.ofThreeSegments()
    let last = Lab.lastOfThree
    lab.storage.delete(last)
    let error = await #expect(throws: CacheError.self) { try await lab.open(lab.storage) }
    #expect(error?.code == .journalCorrupt && error?.message.contains(last) == true)
    lab.configuration.corruption = .salvage
    try await lab.open()
    #expect(lab.cache?.recovery.journal == .salvaged)
    for number in 0..<65 { #expect(try await lab.get("k:\(number)") != nil) }
    try await lab.set("k:after", [1])
    try await lab.sync()
    lab.crash()
    try await lab.open()
    #expect(try await lab.get("k:after") == [1])
    try await lab.end()
  }

  @Test("a journal that ends before the place where a checkpoint goes on is refused")
  func cutBelowCheckpoint() async throws {
    let lab = try await Lab.ofThreeSegments()
    let last = Lab.lastOfThree
    let bytes = try #require(lab.storage.bytes(of: last))
    lab.storage.setBytes([UInt8](bytes.dropLast(200)), of: last)
    let error = await #expect(throws: CacheError.self) { try await lab.open(lab.storage) }
    #expect(error?.code == .journalCorrupt && error?.message.contains(last) == true)
  }

  @Test("a lost last segment is noticed where the store lags behind an earlier checkpoint, too")
  func lostBehindOlderCheckpoint() async throws {
    let lab = Lab(memory: 100) {
      $0.usesStore = true
      $0.segmentByteCount = 64 << 10
    }
    let store = SimulatedStore()
    lab.store = store
    try await lab.open(lab.storage)
    var random = SplitMix64(seed: 7)
    func set(_ number: Int) async throws {
      let key = try CacheKey("k:\(number)")
      let value = (0..<9_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      try await lab.run { _ = try await $0.set(value, for: key, acknowledgement: .durable) }
    }
    for number in 0..<10 { try await set(number) }
    try await lab.run { _ = try await $0.settle() }
    let lagging = store.image()
    for number in 10..<20 { try await set(number) }
    lab.crash()
    store.crash()
    store.restore(lagging)
    let lost = try #require(lab.storage.names.last { $0.hasSuffix(".journal") })
    #expect(lost > "00000002.journal")
    lab.storage.delete(lost)
    #expect(!lab.verify(lab.storage).isSound)
    let error = await #expect(throws: CacheError.self) { try await lab.open(lab.storage) }
    #expect(error?.code == .journalCorrupt && error?.message.contains(lost) == true)
  }

  @Test("a checkpoint of another journal bridges nothing", arguments: [false, true])
  func foreignBridge(salvages: Bool) async throws {
    let crafted = try CraftedJournal()
    let opened = crafted.opened(memory: 10)
    try crafted.append([opened, crafted.set("k:a")])
    try crafted.checkpoint(
      number: 9, last: SequenceNumber(crafted.last.rawValue + 5), opened,
      position: JournalPosition(segment: 2, byteOffset: 64),
      journalID: JournalID(high: 1, low: 1), gapFirst: crafted.last.next)
    let lab = Lab(memory: 10) { if salvages { $0.corruption = .salvage } }
    try await lab.open(try crafted.close())
    let key = try CacheKey("k:a")
    #expect(try await lab.run { try await $0.get(key) } == [1])
    try await lab.end()
  }
}
