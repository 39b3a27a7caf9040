import Foundation
import HindsightTesting
import Testing

/// Real processes, really killed. The seeds are fixed; the moments are not.
@Suite("S040 kill -9")
struct KillTests {
  static let lookups = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/lookups/lookups.tsv.gz").path

  /// What a driver knows of one key: the last value acknowledged, and those sent since.
  private struct Known {
    var acknowledged: Int?
    var sent: [Int] = []
  }

  @Test(
    "nothing acknowledged is lost, and verify passes", arguments: ["written", "durable"])
  func kill(level: String) throws {
    let scratch = try TemporaryDirectory()
    var seed: UInt64 = level == "written" ? 1 : 2
    var known = [Known](repeating: Known(), count: 50)
    var value = 0
    for _ in 0..<6 {
      let command = try Command([
        "exec", "--cache", scratch.cache, "--acknowledge", level, "--memory-entries", "10",
      ])
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let batches = 3 + Int(seed >> 33) % 20
      for batch in 0..<batches {
        let keys = (0..<20).map { _ -> Int in
          seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          return Int(seed >> 33) % known.count
        }
        let lines = keys.map { key -> String in
          value += 1
          known[key].sent.append(value)
          return #"{"op":"set","key":"k:\#(key)","value":\#(value)}"#
        }
        try command.send(lines)
        if batch == batches - 1 { break }  // killed before it has answered, or while it does
        for (line, key) in zip(command.receive(lines.count), keys) {
          #expect(try json(line)["ok"] as? Bool == true)
          known[key].acknowledged = known[key].sent.last
          known[key].sent = known[key].sent.suffix(1)
        }
      }
      Foundation.kill(command.process.processIdentifier, SIGKILL)
      _ = try command.end()
      try check(&known, scratch)
    }
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 0, "\(verified.output)")
  }

  private func check(_ known: inout [Known], _ scratch: TemporaryDirectory) throws {
    let gets = known.indices.map { #"{"op":"get","key":"k:\#($0)"}"# }
    let result = try Command.run(
      ["exec", "--cache", scratch.cache, "--memory-entries", "10"], input: gets)
    #expect(result.lines.count == known.count, "\(result.errors)")
    for (key, line) in result.lines.enumerated() {
      let found = try json(line)["value"] as? Int
      if let found {
        #expect(known[key].sent.contains(found) || known[key].acknowledged == found)
        #expect(found >= known[key].acknowledged ?? 0)
        known[key] = Known(acknowledged: found, sent: [found])
      } else {
        #expect(known[key].acknowledged == nil, "k:\(key) is lost")
        known[key] = Known()
      }
    }
  }

  @Test("the demo's child goes on in a cache that is one batch further than it was told")
  func demoAhead() throws {
    let scratch = try TemporaryDirectory()
    // An answer that is first given in the batch which the killed child did and didn't report.
    var lines = ["=\tpypi\ta\t{\"n\":1}"] + (0..<32).map { "\($0)\tpypi\ta" }
    lines += ["1000\tpypi\ta", "=\tpypi\tb\t{\"n\":2}", "1001\tpypi\tb", "500000\tpypi\ta"]
    let stream = scratch.path + "/lookups.tsv"
    try (lines.joined(separator: "\n") + "\n").write(
      toFile: stream, atomically: true, encoding: .utf8)
    for from in ["0", "32"] {
      let result = try Command.run([
        "demo-worker", "--lookups", stream, "--cache", scratch.cache, "--from", from,
      ])
      #expect(result.status == 0, "from \(from): \(result.errors)")
    }
  }

  @Test(
    "a demo that fails keeps its cache, and says where",
    .disabled(if: Sanitizer.isThread, "the sanitizer itself needs larger files"))
  func demoKept() throws {
    let scratch = try TemporaryDirectory()
    let limits = "ulimit -f 1; export TMPDIR=\(scratch.path)"
    let result = try Command(["demo", "--lookups", Self.lookups], limits: limits).end()
    #expect(result.status == 3, "\(result.output) \(result.errors)")
    let line = try #require(
      result.errors.split(separator: "\n").first { $0.hasPrefix("the cache is kept in ") })
    let directory = String(line.dropFirst("the cache is kept in ".count))
    #expect(FileManager.default.fileExists(atPath: directory))
  }

  @Test("the demo's main job: fed, killed, recovered, verified")
  func demo() throws {
    let result = try Command.run(["demo", "--lookups", Self.lookups, "--json"])
    #expect(result.status == 0, "\(result.output) \(result.errors)")
    let report = try json(result.output)
    #expect(try #require(report["lookups"] as? Int) >= 50_000)
    #expect(try #require(report["names"] as? Int) >= 10_000)
    let killed = try #require(report["killed"] as? [String: Any])
    let finished = try #require(report["finished"] as? [String: Any])
    let acknowledged = try #require(
      (killed["progress"] as? [String: Any])?["acknowledged"] as? Int)
    let recovered = try #require((finished["opened"] as? [String: Any])?["lastSequence"] as? Int)
    #expect(acknowledged > 10_000 && recovered >= acknowledged)
    let verification = try #require(report["verification"] as? [String: Any])
    #expect((verification["problems"] as? [Any])?.isEmpty == true)
  }
}
