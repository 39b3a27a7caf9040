import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Testing

/// Whatever happens to a journal's bytes: opening it recovers a prefix of what was done, with a
/// report, or refuses and changes nothing; a wrong value is never served.
@Suite("S040 damage to the journal")
struct DamageTests {
  /// Every kind of event, over two sessions. The frames' ends are in the lab's history.
  private func lab(isClosed: Bool, isSynced: Bool) async throws -> Lab {
    let lab = Lab(memory: 3) { $0.accessLog = .lookups }
    try await lab.open()
    try await lab.set("pypi:a", Array("first".utf8))
    try await lab.set("pypi:b", Array("second, longer than the first".utf8))
    _ = try await lab.get("pypi:a")
    if isSynced { try await lab.sync() }
    try await lab.set("npm:c", [])
    try await lab.close()
    try await lab.open()
    try await lab.set("npm:d", Array(repeating: 7, count: 200))
    _ = try await lab.get("npm:nothing")
    try await lab.invalidate("pypi:b")
    try await lab.clear("npm:")
    if isSynced { try await lab.sync() }
    try await lab.set("pypi:e", Array("last".utf8))
    if isClosed { try await lab.close() } else { lab.kill() }
    return lab
  }

  /// Opens a damaged copy; checks what it says and serves.
  /// - Returns: the last event that was kept; `nil` where it was refused.
  private func check(
    _ lab: Lab, _ damaged: SimulatedStorage, _ what: String
  ) async throws -> UInt64? {
    let before = damaged.copy()
    do {
      try await lab.open(damaged)
    } catch let error as CacheError {
      #expect(error.code == .journalCorrupt, "\(what): \(error)")
      #expect("\(error)".contains("00000001."), "\(what): no file named in \(error)")
      for name in before.names where name != "lock" {
        #expect(damaged.bytes(of: name) == before.bytes(of: name), "\(what): \(name) was changed")
      }
      return nil
    }
    let cache = try #require(lab.cache)
    let recovery = cache.recovery
    let expected = try #require(
      lab.history[recovery.lastSequence], "\(what): \(recovery.lastSequence) is no frame's end")
    for key in ["pypi:a", "pypi:b", "npm:c", "npm:d", "pypi:e"] {
      #expect(try await cache.get(try CacheKey(key)) == expected[key], "\(what): \(key)")
    }
    if recovery.journal == .tornTail {
      #expect(recovery.quarantined.count == 1, "\(what)")
    }
    try await lab.end()
    let verified = lab.verify(damaged)
    #expect(verified.problems.isEmpty, "\(what): \(verified.problems)")
    return recovery.lastSequence
  }

  /// The journal's bytes but for the space allocated ahead.
  private func used(_ storage: SimulatedStorage) throws -> [UInt8] {
    let bytes = try #require(storage.bytes(of: "00000001.journal"))
    return Array(bytes.prefix((bytes.lastIndex { $0 != 0 } ?? -1) + 1))
  }

  @Test("every single bit of a small journal, flipped", arguments: [true, false], [true, false])
  func flips(isClosed: Bool, isSynced: Bool) async throws {
    let lab = try await lab(isClosed: isClosed, isSynced: isSynced)
    let whole = lab.storage
    let bytes = try used(whole)
    var kept: [UInt64?: Int] = [:]
    for at in bytes.indices {
      // Every bit of the header and of the first frames, one bit of each byte beyond.
      for bit in at < 300 ? Array(0..<8) : [at % 8] {
        var flipped = bytes
        flipped[at] ^= 1 << UInt8(bit)
        let damaged = whole.copy()
        damaged.setBytes(flipped, of: "00000001.journal")
        let problems = lab.verify(damaged).problems
        let problem = try #require(problems.first, "bit \(bit) of byte \(at) isn't noticed")
        #expect(problem.file == "00000001.journal")
        #expect(try #require(problem.offset) <= UInt64(at), "byte \(at): \(problem)")
        kept[try await check(lab, damaged, "bit \(bit) of byte \(at)"), default: 0] += 1
      }
    }
    // Some are refused, some are torn tails: both ways are taken.
    #expect(kept[nil, default: 0] > 0)
    if !isClosed || !isSynced { #expect(kept.count > 1) }
  }

  @Test(
    "a journal cut anywhere, and one with zeros or garbage from there on", arguments: [true, false])
  func cuts(isSynced: Bool) async throws {
    let lab = try await lab(isClosed: false, isSynced: isSynced)
    let whole = lab.storage
    let bytes = try used(whole)
    var random = SplitMix64(seed: 16)
    for at in bytes.indices {
      let cut = whole.copy()
      cut.setBytes(Array(bytes[..<at]), of: "00000001.journal")
      let last = try await check(lab, cut, "cut at \(at)")
      let zeros = whole.copy()
      zeros.setBytes(
        Array(bytes[..<at]) + Array(repeating: 0, count: 4_096), of: "00000001.journal")
      let zerosLast = try await check(lab, zeros, "zeros from \(at)")
      // What was cut off may have been zeros: of a header's checksum, too.
      #expect(bytes[at] == 0 || (zerosLast == nil) == (last == nil), "\(at)")
      #expect(zerosLast ?? 0 >= last ?? 0, "\(at)")
      var noise = (0..<100).map { _ in UInt8.random(in: 1...255, using: &random) }
      // What was cut off may not come back by chance: it can be a frame's last byte.
      if noise[0] == bytes[at] { noise[0] = noise[0] % 255 + 1 }
      let garbage = whole.copy()
      garbage.setBytes(Array(bytes[..<at]) + noise, of: "00000001.journal")
      #expect(try await check(lab, garbage, "garbage from \(at)") == last)
    }
  }

  @Test("a stale frame of an older segment, in reused space, is no frame of this one")
  func staleFrames() async throws {
    let old = try await lab(isClosed: false, isSynced: false)
    let lab = try await lab(isClosed: false, isSynced: false)
    let mine = try used(lab.storage)
    let stale = try used(old.storage).dropFirst(64)
    let damaged = lab.storage.copy()
    damaged.setBytes(mine + stale, of: "00000001.journal")
    let last = try #require(lab.history.keys.max())
    #expect(try await check(lab, damaged, "stale frames") == last)
  }

  @Test("a missing, swapped, renamed or foreign segment is refused and named")
  func segments() async throws {
    let lab = Lab(memory: 3)
    try await lab.open()
    var random = SplitMix64(seed: 17)
    for number in 0..<12 {
      let noise = (0..<20_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      try await lab.set("k:\(number)", noise)
    }
    lab.kill()
    let whole = lab.storage
    let names = whole.names.filter { $0.hasSuffix(".journal") }
    #expect(names.count >= 3)
    func refused(_ what: String, _ change: (SimulatedStorage) -> Void) async throws {
      let damaged = whole.copy()
      change(damaged)
      for name in damaged.names where name.hasSuffix(".checkpoint") { damaged.delete(name) }
      #expect(!lab.verify(damaged).isSound, "\(what)")
      await #expect(throws: CacheError.self, "\(what)") { try await lab.open(damaged) }
    }
    try await refused("the second is missing") { $0.delete(names[1]) }
    try await refused("the first is missing") { $0.delete(names[0]) }
    try await refused("two are swapped") {
      let first = $0.bytes(of: names[0]) ?? []
      $0.setBytes($0.bytes(of: names[1]) ?? [], of: names[0])
      $0.setBytes(first, of: names[1])
    }
    try await refused("one is renamed") {
      $0.setBytes($0.bytes(of: names[2]) ?? [], of: "00000009.journal")
    }
    let other = Lab(memory: 3)
    try await other.open()
    other.kill()
    try await refused("one is another journal's") {
      $0.setBytes(other.storage.bytes(of: names[0]) ?? [], of: names[0])
    }
  }

  @Test("damage in journals with checkpoints: random bytes of any file")
  func checkpoints() async throws {
    let lab = Lab(memory: 3)
    try await lab.open()
    var random = SplitMix64(seed: 18)
    for number in 0..<16 {
      let noise = (0..<16_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      try await lab.set("k:\(number % 5)", noise)
    }
    lab.kill()
    let whole = lab.storage
    #expect(whole.names.contains { $0.hasSuffix(".checkpoint") })
    let files = whole.names.filter { $0 != "lock" }
    var outcomes: [Bool: Int] = [:]
    for round in 0..<200 {
      let name = try #require(files.randomElement(using: &random))
      var bytes = whole.bytes(of: name) ?? []
      let used = (bytes.lastIndex { $0 != 0 } ?? 0) + 1
      let at = Int.random(in: 0..<used, using: &random)
      bytes[at] ^= UInt8.random(in: 1...255, using: &random)
      let damaged = whole.copy()
      damaged.setBytes(bytes, of: name)
      #expect(!lab.verify(damaged).isSound, "round \(round): \(name) at \(at)")
      do {
        try await lab.open(damaged)
      } catch let error as CacheError {
        #expect(error.code == .journalCorrupt)
        // The journal reaches back behind every checkpoint.
        #expect(name.hasSuffix(".journal"), "round \(round): \(name) at \(at)")
        outcomes[false, default: 0] += 1
        continue
      }
      outcomes[true, default: 0] += 1
      let cache = try #require(lab.cache)
      let expected = try #require(
        lab.history[cache.recovery.lastSequence], "round \(round): \(name) at \(at)")
      for key in 0..<5 {
        #expect(try await cache.get(try CacheKey("k:\(key)")) == expected["k:\(key)"])
      }
      try await lab.end()
    }
    #expect(outcomes[true, default: 0] > 0)
  }

  @Test("salvage keeps a prefix, keeps the damage aside, and numbers on above everything")
  func salvage() async throws {
    let lab = try await lab(isClosed: false, isSynced: true)
    let whole = lab.storage
    let bytes = try used(whole)
    let last = try #require(lab.history.keys.max())
    lab.configuration.corruption = .salvage
    for at in stride(from: 0, to: bytes.count, by: 13) {
      var flipped = bytes
      flipped[at] ^= 0x10
      let damaged = whole.copy()
      damaged.setBytes(flipped, of: "00000001.journal")
      try await lab.open(damaged)
      let cache = try #require(lab.cache)
      let expected = try #require(lab.history[cache.recovery.lastSequence], "byte \(at)")
      for key in ["pypi:a", "pypi:b", "npm:c", "npm:d", "pypi:e"] {
        #expect(try await cache.get(try CacheKey(key)) == expected[key], "byte \(at): \(key)")
      }
      if cache.recovery.journal == .salvaged, at >= 64 {
        #expect(cache.stateDigest.sequence > last, "byte \(at)")
        #expect(!cache.recovery.damage.isEmpty && !cache.recovery.quarantined.isEmpty)
      }
      try await lab.end()
      #expect(lab.verify(damaged).problems.isEmpty, "byte \(at)")
    }
  }
}
