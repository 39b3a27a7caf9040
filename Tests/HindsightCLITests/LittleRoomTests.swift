import Foundation
import HindsightTesting
import Testing

/// A shell's limit on the size of files stands in for a disk that is nearly full: space is allocated ahead, and
/// fails in the same way.
@Suite("The command line where there is little room")
struct LittleRoomTests {
  /// A megabyte, less than exec's segments.
  private static let megabyte = "ulimit -f 2048"

  private func limited(
    _ arguments: [String], _ limits: String = megabyte
  ) throws -> Command.Result {
    try Command(arguments, limits: limits).end()
  }

  private func segments(_ scratch: TemporaryDirectory) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: scratch.cache)
      .filter { $0.hasSuffix(".journal") }.sorted()
  }

  /// Sets values that no compression makes smaller, some 6 KB each.
  private func sets(_ count: Int) -> [String] {
    var random = SplitMix64(seed: 5)
    return (0..<count).map { number in
      let noise = Data((0..<4_500).map { _ in UInt8.random(in: 0...255, using: &random) })
      return #"{"op":"set","key":"k:\#(number)","value":"\#(noise.base64EncodedString())"}"#
    }
  }

  @Test(
    "where a segment doesn't fit, opening says so with code 3, and that it is the limit",
    .disabled(if: Sanitizer.isThread, "the sanitizer itself needs larger files"),
    arguments: [true, false])
  func noRoom(isExec: Bool) throws {
    let scratch = try TemporaryDirectory()
    let result =
      try isExec
      ? limited(["exec", "--cache", scratch.cache])
      : limited(["set", scratch.cache, "a:b", "1"], "ulimit -f 100")
    #expect(result.status == 3)
    #expect(result.errors.contains("outOfSpace"), "\(result.errors)")
    #expect(result.errors.contains("; raise the limit on file sizes (ulimit -f"))
    #expect(!result.errors.contains("free some space"), "\(result.errors)")
    #expect(result.output.isEmpty)
  }

  @Test("one-off commands need little room, and go on in the segment that is there")
  func oneOff() throws {
    let scratch = try TemporaryDirectory()
    #expect(try limited(["set", scratch.cache, "a:b", "1"]).status == 0)
    // More than a command allocates for itself.
    #expect(try Command.run(["exec", "--cache", scratch.cache], input: sets(40)).status == 0)
    let large = #""\#(String(repeating: "x", count: 100_000))""#
    for _ in 0..<2 {
      #expect(try limited(["get", scratch.cache, "a:b"]).lines == ["1"])
      #expect(try limited(["count", scratch.cache]).lines == ["memory 41, store 41"])
      #expect(try limited(["stats", scratch.cache]).status == 0)
      #expect(try limited(["set", scratch.cache, "a:large", large]).status == 0)
      #expect(try limited(["invalidate", scratch.cache, "a:large"]).lines == ["invalidated"])
    }
    #expect(try segments(scratch) == ["00000001.journal"])
    #expect(try limited(["repair", scratch.cache]).status == 0)
    #expect(try Command.run(["verify", scratch.cache]).status == 0)
  }

  @Test("a cache whose process was killed can be read with little room, too")
  func killed() throws {
    let scratch = try TemporaryDirectory()
    let command = try Command(["exec", "--cache", scratch.cache])
    try command.send([#"{"op":"set","key":"a:b","value":1}"#])
    #expect(command.receive(1).count == 1)
    kill(command.process.processIdentifier, SIGKILL)
    command.process.waitUntilExit()
    #expect(try limited(["get", scratch.cache, "a:b"]).lines == ["1"])
    #expect(try segments(scratch) == ["00000001.journal", "00000002.journal"])
    #expect(try Command.run(["verify", scratch.cache]).status == 0)
  }
}
