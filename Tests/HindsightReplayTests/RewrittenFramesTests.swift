import HindsightTesting
import Testing

/// An unclean end leaves frames that nothing proves to be durable: opening writes them again, to a new
/// segment. Those from the first run on that begins among them are copied as they are.
@Suite("S040 frames that are written again after an unclean end")
struct RewrittenFramesTests {
  /// Half of it compresses: a run goes on from frame to frame.
  private func value(_ number: Int, _ random: inout SplitMix64) -> [UInt8] {
    (0..<1_500).map { _ in UInt8.random(in: 0...255, using: &random) }
      + [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 1_500)
  }

  @Test(
    "several runs, the durable part ending within a run, or where one begins",
    arguments: [0, 60, 171, 172])
  func runs(syncedCount: Int) async throws {
    var random = SplitMix64(seed: UInt64(syncedCount))
    let lab = Lab(memory: 100) { $0.segmentByteCount = 16 << 20 }
    try await lab.open()
    for number in 0..<400 {
      if number == syncedCount { try await lab.sync() }
      try await lab.set("k:\(number % 50)", value(number, &random))
    }
    let expected = try #require(lab.history[lab.lastSequence])
    let written = try #require(lab.storage.bytes(of: "00000001.journal"))
    lab.kill()

    try await lab.open(lab.storage)
    #expect(lab.verify(lab.storage).problems.isEmpty)
    // The last frame's body, at least, is the same.
    let end = try #require(written.lastIndex { $0 != 0 })
    let rewritten = try #require(lab.storage.bytes(of: "00000002.journal"))
    #expect(rewritten.firstRange(of: written[end - 1_000...end]) != nil)
    // It is on the disk, and what follows goes on behind it.
    try await lab.set("k:new", [1])
    lab.crash()
    try await lab.open(lab.storage)
    for (key, value) in expected { #expect(try await lab.get(key) == value) }
    #expect(lab.verify(lab.storage).problems.isEmpty)
    try await lab.end()
  }
}
