import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting
import Testing

/// Journals that were written once, by each version of the format.
@Suite("S040 golden journals")
struct GoldenJournalTests {
  struct Golden: Sendable, CustomTestStringConvertible {
    var version: Int
    var name: String
    var opening: String
    var last: UInt64
    var digest: String
    var events: Int
    var testDescription: String { "v\(version) \(name)" }
  }

  static let versions = 1...Int(journalFormatVersion)

  static func directory(_ version: Int) -> URL {
    checkout.appendingPathComponent("Fixtures/journals/v\(version)")
  }

  static func manifest() throws -> [Golden] { try versions.flatMap { try manifest($0) } }

  static func manifest(_ version: Int) throws -> [Golden] {
    let text = try String(
      contentsOf: directory(version).appendingPathComponent("manifest.tsv"), encoding: .utf8)
    return text.split(separator: "\n").dropFirst().map { line in
      let columns = line.split(separator: "\t").map(String.init)
      return Golden(
        version: version, name: columns[0], opening: columns[1], last: UInt64(columns[2])!,
        digest: columns[3],
        events: Int(columns[4])!)
    }
  }

  private func storage(_ golden: Golden) throws -> SimulatedStorage {
    let storage = SimulatedStorage()
    let place = Self.directory(golden.version).appendingPathComponent(golden.name)
    for name in try FileManager.default.contentsOfDirectory(atPath: place.path) {
      storage.setBytes([UInt8](try Data(contentsOf: place.appendingPathComponent(name))), of: name)
    }
    return storage
  }

  @Test("replays to its state", arguments: try manifest())
  func replays(_ golden: Golden) throws {
    let result = Verifier(try storage(golden)) { () throws(StoreError) in nil }.run()
    #expect(result.lastSequence == golden.last)
    #expect(result.digest == golden.digest)
    #expect(result.events == golden.events)
    #expect(result.isSound == ["clean", "unclean"].contains(golden.opening), "\(result.problems)")
  }

  @Test("opens as it should", arguments: try manifest())
  func opens(_ golden: Golden) async throws {
    let lab = Lab(memory: 3)
    let storage = try storage(golden)
    guard golden.opening != "refused" else {
      await #expect(throws: CacheError.self) { try await lab.open(storage) }
      return
    }
    try await lab.open(storage)
    let cache = try #require(lab.cache)
    #expect(cache.recovery.journal.rawValue == golden.opening)
    #expect(cache.recovery.lastSequence == golden.last)
    try await lab.attempt("pypi:after-all", [1])
    #expect(try await cache.get(try CacheKey("pypi:after-all")) == [1])
    try await lab.end()
    #expect(lab.verify(storage).isSound)
  }

  @Test("the manifest names every journal", arguments: versions)
  func complete(_ version: Int) throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: Self.directory(version).path)
      .filter { $0 != "manifest.tsv" }
    #expect(try Set(Self.manifest(version).map(\.name)) == Set(names))
  }

  @Test("small frames are runs: one begins, the others refer back")
  func runs() throws {
    let bytes = [UInt8](
      try Data(
        contentsOf: Self.directory(2).appendingPathComponent("runs/00000001.journal")))
    // Frames begin behind the segment's header; flags at 5, the stored length at 8 (Format.swift).
    var flags: [UInt8] = []
    var at = 64
    while at + 64 <= bytes.count, bytes[at] == UInt8(ascii: "H") {
      flags.append(bytes[at + 5])
      at += 64 + bytes[at + 8..<at + 12].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    #expect(flags.filter { $0 == 1 }.count == 1)
    #expect(flags.filter { $0 == 3 }.count >= 39)
  }

  @Test("values, keys and reasons come back byte for byte", arguments: versions)
  func contents(_ version: Int) throws {
    let golden = try #require(try Self.manifest(version).first { $0.name == "closed" })
    var lines: [String] = []
    _ = try EventStream(try storage(golden)).replay { event in
      if case .set(let set) = event.record.event {
        lines.append(
          "\(event.record.sequence) \(String(decoding: set.key, as: UTF8.self)) "
            + "\(set.value.count) \(set.reason ?? "-")")
      }
    }
    #expect(
      lines == [
        "2 pypi:a 10 golden", "3 pypi:b 10 golden", "4 pypi:c 10 golden", "7 pypi:d 0 -",
        "11 npm:@é/ü 3000 -", "13 pypi:e 2 -",
      ], "\(lines)")
  }
}
