import Foundation
import HindsightTesting
import Testing

/// Short runs of the tools that kill and load for hours elsewhere.
@Suite("S040 real crashes")
struct CrashToolTests {
  private func crash(_ arguments: [String]) throws -> [String: Any] {
    let scratch = try TemporaryDirectory()
    let command = try Command(
      ["--scratch", scratch.path, "--json"] + arguments, tool: "crash-test")
    let result = try command.end()
    let report = try json(result.output)
    // No compiler: the power stays on, and the report says so.
    let isSkipped = try parts(report).first?["skipped"] != nil
    #expect(result.status == (isSkipped ? 2 : 0), "\(result.output) \(result.errors)")
    return report
  }

  private func parts(_ report: [String: Any]) throws -> [[String: Any]] {
    try #require(report["parts"] as? [[String: Any]])
  }

  @Test(
    "killed, without power, interrupted, out of space: nothing acknowledged is lost",
    arguments: ["random", "power", "interrupts", "disk"])
  func part(name: String) throws {
    let report = try crash(["--kills", "10", "--seed", "5", "--parts", name])
    let part = try #require(parts(report).first)
    #expect((report["problems"] as? [String])?.isEmpty == true)
    if let reason = part["skipped"] as? String { return #expect(reason.contains("compiler")) }
    #expect(try #require(part["acknowledgedChecked"] as? Int) > 0)
    #expect(try #require(part["verifications"] as? Int) > 0)
    if name == "power" { #expect(try #require(part["writesUndone"] as? Int) > 0) }
    if name == "interrupts" { #expect(try #require(part["interruptions"] as? Int) > 0) }
    if name == "disk" { #expect(try #require(part["refusedOperations"] as? Int) > 0) }
  }

  @Test("a process that kills itself at a failpoint, and one whose write fails there")
  func failpoints() throws {
    let report = try crash([
      "--seed", "5", "--parts", "failpoints", "--failpoint", "segment.write.middle",
      "--passages", "1,4",
    ])
    let firings = try #require(report["firings"] as? [String: Int])
    #expect(firings == ["segment.write.middle": 5])
    #expect(try parts(report).first?["killsAtFailpoints"] as? Int == 2)
  }

  @Test(
    "what was asked for and not run is no success",
    arguments: [
      ["--parts", ","], ["--parts", ""], ["--passages", ","], ["--failpoint", "nosuch"],
      ["--kills", "0"],
    ])
  func askedForNothing(arguments: [String]) throws {
    let command = try Command(arguments, tool: "crash-test")
    #expect(try command.end().status == 64)
  }

  @Test("a part asked for by name must run; by default, one may be left out")
  func skipped() throws {
    let scratch = try TemporaryDirectory()
    let run = ["--scratch", scratch.path, "--kills", "1", "--seed", "5"]
    let power = try Command(
      run + ["--parts", "power"], tool: "crash-test", limits: "PATH=/nonexistent"
    ).end()
    #expect(power.status == 2, "\(power.output)")
    #expect(power.output.contains("power: NOT RUN: there is no C compiler"))
    #expect(power.output.contains("NOT TESTED power was not run"))
  }

  /// Runs crash-test on another program in the place of `hindsight`.
  private func crashTest(
    _ scratch: TemporaryDirectory, parts: String, kills: Int, hindsight: String
  ) throws -> Command.Result {
    try Command(
      [
        "--scratch", scratch.path, "--seed", "5", "--parts", parts, "--kills", "\(kills)",
        "--hindsight", hindsight,
      ], tool: "crash-test"
    ).end()
  }

  @Test(
    "a cache that refuses what it could do is found out",
    arguments: ["EIO", "ENOSPC"])
  func refusing(error: String) throws {
    let scratch = try TemporaryDirectory()
    // One that goes on in memory would refuse little.
    let script = """
      for a; do shift; [ "$a" = --continue-in-memory ] || set -- "$@" "$a"; done
      HINDSIGHT_FAILPOINTS=segment.write.before:4+:error:\(error) exec HINDSIGHT "$@"
      """
    let refusing = try wrapper(script, in: scratch)
    let result = try crashTest(scratch, parts: "random", kills: 10, hindsight: refusing)
    #expect(result.status == 1, "\(result.output)")
    #expect(result.output.contains("was refused without a reason"), "\(result.output)")
  }

  @Test("what a loss on a small disk left is kept")
  func evidence() throws {
    let scratch = try TemporaryDirectory()
    let losing = try wrapper("rm -f \"$3\"/*; exec HINDSIGHT \"$@\"", in: scratch)
    let result = try crashTest(scratch, parts: "disk", kills: 1, hindsight: losing)
    #expect(result.status == 1, "\(result.output)")
    let place = try #require(result.lines.first { $0.contains(" problems in part disk") })
    let directory = try #require(place.components(separatedBy: ", in ").last)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory).contains("lock"))
    let kept = try #require(result.lines.last).replacing("the directories are kept in ", with: "")
    #expect(directory.hasPrefix(kept + "/"))
  }

  @Test("the line that a loss prints repeats the part that found it, alone")
  func again() throws {
    let scratch = try TemporaryDirectory()
    let losing = try wrapper(
      "[ -z \"$HINDSIGHT_FAILPOINTS\" ] || rm -f \"$3\"/*; exec HINDSIGHT \"$@\"", in: scratch)
    let first = try Command(
      [
        "--scratch", scratch.path, "--seed", "5", "--parts", "random,failpoints", "--kills", "2",
        "--hindsight", losing, "--failpoint", "segment.write.before", "--passages", "7",
      ], tool: "crash-test"
    ).end()
    #expect(first.status == 1, "\(first.output)")
    let line = try #require(first.lines.first { $0.hasPrefix("again: crash-test ") })
    let arguments = line.split(separator: " ").dropFirst(2).map(String.init)
    let second = try Command(arguments, tool: "crash-test").end()
    #expect(second.status == 1, "\(second.output)")
    #expect(second.lines.contains(line))
    #expect(!second.output.contains("random:"))
    let openedWith = first.lines.filter { $0.contains("opened with") }
    #expect(openedWith.count == 1)
    #expect(second.lines.filter { $0.contains("opened with") } == openedWith)
  }

  @Test("a failpoint that never fires is no success")
  func neverFired() throws {
    let scratch = try TemporaryDirectory()
    let deaf = try wrapper("unset HINDSIGHT_FAILPOINTS; exec HINDSIGHT \"$@\"", in: scratch)
    let result = try Command(
      [
        "--scratch", scratch.path, "--seed", "5", "--parts", "failpoints", "--hindsight", deaf,
        "--failpoint", "segment.write.before", "--passages", "1",
      ], tool: "crash-test"
    ).end()
    #expect(result.status == 2, "\(result.output)")
    #expect(result.output.contains("NOT TESTED segment.write.before never fired"))
  }

  @Test(
    "a simulator that runs no world doesn't say that promises held",
    arguments: [["--minutes", "0"], ["--seeds", "0"], ["--minutes", "1e-12"]])
  func noWorlds(arguments: [String]) throws {
    let result = try Command(arguments, tool: "simulator").end()
    #expect(result.status == 64 || result.status == 2)
    #expect(!result.output.contains("every promise held"))
  }

  /// A program that stands in for `hindsight`, which it calls HINDSIGHT.
  private func wrapper(_ script: String, in scratch: TemporaryDirectory) throws -> String {
    let path = scratch.path + "/wrapper"
    let hindsight = Command.executable("hindsight").path
    try "#!/bin/sh\n\(script.replacing("HINDSIGHT ", with: hindsight + " "))\n".write(
      toFile: path, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
    return path
  }

  @Test(
    "a program that acknowledges before it has written is found out",
    .disabled(if: Sanitizer.isThread, "so slow a program has written before its replies arrive"))
  func findsLoss() throws {
    // On a busy machine the liar may get away with it once.
    var (seed, result) = (6, try lyingRun(seed: 6))
    while result.status == 0, seed < 9 {
      seed += 1
      result = try lyingRun(seed: seed)
    }
    #expect(result.status == 1)
    #expect(result.output.contains("was acknowledged"), "\(result.output)")
    #expect(result.output.contains("again: crash-test --seed \(seed)"))
  }

  private func lyingRun(seed: Int) throws -> Command.Result {
    let scratch = try TemporaryDirectory()
    let liar = try wrapper("exec HINDSIGHT \"$@\" --acknowledge enqueued", in: scratch)
    let command = try Command(
      [
        "--scratch", scratch.path, "--seed", "\(seed)", "--parts", "failpoints",
        "--hindsight", liar, "--failpoint", "segment.write.before",
        "--passages", "6,7,8,9,10,11,12,13,14,15,16",
      ], tool: "crash-test")
    return try command.end()
  }

  @Test(
    "a few seconds at full speed stay within every limit",
    .disabled(if: Sanitizer.isAddress, "the address sanitizer keeps what is freed"))
  func soak() throws {
    let scratch = try TemporaryDirectory()
    let command = try Command(
      ["--minutes", "0.05", "--seed", "5", "--cache", scratch.cache, "--json"], tool: "soak")
    let result = try command.end()
    let report = try json(result.output)
    let peaks = try #require(report["peaks"] as? [[String: Any]])
    #expect(peaks.count == 10)
    for peak in peaks {
      let (value, bound) = (peak["peak"] as? Int, peak["bound"] as? Int)
      #expect(try #require(value) <= #require(bound), "\(peak)")
    }
    // So short a run may bring about too little, but nothing wrong.
    let problems = try #require(report["problems"] as? [String])
    #expect(problems.allSatisfy { $0.contains("brought about no") }, "\(problems)")
    #expect(result.status == (problems.isEmpty ? 0 : 1), "\(result.errors)")
  }
}
