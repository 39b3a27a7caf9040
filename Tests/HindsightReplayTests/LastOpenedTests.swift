import HindsightJournal
import HindsightReplay
import HindsightTesting
import Testing

/// How a cache was last opened is asked before it is opened once more.
@Suite("S040 how a cache was last opened")
struct LastOpenedTests {
  /// Reading 100,000 entries for it took as long as the opening behind it.
  @Test(
    "a checkpoint's head says it, and its entries aren't read: damage to them makes no difference")
  func head() async throws {
    let lab = try await Lab.ofThreeSegments()
    let storage = lab.storage
    for name in storage.names
    where name != Lab.lastOfThree && name != "00000003.checkpoint" && name != "lock" {
      storage.delete(name)
    }
    var bytes = try #require(storage.bytes(of: "00000003.checkpoint"))
    bytes[bytes.count / 2] ^= 1
    storage.setBytes(bytes, of: "00000003.checkpoint")
    let reader = try CheckpointReader(storage, number: 3)
    #expect(throws: DamageError.self) { try reader.forEachEntry(hashSeed: 0) { _, _ in } }
    #expect(try LastOpened.read(storage)?.memoryLimit.entryCountMax == 100)
  }

  @Test("what came after the checkpoint counts, and a sink that takes sets lent finds it, too")
  func later() async throws {
    let lab = try await Lab.ofThreeSegments()
    lab.configuration.memoryLimit.entryCountMax = 90
    try await lab.open()
    try await lab.set("k:new", [1])
    #expect(try LastOpened.read(lab.storage)?.memoryLimit.entryCountMax == 90)
    try await lab.end()
  }

  @Test("of a damaged journal, what is whole tells", arguments: [0, 1, 2])
  func damaged(segment: Int) async throws {
    let lab = try await Lab.ofThreeSegments()
    lab.configuration.memoryLimit.entryCountMax = 90
    try await lab.open()
    try await lab.set("k:new", [1])
    try await lab.end()
    let names = lab.storage.names.filter { $0.hasSuffix(".journal") }
    var bytes = try #require(lab.storage.bytes(of: names[segment]))
    bytes[9] ^= 1
    lab.storage.setBytes(bytes, of: names[segment])
    for name in lab.storage.names where name.hasSuffix(".checkpoint") {
      if name != lab.storage.names.first(where: { $0.hasSuffix(".checkpoint") }) {
        lab.storage.delete(name)
      }
    }
    // The checkpoint that is left leads across the first segment, and nothing across the others.
    let found = try LastOpened.read(lab.storage)?.memoryLimit.entryCountMax
    #expect(found == (segment == 0 ? 90 : 100))
  }
}
