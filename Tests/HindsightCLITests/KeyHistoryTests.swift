import Foundation
import HindsightTesting
import Testing

/// What `events` says of a key whose history isn't whole.
@Suite("S040 the history of a key")
struct KeyHistoryTests {
  /// Three segments with checkpoints: `k:a` is set first, and again at the end, among much else.
  private func made() throws -> TemporaryDirectory {
    let scratch = try TemporaryDirectory()
    var random = SplitMix64(seed: 3)
    func set(_ key: String, _ value: String) -> String {
      #"{"op":"set","key":"\#(key)","value":"\#(value)"}"#
    }
    let settle = #"{"op":"settle"}"#
    var lines = [set("k:a", "V1"), set("k:b", "V1")]
    for number in 0..<84 {
      let noise = Data((0..<4_500).map { _ in UInt8.random(in: 0...255, using: &random) })
      lines.append(set("k:\(number)", noise.base64EncodedString()))
      if number % 4 == 3 { lines.append(settle) }
    }
    lines += [set("k:a", "V2"), settle]
    // On a busy machine the checkpoint at a segment's start may not be there before the next one is due.
    for _ in 0..<20 {
      let exec = ["exec", "--cache", scratch.cache, "--segment-bytes", "131072"]
      #expect(try Command.run(exec, input: lines).status == 0)
      let names = Set(try names(scratch))
      if names.isSuperset(
        of: (1...3).flatMap { ["0000000\($0).journal", "0000000\($0).checkpoint"] })
      {
        return scratch
      }
      try FileManager.default.removeItem(atPath: scratch.cache)
    }
    try #require(Bool(false), "a checkpoint was late each time")
    return scratch
  }

  private func names(_ scratch: TemporaryDirectory) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: scratch.cache)
  }

  /// Keeps the last segment only, without the closing checkpoint, as retention does.
  private func trimmed() throws -> TemporaryDirectory {
    let scratch = try made()
    for name in ["00000001.journal", "00000002.journal", "00000001.checkpoint"] {
      try FileManager.default.removeItem(atPath: scratch.cache + "/" + name)
    }
    return scratch
  }

  private func events(
    _ scratch: TemporaryDirectory, _ arguments: String...
  ) throws -> Command.Result {
    try Command.run(["events", scratch.cache] + arguments)
  }

  private func sequence(_ line: String?) throws -> UInt64 {
    let word = try #require(line?.split(separator: " ").first)
    return try #require(UInt64(word))
  }

  /// Changes a byte of a file where it stands.
  private func flip(_ path: String, at offset: Int) throws {
    let url = URL(fileURLWithPath: path)
    var bytes = try Data(contentsOf: url)
    bytes[offset] ^= 4
    let handle = try FileHandle(forWritingTo: url)
    try handle.write(contentsOf: bytes)
    try handle.close()
  }

  @Test("what a salvage cut out is told for every key, also where what is asked for ends inside it")
  func salvaged() throws {
    let scratch = try made()
    try FileManager.default.removeItem(atPath: scratch.cache + "/00000003.checkpoint")
    try flip(scratch.cache + "/00000003.journal", at: 200)
    #expect(try Command.run(["repair", scratch.cache]).output.hasPrefix("journal salvaged"))
    let found = try events(scratch, "--key", "k:a")
    #expect(found.status == 0, "a gap is part of the history")
    let kinds = found.lines.map { $0.split(separator: " ")[2] }
    try #require(kinds == ["set", "gap", "recovered"], "\(found.output)")
    #expect(found.errors.contains(" are not in the history; what event "), "\(found.errors)")
    let never = try events(scratch, "--key", "k:never")
    #expect(never.lines.count == 2 && never.errors == found.errors)
    // Whoever asks for the time before it isn't told.
    let gap = try sequence(found.lines.dropFirst().first)
    let line = try json(try events(scratch, "--key", "k:a", "--json").lines[1])
    let first = try #require(line["first"] as? UInt64)
    #expect(try events(scratch, "--key", "k:a", "--to", "\(first - 1)").errors.isEmpty)
    let inside = try events(scratch, "--key", "k:a", "--to", "\(first)")
    #expect(inside.lines.count == 1 && inside.errors.contains("events \(first) to \(gap - 1)"))
    #expect(try events(scratch, "--key", "k:a", "--from", "\(gap)").errors.isEmpty)
    #expect(!(try events(scratch, "--key", "k:a", "--from", "\(gap - 1)").errors.isEmpty))
  }

  @Test("behind damage that a checkpoint leads across: what was known of the key there")
  func damaged() throws {
    let scratch = try made()
    try flip(scratch.cache + "/00000002.journal", at: 50_000)
    let found = try events(scratch, "--key", "k:b")
    #expect(found.status == 1 && found.lines.count == 1)
    let said = found.errors.split(separator: "\n")
    try #require(said.count == 3, "\(said)")
    #expect(said[0].contains(" are missing: 00000002.journal"), "\(said)")
    #expect(said[1].contains(" are not in the history; a checkpoint leads on from there (20"))
    #expect(said[1].contains("): k:b was there, set as event 3 at "), "\(said)")
    #expect(said[2].contains("the history has holes"), "\(said)")
  }

  @Test("after retention: what was known of the key where the history that is left begins")
  func afterRetention() throws {
    let scratch = try trimmed()
    let first = try sequence(try events(scratch).lines.first)
    let begins = "hindsight: the history that is left begins behind event \(first - 1) ("
    let all = try events(scratch)
    #expect(all.status == 0 && all.errors.hasPrefix(begins), "\(all.errors)")
    let alive = try events(scratch, "--key", "k:b")
    #expect(alive.status == 0 && alive.output.isEmpty && alive.errors.hasPrefix(begins))
    #expect(alive.errors.contains(": k:b was there, set as event 3 at 20"), "\(alive.errors)")
    #expect(alive.errors.contains(", in memory until 20"), "\(alive.errors)")
    #expect(alive.errors.contains(", in the store until 20"), "\(alive.errors)")
    for bound in ["\(first - 1)", "2026-01-01T00:00:00Z"] {
      #expect(try events(scratch, "--key", "k:b", "--to", bound).errors == alive.errors)
      #expect(try events(scratch, "--key", "k:b", "--json", "--from", bound).errors == alive.errors)
    }
    let never = try events(scratch, "--key", "k:never")
    #expect(never.status == 0 && never.errors.contains(": k:never was not there"))
    // Nothing is missing of what is asked for.
    #expect(try events(scratch, "--key", "k:b", "--from", "\(first)").errors.isEmpty)
    // Nor is it where all is left.
    #expect(try events(made(), "--key", "k:b").errors.isEmpty)
  }

  @Test("an empty key is refused, as one that is too long, before anything is read")
  func impossibleKey() throws {
    for key in ["", String(repeating: "k", count: 1_025)] {
      let found = try Command.run(["events", "/nowhere", "--key", key])
      #expect(found.status == 2 && found.errors.contains("invalidKey"), "\(found.errors)")
      #expect(found.errors == (try Command.run(["get", "/nowhere", key]).errors))
    }
  }
}
