import Hindsight
import HindsightTesting
import Testing

/// A store that is lost is built anew from the journal. What is damaged there gives no values; what
/// stands behind it does.
@Suite("S040 values behind damage in the journal's history")
struct ValuesBehindDamageTests {
  private static let keyCount = 90

  /// A cache of several segments whose values are in its store only, but for a few, closed.
  private func lab(_ value: (Int, inout SplitMix64) -> [UInt8]) async throws -> Lab {
    let lab = Lab(memory: 5) {
      $0.segmentByteCount = 200 << 10
      $0.usesStore = true
      $0.storeLimit = TierLimit(entryCountMax: 1_000)
    }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    for (number, value) in values(value).enumerated() {
      let key = try CacheKey("k:\(number)")
      try await lab.run { _ = try await $0.set(value, for: key) }
    }
    try await lab.end()
    return lab
  }

  private func values(_ value: (Int, inout SplitMix64) -> [UInt8]) -> [[UInt8]] {
    var random = SplitMix64(seed: 7)
    return (0..<Self.keyCount).map { value($0, &random) }
  }

  /// Noise: each frame can be decoded by itself.
  private func noise(_: Int, _ random: inout SplitMix64) -> [UInt8] {
    (0..<8_000).map { _ in .random(in: 0...255, using: &random) }
  }

  /// Half of it compresses: a run goes on from frame to frame.
  private func half(_ number: Int, _ random: inout SplitMix64) -> [UInt8] {
    noise(number, &random) + [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 8_000)
  }

  /// Opens with an empty store, so that all values have to come from the journal.
  /// - Returns: how many keys answer, each with what was set, and how many values are said to be lost.
  private func openWithoutStore(
    _ lab: Lab, _ value: (Int, inout SplitMix64) -> [UInt8]
  ) async throws -> (found: Int, lost: Int) {
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    let lost = try #require(lab.cache).recovery.lostValues
    var found = 0
    for (number, value) in values(value).enumerated() {
      let key = try CacheKey("k:\(number)")
      guard let answer = try await lab.run({ try await $0.get(key) }) else { continue }
      #expect(answer == value, "\(key)")
      found += 1
    }
    try await lab.end()
    return (found, lost)
  }

  private func damage(_ lab: Lab, _ name: String, at offsets: [Int]) throws {
    var bytes = try #require(lab.storage.bytes(of: name))
    for offset in offsets { bytes[offset] ^= 4 }
    lab.storage.setBytes(bytes, of: name)
  }

  /// Where frames begin in a segment.
  private func frames(_ lab: Lab, _ name: String) throws -> [Int] {
    let bytes = try #require(lab.storage.bytes(of: name))
    return bytes.indices.dropLast(4).filter { bytes[$0..<$0 + 4].elementsEqual("HFRM".utf8) }
  }

  @Test("one damaged frame takes its own value with it", arguments: [30, 1_000])
  func oneFrame(offset: Int) async throws {
    let lab = try await lab(noise)
    let frame = try frames(lab, "00000001.journal")[3]
    try damage(lab, "00000001.journal", at: [frame + offset])
    let found = try await openWithoutStore(lab, noise)
    #expect(found == (Self.keyCount - 1, 1))
  }

  @Test("several damaged frames in several segments take theirs")
  func severalFrames() async throws {
    let lab = try await lab(noise)
    for name in ["00000001.journal", "00000002.journal"] {
      let frames = try frames(lab, name)
      try damage(lab, name, at: [frames[3] + 30, frames[4] + 200, frames[9] + 1_000])
    }
    let found = try await openWithoutStore(lab, noise)
    #expect(found == (Self.keyCount - 6, 6))
  }

  @Test("a damaged run takes no more than itself, and gives no wrong values")
  func run() async throws {
    let lab = try await lab(half)
    let frames = try frames(lab, "00000001.journal")
    try damage(lab, "00000001.journal", at: [frames[3] + 100])
    let found = try await openWithoutStore(lab, half)
    // In the first run are 32 values at most.
    #expect(found.lost > 1 && found.lost <= 32 && found.found == Self.keyCount - found.lost)
  }

  @Test("a damaged checkpoint in place of the journal's beginning hides no values behind it")
  func oldestCheckpoint() async throws {
    let lab = try await lab(noise)
    // As retention leaves it.
    lab.storage.delete("00000001.journal")
    let damaged = lab.storage.copy()
    let whole = try await openWithoutStore(lab, noise)
    lab.storage = damaged
    try damage(lab, "00000001.checkpoint", at: [200])
    let found = try await openWithoutStore(lab, noise)
    // With it go the values of memory, which it has.
    #expect(found.lost <= whole.lost + 5 && found.found == Self.keyCount - found.lost)
  }
}
