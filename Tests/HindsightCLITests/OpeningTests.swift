import Foundation
import Hindsight
import HindsightTesting
import Testing

@testable import HindsightCLI

@Suite("How the command line opens a cache")
struct OpeningTests {
  /// Leaves a cache behind as a crash does that tore the last frame.
  /// - Returns: how many bytes that has.
  @discardableResult
  private func tear(_ cache: String) throws -> Int {
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
    let frame = try #require(bytes.range(of: Data("HFRM".utf8), options: .backwards))
    return last + 1 - frame.lowerBound
  }

  /// Whether a directory has a journal.
  private func hasJournal(_ directory: String) throws -> Bool {
    try FileManager.default.contentsOfDirectory(atPath: directory).contains {
      $0.hasSuffix(".journal")
    }
  }

  @Test("a one-off command opens a cache as it was last opened")
  func inheritsConfiguration() throws {
    let scratch = try TemporaryDirectory()
    let sets = (0..<5).map { #"{"op":"set","key":"k:\#($0)","value":\#($0)}"# }
    let exec = ["exec", "--cache", scratch.cache, "--memory-entries", "3", "--store-entries", "4"]
    #expect(try Command.run(exec, input: sets).status == 0)
    #expect(try Command.run(["count", scratch.cache]).lines == ["memory 3, store 4"])
    #expect(try Command.run(["set", scratch.cache, "k:5", "5"]).status == 0)
    #expect(try Command.run(["count", scratch.cache]).lines == ["memory 3, store 4"])
  }

  @Test("exec opens a cache as it was last opened, too, and its options say otherwise")
  func execInheritsConfiguration() throws {
    let scratch = try TemporaryDirectory()
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

  @Test("S040 what a program keeps stays kept: its limits by bytes, and its history")
  func keepsLimits() async throws {
    let scratch = try TemporaryDirectory()
    var configuration = CacheConfiguration()
    configuration.memoryLimit = TierLimit(entryCountMax: 50, byteCountMax: 5_000)
    configuration.storeLimit = TierLimit(entryCountMax: 500, byteCountMax: 50_000)
    try await withCache(at: scratch.cache, coder: .bytes, configuration: configuration) { cache in
      try await cache.set([1], for: CacheKey("k:1"))
    }
    let options = ["exec", "--cache", scratch.cache]
    let limits = ["--memory-entries", "40", "--store-entries", "400"]
    #expect(try Command.run(options + limits).status == 0)
    let adopted = try CacheConfiguration(lastOpenedIn: scratch.cache)
    #expect(adopted.memoryLimit == TierLimit(entryCountMax: 40, byteCountMax: 5_000))
    #expect(adopted.storeLimit == TierLimit(entryCountMax: 400, byteCountMax: 50_000))
    #expect(adopted.retention == Retention())
    // A little more history than is kept by default, and far more: sparse, and behind the last frame.
    let segment = "\(scratch.cache)/00000001.journal"
    #expect(truncate(segment, 1_300 << 20) == 0)
    #expect(try CacheConfiguration(lastOpenedIn: scratch.cache).retention == Retention())
    #expect(truncate(segment, 2_100 << 20) == 0)
    #expect(try CacheConfiguration(lastOpenedIn: scratch.cache).retention == .unlimited)
  }

  @Test(
    "S040 a repair keeps the limits that the cache was last opened with", arguments: [40, 3_000])
  func repairsToItsLimits(at offset: Int) async throws {
    let scratch = try TemporaryDirectory()
    let limits = ["--memory-entries", "1200", "--no-store", "--segment-bytes", "65536"]
    var random = SplitMix64(seed: 1)
    let sets = (0..<2_000).map { number in
      let noise = (0..<20).map { _ in String(random.next(), radix: 36) }.joined()
      return #"{"op":"set","key":"k:\#(number)","value":"\#(noise)"}"#
    }
    let made = try Command.run(["exec", "--cache", scratch.cache] + limits, input: sets)
    #expect(made.status == 0)
    let segments = try FileManager.default.contentsOfDirectory(atPath: scratch.cache)
      .filter { $0.hasSuffix(".journal") }.sorted()
    #expect(segments.count > 3)
    for name in try FileManager.default.contentsOfDirectory(atPath: scratch.cache)
    where name.hasSuffix(".checkpoint") {
      try FileManager.default.removeItem(atPath: "\(scratch.cache)/\(name)")
    }
    let damaged = URL(fileURLWithPath: "\(scratch.cache)/\(segments[2])")
    var bytes = try [UInt8](Data(contentsOf: damaged))
    bytes[offset] ^= 1
    try Data(bytes).write(to: damaged)
    let repair = try Command.run(["repair", scratch.cache, "--json"])
    #expect(repair.status == 0, "\(repair)")
    #expect(repair.lines.first?.contains(#""journal":"salvaged""#) == true, "\(repair.lines)")
    let adopted = try CacheConfiguration(lastOpenedIn: scratch.cache)
    #expect(adopted.memoryLimit.entryCountMax == 1_200)
    #expect(!adopted.usesStore)
    #expect(!FileManager.default.fileExists(atPath: scratch.cache + "/store.sqlite"))
  }

  /// A program that meets a value of another coder removes it; one that only looks must not.
  @Test("S041 values that a program keeps its own way are shown, and stay as they are")
  func foreignValues() async throws {
    let scratch = try TemporaryDirectory()
    let keys = [try CacheKey("k:text"), try CacheKey("k:noise")]
    let values = [Array("kept raw".utf8), [0, 0xFF, 0x0A]]
    try await withCache(at: scratch.cache, coder: .bytes) { cache in
      for (key, value) in zip(keys, values) { try await cache.set(value, for: key) }
    }
    #expect(try Command.run(["get", scratch.cache, "k:text"]).lines == ["\"kept raw\""])
    let exec = try Command.run(
      ["exec", "--cache", scratch.cache], input: keys.map { #"{"op":"get","key":"\#($0)"}"# })
    #expect(exec.lines.count == 2)
    #expect(exec.lines.allSatisfy { $0.hasPrefix(#"{"hit":true,"#) }, "\(exec.lines)")
    try await withCache(at: scratch.cache, coder: .bytes) { cache in
      for (key, value) in zip(keys, values) {
        let found = try await cache.get(key)
        #expect(found == value)
      }
    }
  }

  @Test("commands that only look or remove make no cache where there is none: code 3")
  func noCache() throws {
    let scratch = try TemporaryDirectory()
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

  @Test("what an opening dropped is said once: on standard error, or by stats")
  func saysWhatWasDropped() throws {
    let scratch = try TemporaryDirectory()
    let byteCount = try tear(scratch.cache)
    let count = try Command.run(["count", scratch.cache])
    #expect(count.status == 0 && count.lines == ["memory 1, store 0"])
    let said = /hindsight: opening the cache: dropped (\d+) bytes; aside \S+\.quarantine\S*\n/
    let dropped = try #require(try said.wholeMatch(in: count.errors), "\(count.errors)")
    #expect(dropped.1 == "\(byteCount)")
    #expect(try Command.run(["count", scratch.cache]).errors.isEmpty)

    let other = try TemporaryDirectory()
    let otherByteCount = try tear(other.cache)
    let stats = try Command.run(["stats", other.cache])
    #expect(stats.status == 0 && stats.errors.isEmpty, "\(stats.errors)")
    #expect(
      stats.output.contains("\ndropped   \(otherByteCount) bytes\naside "), "\(stats.output)")
    #expect(!(try Command.run(["stats", other.cache]).output.contains("dropped")))
  }

  @Test(
    "S041 what a first opening that failed left behind is opened with a journal",
    arguments: ["kill", "error:ENOSPC"])
  func failedFirstOpening(action: String) throws {
    let scratch = try TemporaryDirectory()
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
    let scratch = try TemporaryDirectory()
    try FileManager.default.createDirectory(
      atPath: scratch.cache, withIntermediateDirectories: false)
    try Data("no database".utf8).write(to: URL(fileURLWithPath: scratch.cache + "/store.sqlite"))
    #expect(try Command.run(["set", scratch.cache, "a:b", "1"]).status == 0)
    #expect(try hasJournal(scratch.cache))
  }

  @Test(
    "what looks or removes leaves a store alone that isn't ours, or is damaged and has no journal",
    arguments: [false, true])
  func storeAlone(isOurs: Bool) throws {
    let scratch = try TemporaryDirectory()
    let store = URL(fileURLWithPath: scratch.cache + "/store.sqlite")
    let exec = ["exec", "--cache", scratch.cache, "--no-journal"]
    #expect(try Command.run(exec, input: [#"{"op":"set","key":"a:b","value":1}"#]).status == 0)
    var bytes = try Data(contentsOf: store)
    // The application's id (SQLite's file format), or the page size.
    bytes[isOurs ? 16 : 68] ^= 1
    try bytes.write(to: store)
    let names = try FileManager.default.contentsOfDirectory(atPath: scratch.cache).sorted()
    for command in [["get"], ["count"], ["stats"], ["invalidate"], ["clear"]] {
      let key = ["get", "invalidate"].contains(command[0]) ? ["a:b"] : []
      let result = try Command.run(command + [scratch.cache] + key)
      #expect(result.status == 3 && result.errors.contains("Nothing was changed"), "\(result)")
      #expect(try Data(contentsOf: store) == bytes)
      let left = try FileManager.default.contentsOfDirectory(atPath: scratch.cache).sorted()
      #expect(left == names, "\(command)")
    }
  }

  @Test("a store that a killed opening left empty is an empty cache")
  func emptyStore() throws {
    for command in [["get"], ["count"], ["stats"]] {
      let scratch = try TemporaryDirectory()
      try FileManager.default.createDirectory(
        atPath: scratch.cache, withIntermediateDirectories: false)
      try Data().write(to: URL(fileURLWithPath: scratch.cache + "/store.sqlite"))
      let result = try Command.run(
        command + [scratch.cache] + (command == ["get"] ? ["a:b"] : []))
      #expect(result.status == 0, "\(result)")
    }
  }

  @Test(
    "a directory in the place of a file is named with its path, and what to do; verify says so, too"
  )
  func impostors() throws {
    for name in ["lock", "00000002.journal"] {
      let scratch = try TemporaryDirectory()
      #expect(try Command.run(["set", scratch.cache, "a:b", "1"]).status == 0)
      let path = "\(scratch.cache)/\(name)"
      try? FileManager.default.removeItem(atPath: path)
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
      let result = try Command.run(["count", scratch.cache])
      #expect(result.status == 3 && result.errors.contains(path), "\(result)")
      #expect(result.errors.contains("move it away"), "\(result)")
      guard name != "lock" else { continue }
      let verified = try Command.run(["verify", scratch.cache])
      #expect(verified.status == 1, "\(verified)")
      #expect(verified.output.contains("note: opening the cache is refused"), "\(verified)")
    }
  }

  @Test("a cache without a journal goes on without one, also when it is empty")
  func withoutJournal() throws {
    let scratch = try TemporaryDirectory()
    let set = ["set", scratch.cache, "a:b", "1"]
    #expect(try Command.run(set + ["--no-journal"]).status == 0)
    #expect(try Command.run(["get", scratch.cache, "a:b"]).lines == ["1"])
    #expect(try Command.run(["clear", scratch.cache]).status == 0)
    #expect(try Command.run(set).status == 0)
    #expect(try Command.run(["exec", "--cache", scratch.cache]).status == 0)
    #expect(try Command.run(["get", scratch.cache, "a:b"]).lines == ["1"])
    #expect(try !hasJournal(scratch.cache))
  }

  @Test("commands that read or remove take no options that would evict, and none takes two at odds")
  func options() throws {
    let scratch = try TemporaryDirectory()
    let exec = ["exec", "--cache", scratch.cache]
    let sets = (0..<5).map { #"{"op":"set","key":"k:\#($0)","value":\#($0)}"# }
    #expect(try Command.run(exec, input: sets).status == 0)
    for command in [
      ["get", scratch.cache, "k:1"], ["count", scratch.cache], ["stats", scratch.cache],
      ["invalidate", scratch.cache, "k:1"], ["clear", scratch.cache],
    ] {
      for option in [
        ["--store-entries", "2"], ["--memory-entries", "2"], ["--no-store"], ["--no-journal"],
        ["--access", "off"],
      ] {
        let result = try Command.run(command + option)
        #expect(result.status == 2 && result.errors.contains("Unknown option '\(option[0])'"))
      }
    }
    #expect(try Command.run(["count", scratch.cache]).lines == ["memory 5, store 5"])
    let durably = ["--acknowledge", "durable"]
    #expect(try Command.run(["invalidate", scratch.cache, "k:1"] + durably).status == 0)
    #expect(try Command.run(["clear", scratch.cache] + durably).status == 0)
    for command in [["set", scratch.cache, "k:1", "1"], ["repair", scratch.cache], exec] {
      let result = try Command.run(command + ["--no-store", "--store-entries", "4"])
      #expect(result.status == 2 && result.errors.contains("--no-store"), "\(result)")
    }
    #expect(try Command.run(["count", scratch.cache]).lines == ["memory 0, store 0"])
  }

  @Test("what would be kept nowhere is refused, and makes no cache")
  func keptNowhere() throws {
    let scratch = try TemporaryDirectory()
    let set = ["set", scratch.cache, "a:b", "1"]
    func expectRefusal(_ arguments: [String]) throws {
      let result = try Command.run(arguments)
      #expect(result.status == 2 && result.errors.contains("nothing would be kept"), "\(result)")
    }
    try expectRefusal(set + ["--no-store", "--no-journal"])
    #expect(access(scratch.cache, F_OK) != 0)
    #expect(try Command.run(set + ["--no-journal"]).status == 0)
    try expectRefusal(["set", scratch.cache, "a:b", "2", "--no-store"])
    try expectRefusal(["repair", scratch.cache, "--no-store"])
    #expect(try Command.run(["get", scratch.cache, "a:b"]).lines == ["1"])
  }

  @Test("a file that merely ends in .journal is no journal: no command takes it for one")
  func foreignFile() throws {
    let scratch = try TemporaryDirectory()
    try FileManager.default.createDirectory(
      atPath: scratch.cache, withIntermediateDirectories: true)
    try Data("notes".utf8).write(to: URL(fileURLWithPath: scratch.cache + "/notes.journal"))
    for command in ["verify", "events", "count"] {
      let result = try Command.run([command, scratch.cache])
      #expect(result.status == 3 && result.errors.contains("there is no "), "\(result)")
    }
    let exec = ["exec", "--cache", scratch.cache, "--no-journal"]
    #expect(try Command.run(exec, input: [#"{"op":"count"}"#]).status == 0)
  }
}
