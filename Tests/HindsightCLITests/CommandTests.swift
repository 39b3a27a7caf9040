import Foundation
import Testing

@Suite("The command line")
struct CommandTests {
  @Test("T040.15 a value survives into a new process, one command at a time")
  func oneOff() throws {
    let scratch = try Scratch()
    let set = try Command.run(
      ["set", scratch.cache, "PyPI", "-p", "My_Package", #"{"n":1}"#, "--reason", "why"])
    #expect(set.status == 0 && set.lines == ["set as event 2"])
    let get = try Command.run(["get", scratch.cache, "pypi:my-package"])
    #expect(get.status == 0 && get.lines == [#"{"n":1}"#])
    let said = /memory hit, set \d+\.\d{3} s ago as event 2, expires in \d+\.\d{3} s\n/
    #expect(get.errors.wholeMatch(of: said) != nil, "\(get.errors)")
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

  @Test("a one-off command opens a cache as it was last opened")
  func inheritsConfiguration() throws {
    let scratch = try Scratch()
    let sets = (0..<5).map { #"{"op":"set","key":"k:\#($0)","value":\#($0)}"# }
    let exec = ["exec", "--cache", scratch.cache, "--memory-entries", "3", "--store-entries", "4"]
    #expect(try Command.run(exec, input: sets).status == 0)
    #expect(try Command.run(["count", scratch.cache]).lines == ["memory 3, store 4"])
    #expect(try Command.run(["set", scratch.cache, "k:5", "5"]).status == 0)
    #expect(try Command.run(["count", scratch.cache]).lines == ["memory 3, store 4"])
  }

  @Test("exec opens a cache as it was last opened, too, and its options say otherwise")
  func execInheritsConfiguration() throws {
    let scratch = try Scratch()
    let sets = (0..<1_100).map { #"{"op":"set","key":"k:\#($0)","value":\#($0)}"# }
    func exec(_ options: [String], _ lines: [String]) throws -> [String] {
      let result = try Command.run(["exec", "--cache", scratch.cache] + options, input: lines)
      #expect(result.status == 0, "\(result.errors)")
      return result.lines
    }
    func count(_ options: [String] = []) throws -> String {
      try #require(try exec(options, [#"{"op":"count"}"#]).last)
    }
    _ = try exec(["--memory-entries", "1050", "--store-ttl", "5000", "--access", "off"], sets)
    #expect(try count() == #"{"ok":true,"memory":1050,"store":1100}"#)
    let opened = try Command.run(["events", scratch.cache]).lines.filter { $0.contains(" opened ") }
    let settings = opened.map { $0.split(separator: " ").dropFirst(2).joined(separator: " ") }
    #expect(settings.count == 2 && Set(settings).count == 1, "\(settings)")
    #expect(try count(["--store-entries", "1060"]).contains(#""store":1060"#))
    #expect(try count(["--no-store"]).contains(#""store":0"#))
    #expect(try count().contains(#""store":0"#))
    let set = #"{"op":"set","key":"k:new","value":1}"#
    let replies = try exec(["--store-entries", "1060"], [set, #"{"op":"count"}"#])
    #expect(replies.last?.contains(#""store":1}"#) == true, "\(replies)")
  }

  @Test("a value is printed as JSON that means the same, on one line")
  func printedValue() throws {
    let scratch = try Scratch()
    let value = "{\n  \"a\":\t\"x\u{200D}y\u{202E}z\"\r\n}"
    #expect(try Command.run(["set", scratch.cache, "a:b", value]).status == 0)
    let get = try Command.run(["get", scratch.cache, "a:b"])
    #expect(get.lines == [#"{   "a": "x\u200dy\u202ez"  }"#])
    #expect(try json(get.output)["a"] as? String == "x\u{200D}y\u{202E}z")
  }

  @Test("an argument that is not UTF-8 is refused with code 2, not changed into another")
  func brokenArgument() throws {
    let scratch = try Scratch()
    // The shell adds it behind the others: Foundation's arguments are Unicode.
    let command = try Command(["get", scratch.cache], limits: #"set -- "$@" "$(printf 'a\377')""#)
    let result = try command.end()
    #expect(result.status == 2)
    #expect(result.errors.contains("argument 3 is not UTF-8: a\u{FFFD}\n"))
  }

  @Test("commands that only look or remove make no cache where there is none: code 3")
  func noCache() throws {
    let scratch = try Scratch()
    let empty = scratch.path + "/empty"
    try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: false)
    for command in [["get"], ["count"], ["stats"], ["invalidate"], ["clear"], ["repair"]] {
      let key = ["get", "invalidate"].contains(command[0]) ? ["a:b"] : []
      for (directory, said) in [
        (scratch.cache, "there is no such directory"), (empty, "there is no cache in it"),
      ] {
        let result = try Command.run(command + [directory] + key)
        #expect(result.status == 3 && result.errors.contains(said), "\(command): \(result)")
      }
    }
    #expect(access(scratch.cache, F_OK) != 0)
    #expect(try FileManager.default.contentsOfDirectory(atPath: empty).isEmpty)
    #expect(try Command.run(["set", empty, "a:b", "1"]).status == 0)
    #expect(try Command.run(["exec", "--cache", scratch.cache]).status == 0)
    #expect(try Command.run(["count", scratch.cache]).lines == ["memory 0, store 0"])
  }

  /// Leaves a cache behind as a crash does that tore the last frame.
  private func tear(_ cache: String) throws {
    let options = ["--no-store", "--sync-interval", "0"]
    let command = try Command(["exec", "--cache", cache] + options)
    for key in ["a:b", "a:c"] {
      try command.send([#"{"op":"set","key":"\#(key)","value":1}"#])
      #expect(command.receive(1).count == 1)
    }
    kill(command.process.processIdentifier, SIGKILL)
    command.process.waitUntilExit()
    let segment = URL(fileURLWithPath: cache + "/00000001.journal")
    var bytes = try Data(contentsOf: segment)
    let last = try #require(bytes.lastIndex { $0 != 0 })
    bytes[last] ^= 1
    try bytes.write(to: segment)
  }

  @Test("what an opening dropped is said once: on standard error, or by stats")
  func saysWhatWasDropped() throws {
    let scratch = try Scratch()
    try tear(scratch.cache)
    let count = try Command.run(["count", scratch.cache])
    #expect(count.status == 0 && count.lines == ["memory 1, store 0"])
    let said = /hindsight: opening the cache: dropped \d+ bytes; aside \S+\.quarantine\S*\n/
    #expect(count.errors.wholeMatch(of: said) != nil, "\(count.errors)")
    #expect(try Command.run(["count", scratch.cache]).errors.isEmpty)

    let other = try Scratch()
    try tear(other.cache)
    let stats = try Command.run(["stats", other.cache])
    #expect(stats.status == 0 && stats.errors.isEmpty, "\(stats.errors)")
    #expect(
      stats.output.contains(/\ndropped   \d+ bytes\naside     \S+\.quarantine/), "\(stats.output)")
    #expect(!(try Command.run(["stats", other.cache]).output.contains("dropped")))
  }

  /// Whether a directory has a journal.
  private func hasJournal(_ directory: String) throws -> Bool {
    try FileManager.default.contentsOfDirectory(atPath: directory).contains {
      $0.hasSuffix(".journal")
    }
  }

  @Test(
    "S041 what a first opening that failed left behind is opened with a journal",
    arguments: ["kill", "error:ENOSPC"])
  func failedFirstOpening(action: String) throws {
    let scratch = try Scratch()
    let failing = "export HINDSIGHT_FAILPOINTS=segment.create.before:1:\(action)"
    let command = try Command(["exec", "--cache", scratch.cache], limits: failing)
    #expect(try command.end().status != 0)
    #expect(access(scratch.cache + "/store.sqlite", F_OK) == 0)
    #expect(try !hasJournal(scratch.cache))
    #expect(try Command.run(["set", scratch.cache, "a:b", "1"]).status == 0)
    #expect(try hasJournal(scratch.cache))
    #expect(try Command.run(["exec", "--cache", scratch.cache]).status == 0)
    #expect(try Command.run(["get", scratch.cache, "a:b"]).lines == ["1"])
  }

  @Test("a store that is no store of ours is no reason to go without a journal")
  func foreignStore() throws {
    let scratch = try Scratch()
    try FileManager.default.createDirectory(
      atPath: scratch.cache, withIntermediateDirectories: false)
    try Data("no database".utf8).write(to: URL(fileURLWithPath: scratch.cache + "/store.sqlite"))
    #expect(try Command.run(["set", scratch.cache, "a:b", "1"]).status == 0)
    #expect(try hasJournal(scratch.cache))
  }

  @Test("a cache without a journal goes on without one, also when it is empty")
  func withoutJournal() throws {
    let scratch = try Scratch()
    let set = ["set", scratch.cache, "a:b", "1"]
    #expect(try Command.run(set + ["--no-journal"]).status == 0)
    #expect(try Command.run(["get", scratch.cache, "a:b"]).lines == ["1"])
    #expect(try Command.run(["clear", scratch.cache]).status == 0)
    #expect(try Command.run(set).status == 0)
    #expect(try Command.run(["exec", "--cache", scratch.cache]).status == 0)
    #expect(try Command.run(["get", scratch.cache, "a:b"]).lines == ["1"])
    #expect(try !hasJournal(scratch.cache))
  }

  @Test("exec answers every line in order, and goes on after bad ones")
  func exec() throws {
    let scratch = try Scratch()
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
    let scratch = try Scratch()
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
    let scratch = try Scratch()
    let scenario = scratch.path + "/wrong.scenario"
    try "set a:b 1\nget a:b -> miss\n".write(toFile: scenario, atomically: true, encoding: .utf8)
    let mismatch = try Command.run(["run", scenario])
    #expect(mismatch.status == 1)
    #expect(mismatch.output == "\(scenario):2: expected miss, got hit memory 1\n")
    try "fly\n".write(toFile: scenario, atomically: true, encoding: .utf8)
    #expect(try Command.run(["run", scenario]).status == 2)
    #expect(try Command.run(["fly"]).status == 2)
    #expect(try Command.run(["get", scratch.cache]).status == 2)
    #expect(try Command.run(["get", scratch.cache, ""]).status == 2)
    #expect(try Command.run(["set", scratch.cache, "a:b", "{"]).status == 2)
    #expect(try Command.run(["set", scratch.cache, "a:b", "1", "--ttl", "-5"]).status == 2)
    #expect(try Command.run(["verify", scratch.path + "/nowhere"]).status == 3)
    #expect(try Command.run(["--help"]).status == 0)
  }

  @Test(
    "where no file may become as large as a segment, opening says so with code 3",
    arguments: [true, false])
  func fullDisk(isExec: Bool) throws {
    let scratch = try Scratch()
    let command = try Command(
      isExec ? ["exec", "--cache", scratch.cache] : ["set", scratch.cache, "a:b", "1"],
      limits: "ulimit -f 2048")
    let result = try command.end()
    #expect(result.status == 3)
    #expect(result.errors.contains("outOfSpace"), "\(result.errors)")
    #expect(result.output.isEmpty)
  }

  @Test("damage: refused with code 3, named by verify with code 1, cut out by repair")
  func damage() throws {
    let scratch = try Scratch()
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
