import Foundation
import Hindsight
import HindsightTesting
import Testing

@Suite("The command line")
struct CommandTests {
  @Test("T040.15 a value survives into a new process, one command at a time")
  func oneOff() throws {
    let scratch = try TemporaryDirectory()
    let set = try Command.run(
      ["set", scratch.cache, "PyPI", "-p", "My_Package", #"{"n":1}"#, "--reason", "why"])
    #expect(set.status == 0 && set.lines == ["set as event 2"])
    let get = try Command.run(["get", scratch.cache, "pypi:my-package"])
    #expect(get.status == 0 && get.lines == [#"{"n":1}"#])
    let said = /memory hit, set (\d+\.\d{3}) s ago as event 2, expires in (\d+\.\d{3}) s\n/
    let times = try #require(try said.wholeMatch(in: get.errors), "\(get.errors)")
    let (age, life) = (try #require(Double(times.1)), try #require(Double(times.2)))
    #expect(age > 0 && abs(age + life - 3_600) < 0.01, "\(get.errors)")
    let value = try json(
      try Command.run(["get", scratch.cache, "pypi:my-package", "--json"]).output)
    #expect(value["hit"] as? Bool == true && value["tier"] as? String == "memory")
    #expect(value["origin"] as? Int == 2)
    #expect(try Command.run(["count", scratch.cache]).lines == ["memory 1, store 1"])
    let gone = try Command.run(["invalidate", scratch.cache, "pypi:my-package"])
    #expect(gone.lines == ["invalidated"])
    let miss = try json(
      try Command.run(["get", scratch.cache, "pypi:my-package", "--json"]).output)
    #expect(miss["hit"] as? Bool == false)
    let events = try Command.run(["events", scratch.cache, "--key", "pypi:my-package", "--json"])
    #expect(try events.lines.map { try json($0)["event"] as? String } == ["set", "invalidated"])
    let opened = try #require(try Command.run(["events", scratch.cache, "--json"]).lines.first)
    let format = try #require(try json(opened)["format"] as? Int)
    #expect(try Command.run(["--version"]).output.hasSuffix(", journal format \(format)\n"))
    let cleared = try Command.run(["clear", scratch.cache, "--json"])
    #expect(try json(cleared.output)["store"] as? Int == 0)
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 0 && verified.output.hasPrefix("ok: "))
    let statistics = try json(try Command.run(["stats", scratch.cache, "--json"]).output)
    #expect(statistics["statistics"] != nil && statistics["recovery"] != nil)
  }

  @Test("INV017 the history tells limits by bytes, too, where there are any")
  func openedLimits() async throws {
    let scratch = try TemporaryDirectory()
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: 10, byteCountMax: 1_000)
    try await withCache(at: scratch.cache, of: Int.self, configuration: configuration) { _ in }
    #expect(try Command.run(["set", scratch.cache, "k", "1", "--memory-entries", "9"]).status == 0)
    let events = try Command.run(["events", scratch.cache]).lines
    #expect(
      events[0].contains(" opened memoryEntries=10 memoryBytes=1000 storeEntries=100000 memoryTTL=")
    )
    // As the help says.
    #expect(
      events[2].contains(" opened memoryEntries=9 memoryBytes=1000 storeEntries=100000 memoryTTL="))
    let help = try Command.run(["set", "--help"]).output
    #expect(help.matches(of: /A\s+limit\s+by\s+bytes\s+stays/).count == 2, "\(help)")
    let first = try json(try Command.run(["events", scratch.cache, "--json"]).lines[0])
    #expect(first["memoryBytes"] as? Int == 1_000 && first["storeBytes"] == nil, "\(first)")
  }

  @Test("a value is printed as JSON that means the same, on one line")
  func printedValue() throws {
    let scratch = try TemporaryDirectory()
    let value = "{\n  \"a\":\t\"x\u{200D}y\u{202E}z\"\r\n}"
    #expect(try Command.run(["set", scratch.cache, "a:b", value]).status == 0)
    let get = try Command.run(["get", scratch.cache, "a:b"])
    #expect(get.lines == [#"{   "a": "x\u200dy\u202ez"  }"#])
    #expect(try json(get.output)["a"] as? String == "x\u{200D}y\u{202E}z")
  }

  @Test("an argument that is not UTF-8 is refused with code 2, not changed into another")
  func brokenArgument() throws {
    let scratch = try TemporaryDirectory()
    // The shell adds it behind the others: Foundation's arguments are Unicode.
    let command = try Command(["get", scratch.cache], limits: #"set -- "$@" "$(printf 'a\377')""#)
    let result = try command.end()
    #expect(result.status == 2)
    #expect(result.errors.contains("argument 3 is not UTF-8: a\u{FFFD}\n"))
  }

  @Test("exec answers every line in order, and goes on after bad ones")
  func exec() throws {
    let scratch = try TemporaryDirectory()
    // The sweeper would be faster than the cleanup at times.
    let result = try Command.run(
      ["exec", "--cache", scratch.cache, "--sweep-interval", "0"],
      input: [
        #"{"op":"set","key":"pypi:flask","value":{"name":"flask"},"memoryTTL":60,"storeTTL":120}"#,
        #"{"op":"get","registry":"PyPI","package":"Flask"}"#, "{", #"{"op":"fly"}"#,
        #"{"op":"get","key":""}"#, #"{"op":"set","key":"a:b","value":1,"memoryTTL":-1}"#,
        #"{"op":"set","key":"a:b"}"#, #"{"op":"count"}"#, #"{"op":"contains","key":"a:b"}"#,
        #"{"op":"invalidate","key":"pypi:flask"}"#, #"{"op":"get","key":"pypi:flask"}"#,
        #"{"op":"set","key":"x:y","value":null,"memoryTTL":0,"storeTTL":0}"#,
        #"{"op":"cleanup"}"#, #"{"op":"clear","prefix":"pypi:"}"#, #"{"op":"sync"}"#,
        #"{"op":"settle"}"#, #"{"op":"stats"}"#, "",
      ])
    #expect(result.status == 0)
    let replies = try result.lines.map { try json($0) }
    #expect(replies.count == 18)
    func code(_ at: Int) -> String? { (replies[at]["error"] as? [String: Any])?["code"] as? String }
    #expect(replies[0]["sequence"] as? Int == 2)
    #expect(replies[1]["tier"] as? String == "memory" && replies[1]["origin"] as? Int == 2)
    let life = try #require(replies[1]["expiresIn"] as? Double)
    #expect(life > 30 && life <= 60)
    #expect(code(2) == "badRequest" && code(3) == "badRequest")
    #expect(code(4) == "invalidKey" && code(5) == "invalidTTL" && code(6) == "badRequest")
    #expect(replies[7]["memory"] as? Int == 1 && replies[7]["store"] as? Int == 1)
    #expect(replies[9]["removed"] as? Bool == true)
    #expect(replies[10]["why"] as? String == "invalidated")
    #expect(replies[12]["removed"] as? Int == 1)
    #expect(replies[13]["store"] as? Int == 0)
    #expect(replies[14]["sequence"] as? Int == replies[15]["sequence"] as? Int)
    #expect(code(17) == "badRequest")
    let statistics = try #require(replies[16]["statistics"] as? [String: Any])
    #expect(statistics["projectionLag"] as? Int == 0)
  }

  @Test("S040 a second writer is told who has the cache; readers are welcome")
  func locked() throws {
    let scratch = try TemporaryDirectory()
    let holder = try Command(["exec", "--cache", scratch.cache])
    try holder.send([#"{"op":"set","key":"a:b","value":1}"#])
    #expect(holder.receive(1).count == 1)
    let second = try Command.run(["count", scratch.cache])
    #expect(second.status == 3)
    #expect(second.errors.contains("process \(holder.process.processIdentifier)"))
    #expect(try Command.run(["verify", scratch.cache]).status == 0)
    #expect(try Command.run(["events", scratch.cache]).lines.count == 2)
    #expect(try holder.end().status == 0)
    #expect(try Command.run(["count", scratch.cache]).status == 0)
  }

  @Test("exit codes: 1 a failed check, 2 wrong usage, 3 no journal to open")
  func exitCodes() throws {
    let scratch = try TemporaryDirectory()
    let scenario = scratch.path + "/wrong.scenario"
    try "set a:b 1\nget a:b -> miss\n".write(toFile: scenario, atomically: true, encoding: .utf8)
    let mismatch = try Command.run(["run", scenario])
    #expect(mismatch.status == 1)
    #expect(mismatch.output == "\(scenario):2: expected miss, got hit memory 1\n")
    try "fly\n".write(toFile: scenario, atomically: true, encoding: .utf8)
    #expect(try Command.run(["run", scenario]).status == 2)
  }

  @Test("one scenario that can't be run is named with its line, and the others are run")
  func scenarios() throws {
    let scratch = try TemporaryDirectory()
    func file(_ name: String, _ text: String) throws -> String {
      let path = scratch.path + "/" + name
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      return path
    }
    let good = try file("good", "set a:b 1\nget a:b -> hit memory 1\n")
    let impossible = try file("impossible", "\nconfig memory.entries=0\n")
    let wrong = try file("wrong", "clock 2026-01-01T00:00:00Z\nfly\n")
    let missing = scratch.path + "/missing"
    let result = try Command.run(["run", good, impossible, good, wrong, missing, good])
    #expect(result.status == 2)
    let lines = result.lines
    #expect(lines.count == 4 && lines.filter { $0.hasPrefix(good + ": ok") }.count == 3)
    #expect(
      lines.dropFirst().first?.hasPrefix(
        impossible + ":2: expected no error, got error invalidConfiguration: ") == true)
    #expect(result.errors.contains("\(wrong):2: unknown command 'fly'\n"))
    #expect(result.errors.contains("\(missing) can't be read"))
    #expect(try Command.run(["run", impossible, good]).status == 1)
    #expect(try Command.run(["fly"]).status == 2)
    #expect(try Command.run(["get", scratch.cache]).status == 2)
    #expect(try Command.run(["get", scratch.cache, ""]).status == 2)
    #expect(try Command.run(["set", scratch.cache, "a:b", "{"]).status == 2)
    #expect(try Command.run(["set", scratch.cache, "a:b", "1", "--ttl", "-5"]).status == 2)
    #expect(try Command.run(["verify", scratch.path + "/nowhere"]).status == 3)
    #expect(try Command.run(["--help"]).status == 0)
  }

  @Test("damage: refused with code 3, named by verify with code 1, cut out by repair")
  func damage() throws {
    let scratch = try TemporaryDirectory()
    let sets = (0..<200).map { #"{"op":"set","key":"k:\#($0)","value":"\#($0)"}"# }
    for line in [sets.prefix(100), sets.suffix(100)] {
      #expect(try Command.run(["exec", "--cache", scratch.cache], input: Array(line)).status == 0)
    }
    let segment = URL(fileURLWithPath: scratch.cache + "/00000001.journal")
    var bytes = try Data(contentsOf: segment)
    bytes[300] ^= 4
    try bytes.write(to: segment)
    let refused = try Command.run(["count", scratch.cache])
    #expect(refused.status == 3)
    #expect(refused.errors.contains("00000001.journal") && refused.errors.contains("repair"))
    #expect(try Data(contentsOf: segment) == bytes)
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 1 && verified.output.contains("DAMAGE 00000001.journal, offset "))
    let repaired = try Command.run(["repair", scratch.cache])
    #expect(repaired.status == 0 && repaired.output.contains("kept aside: "))
    #expect(try Command.run(["count", scratch.cache]).status == 0)
    #expect(try Command.run(["verify", scratch.cache]).status == 0)
  }
}
