import Hindsight
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
}
