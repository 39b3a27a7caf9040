import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Testing

/// Every byte of a small checkpoint, changed or cut off: it is passed over and named, and what is
/// recovered is the undamaged state all the same, for the journal reaches back behind it.
@Suite("S040 damage to a checkpoint")
struct FaultCheckpointTests {
  /// A journal with a checkpoint of small entries only.
  private func made() async throws -> (lab: Lab, name: String, bytes: [UInt8]) {
    let lab = Lab(memory: 4)
    try await lab.open()
    for key in ["k:a", "k:b", "k:c"] { try await lab.set(key, Array(key.utf8)) }
    var random = SplitMix64(seed: 41)
    // What fills the segment leaves nothing behind: long keys that aren't there.
    let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
    while !lab.storage.names.contains(where: { $0.hasSuffix(".checkpoint") }) {
      let long = String((0..<1_000).map { _ in letters.randomElement(using: &random) ?? "a" })
      try await lab.invalidate("k:" + long)
      if lab.lastSequence % 20 == 0 { try await lab.sync() }
    }
    try await lab.set("k:a", [1])
    try await lab.close()
    let name = try #require(lab.storage.names.first { $0.hasSuffix(".checkpoint") })
    let bytes = try #require(lab.storage.bytes(of: name))
    #expect(bytes.count < 1_000)
    return (lab, name, bytes)
  }

  private func check(_ lab: Lab, _ damaged: SimulatedStorage, _ name: String, _ what: String)
    async throws
  {
    let last = try #require(lab.history.keys.max())
    try await lab.open(damaged)
    let cache = try #require(lab.cache)
    #expect(cache.recovery.lastSequence == last, "\(what)")
    #expect(cache.recovery.damage.contains { $0.contains(name) }, "\(what): not reported")
    for key in ["k:a", "k:b", "k:c", "k:large"] {
      let found = try await cache.get(try CacheKey(key))
      #expect(found == lab.history[last]?[key], "\(what): \(key)")
    }
    try await lab.end()
  }

  private func read(_ storage: SimulatedStorage) throws {
    try CheckpointReader(storage, number: 1).forEachEntry(hashSeed: 0) { _, _ in }
  }

  @Test("every single bit, flipped, is noticed; and passed over")
  func flips() async throws {
    let (lab, name, bytes) = try await made()
    let whole = lab.storage
    for at in bytes.indices {
      for bit in 0..<8 {
        var flipped = bytes
        flipped[at] ^= 1 << UInt8(bit)
        let damaged = whole.copy()
        damaged.setBytes(flipped, of: name)
        #expect(throws: DamageError.self, "bit \(bit) of byte \(at)") { try read(damaged) }
        guard bit == at % 8, at % 4 == 0 else { continue }
        #expect(lab.verify(damaged).problems.first?.file == name, "bit \(bit) of byte \(at)")
        try await check(lab, damaged, name, "bit \(bit) of byte \(at)")
      }
    }
  }

  @Test("cut at every byte, it is noticed; and passed over")
  func cuts() async throws {
    let (lab, name, bytes) = try await made()
    let whole = lab.storage
    for at in bytes.indices {
      let damaged = whole.copy()
      damaged.setBytes(Array(bytes[..<at]), of: name)
      #expect(throws: DamageError.self, "cut at \(at)") { try read(damaged) }
      guard at % 4 == 0 else { continue }
      #expect(lab.verify(damaged).problems.first?.file == name, "cut at \(at)")
      try await check(lab, damaged, name, "cut at \(at)")
    }
  }
}
