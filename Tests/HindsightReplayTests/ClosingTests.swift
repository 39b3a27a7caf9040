import Foundation
import Hindsight
import HindsightReplay
import HindsightTesting
import Testing

/// A cache that was closed is opened from a checkpoint of its end.
@Suite("S040 the checkpoint of the end")
struct ClosingTests {
  private func closedLab() async throws -> Lab {
    let lab = Lab(memory: 50) { $0.segmentByteCount = 1 << 20 }
    try await lab.open()
    try await lab.setNoise(40, byteCount: 3_000, seed: 19)
    try await lab.close()
    return lab
  }

  private func checkAll(_ lab: Lab, at sequence: UInt64) async throws {
    let cache = try #require(lab.cache)
    let expected = try #require(lab.history[sequence])
    #expect(expected.count >= 40)
    for (key, value) in expected {
      #expect(try await cache.get(try CacheKey(key)) == value, "\(key)")
    }
  }

  @Test("opening replays nothing, and the journal is written on in the same segment")
  func opensWithoutReplay() async throws {
    let lab = try await closedLab()
    let last = try #require(lab.history.keys.max())
    #expect(lab.storage.names.filter { $0.hasSuffix(".checkpoint") } == ["00000001.checkpoint"])
    try await lab.open(lab.storage)
    let recovery = try #require(lab.cache).recovery
    #expect(recovery.journal == .clean && recovery.lastSequence == last)
    #expect(recovery.checkpoint == 1 && recovery.replayedEvents == 0)
    try await checkAll(lab, at: last)
    try await lab.set("k:after", [1])
    lab.kill()
    #expect(lab.storage.names.filter { $0.hasSuffix(".journal") } == ["00000001.journal"])
    #expect(lab.verify(lab.storage).isSound)
    try await lab.open(lab.storage)
    let second = try #require(lab.cache).recovery
    #expect(second.journal == .unclean && second.checkpoint == 1)
    #expect((2..<12).contains(second.replayedEvents), "\(second.replayedEvents)")
    try await checkAll(lab, at: second.lastSequence)
    #expect(try await lab.cache?.get(try CacheKey("k:after")) == [1])
    try await lab.end()
    #expect(lab.verify(lab.storage).isSound)
  }

  @Test("where it is damaged, opening replays; where little was written, there is none")
  func withoutIt() async throws {
    let lab = try await closedLab()
    let last = try #require(lab.history.keys.max())
    var bytes = try #require(lab.storage.bytes(of: "00000001.checkpoint"))
    bytes[bytes.count / 2] ^= 8
    lab.storage.setBytes(bytes, of: "00000001.checkpoint")
    try await lab.open(lab.storage)
    let recovery = try #require(lab.cache).recovery
    #expect(recovery.journal == .clean && recovery.checkpoint == nil)
    #expect(recovery.replayedEvents == Int(last) && recovery.damage.count == 1)
    try await checkAll(lab, at: last)
    try await lab.end()
    let small = Lab(memory: 4)
    try await small.open()
    try await small.set("k:a", [1])
    try await small.close()
    #expect(!small.storage.names.contains { $0.hasSuffix(".checkpoint") })
  }
}
