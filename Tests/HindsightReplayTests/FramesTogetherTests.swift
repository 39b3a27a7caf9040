import Hindsight
import HindsightTesting
import Testing

/// What waited for the disk together is written in several frames, of which a crash may tear off the last ones.
@Suite("S042 frames that are written together")
struct FramesTogetherTests {
  /// Where the frames of a segment begin.
  private func frameOffsets(_ segment: [UInt8]) -> [Int] {
    var offsets: [Int] = []
    var at = 64
    while segment.count >= at + 64, segment[at..<at + 4].elementsEqual("HFRM".utf8) {
      offsets.append(at)
      let stored = segment[at + 8..<at + 12].reversed().reduce(0) { $0 << 8 | Int($1) }
      at += 64 + stored
    }
    return offsets
  }

  @Test("INV016 where the last one is torn off, the time before it has passed all the same")
  func tornOff() async throws {
    let lab = Lab { $0.segmentByteCount = 4 << 20 }
    try await lab.open()
    try await lab.sync()
    let cache = try #require(lab.cache)
    let before = frameOffsets(try #require(lab.storage.bytes(of: "00000001.journal"))).count
    let key = try CacheKey("k:1")
    var random = SplitMix64(seed: 1)
    let noise = (0..<300_000).map { _ in UInt8.random(in: 0...255, using: &random) }
    // Nothing runs in the background meanwhile.
    try await cache.set([1], for: key, memoryTTL: .seconds(40))
    try await cache.set(noise, for: try CacheKey("k:2"))
    lab.clock.advance(by: .seconds(30))
    try await cache.set([3], for: try CacheKey("k:3"))
    _ = try await lab.scheduler.run { try await cache.flush(to: .written) }
    var bytes = try #require(lab.storage.bytes(of: "00000001.journal"))
    let offsets = frameOffsets(bytes)
    #expect(offsets.count == before + 2, "two frames, written together")
    lab.kill()
    for at in offsets[offsets.count - 1] + 70..<bytes.count { bytes[at] = 0 }
    lab.storage.setBytes(bytes, of: "00000001.journal")
    // Somebody sets the clock back by what has passed.
    lab.clock.setWall(Timestamp(microseconds: lab.clock.reading().wall.rawValue - 30_000_000))
    try await lab.open(lab.storage)
    let reopened = try #require(lab.cache)
    #expect(reopened.recovery.journal == .tornTail)
    #expect(reopened.contains(try CacheKey("k:2")))
    #expect(!reopened.contains(try CacheKey("k:3")))
    #expect(reopened.memoryValue(for: key) == [1])
    lab.clock.advance(by: .seconds(15))
    #expect(reopened.memoryValue(for: key) == nil)
    try await lab.end()
  }
}
