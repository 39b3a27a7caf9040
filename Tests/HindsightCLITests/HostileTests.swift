import Foundation
import HindsightTesting
import Testing

/// Caches that somebody else prepared, or wants to get at.
@Suite("S040 the command line and hostile neighbours")
struct HostileTests {
  /// What must never reach a terminal.
  private static let hostile =
    "\u{1B}]0;owned\u{7}\u{9B}2J\u{202E}gpj\u{2066}\u{200B}\u{E0041}\u{7F}"

  private func isHarmless(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { scalar in
      scalar == "\n"
        || scalar.value >= 0x20
          && ![.control, .format, .lineSeparator].contains(scalar.properties.generalCategory)
    }
  }

  private func shell(_ script: String, _ arguments: [String]) throws -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", script, "sh", Command.executable("hindsight").path] + arguments
    process.standardOutput = Pipe()
    process.standardError = Pipe()
    try process.run()
    process.waitUntilExit()
    return process.terminationStatus
  }

  @Test("every file is 0600 and the directory 0700, whatever the umask", arguments: ["000", "777"])
  func umasks(mask: String) throws {
    let scratch = try TemporaryDirectory()
    // Killed in the middle, so that the log and its index are there; then repaired, so that there
    // are files kept aside.
    let command = try Command(["exec", "--cache", scratch.cache], limits: "umask \(mask)")
    try command.send([#"{"op":"set","key":"a:b","value":1}"#, #"{"op":"settle"}"#])
    #expect(command.receive(2).count == 2)
    kill(command.process.processIdentifier, SIGKILL)
    command.process.waitUntilExit()
    #expect(access(scratch.cache + "/store.sqlite-wal", F_OK) == 0)
    try check(scratch.cache, atLeast: 5)
    let segment = scratch.cache + "/00000001.journal"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: segment))
    bytes[80] ^= 1
    try FileManager.default.removeItem(atPath: segment)
    try bytes.write(to: URL(fileURLWithPath: segment))
    #expect(chmod(segment, 0o600) == 0)
    #expect(try shell("umask \(mask); \"$1\" repair \"$2\"", [scratch.cache]) == 0)
    try check(scratch.cache, atLeast: 4)
  }

  private func check(_ cache: String, atLeast count: Int) throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: cache)
    #expect(names.count >= count, "\(names)")
    var status = stat()
    #expect(stat(cache, &status) == 0 && status.st_mode & 0o7777 == 0o700)
    for name in names {
      #expect(lstat(cache + "/" + name, &status) == 0)
      #expect(status.st_mode & 0o7777 == 0o600, "\(name): \(String(status.st_mode, radix: 8))")
    }
  }

  @Test("a journal damaged at its beginning is refused, not left aside for the store alone")
  func damagedBeginning() throws {
    let scratch = try TemporaryDirectory()
    for _ in 0..<2 { #expect(try Command.run(["set", scratch.cache, "a:b", "1"]).status == 0) }
    let segment = URL(fileURLWithPath: scratch.cache + "/00000001.journal")
    var bytes = try Data(contentsOf: segment)
    bytes[80] ^= 1
    try bytes.write(to: segment)
    #expect(try Command.run(["count", scratch.cache]).status == 3)
    let repaired = try Command.run(["repair", scratch.cache])
    #expect(repaired.status == 0 && repaired.output.hasPrefix("journal salvaged"))
    #expect(try Command.run(["verify", scratch.cache]).status == 0)
  }

  @Test("an impostor is refused with its kind, code 3 or 1, nothing changed, nothing hangs")
  func impostors() throws {
    for name in ["00000001.journal", "lock", "store.sqlite", "store.sqlite-wal"] {
      let scratch = try TemporaryDirectory()
      #expect(try Command.run(["set", scratch.cache, "a:b", "1"]).status == 0)
      let place = scratch.cache + "/" + name
      let victim = scratch.path + "/victim"
      try Data("victim".utf8).write(to: URL(fileURLWithPath: victim))
      if FileManager.default.fileExists(atPath: place) {
        try FileManager.default.removeItem(atPath: place)
      }
      #expect(symlink(victim, place) == 0)
      #expect(try Command.run(["count", scratch.cache]).status == 3, "\(name)")
      let verified = try Command.run(["verify", scratch.cache])
      #expect(verified.status == 1, "\(name): \(verified.output)")
      #expect(try String(contentsOfFile: victim, encoding: .utf8) == "victim")
      #expect(unlink(place) == 0 && mkfifo(place, 0o600) == 0)
      #expect(try Command.run(["count", scratch.cache]).status == 3, "\(name)")
      #expect(try Command.run(["verify", scratch.cache]).status == 1, "\(name)")
    }
    let scratch = try TemporaryDirectory()
    #expect(try Command.run(["set", scratch.cache, "a:b", "1"]).status == 0)
    #expect(symlink(scratch.cache, scratch.path + "/link") == 0)
    for command in ["count", "verify", "events"] {
      let result = try Command.run([command, scratch.path + "/link"])
      #expect(result.status == 3 && result.errors.contains("symbolic link"), "\(result.errors)")
    }
  }

  @Test("nothing from a journal can steer a terminal; JSON stays one line that means the same")
  func terminal() throws {
    let scratch = try TemporaryDirectory()
    let text = Self.hostile
    let key = "pypi:" + text
    // Raw in the value: JSON forbids only the characters below 0x20.
    let value = "{\"a\":\n\"" + text.filter { $0 >= " " } + "\"}"
    let reason = "why\n2 2026-01-01T00:00:00Z forged " + text
    #expect(
      try Command.run(["set", scratch.cache, key, value, "--reason", reason]).status == 0)
    for arguments in [
      ["events", scratch.cache], ["events", scratch.cache, "--json"], ["get", scratch.cache, key],
      ["get", scratch.cache, key, "--json"], ["stats", scratch.cache], ["verify", scratch.cache],
      ["stats", scratch.cache, "--json"], ["get", scratch.cache, "--package", "x", text],
      ["get", scratch.cache, "--package", "x", text + ":"], ["verify", "/" + text],
      ["count", "/dev/null/" + text], ["run", "/" + text], [text],
    ] {
      let result = try Command.run(arguments)
      #expect(isHarmless(result.output), "\(arguments[0]): \(result.output.debugDescription)")
      #expect(isHarmless(result.errors), "\(arguments[0]): \(result.errors.debugDescription)")
    }
    let events = try Command.run(["events", scratch.cache]).lines
    #expect(!events.contains { $0.hasPrefix("2 2026-01-01T00:00:00Z") })
    let set = try json(
      try #require(
        try Command.run(["events", scratch.cache, "--json"]).lines.first { $0.contains("\"set\"") })
    )
    #expect(set["key"] as? String == key.lowercased() || set["key"] as? String == key)
    #expect(set["reason"] as? String == reason)
    let got = try Command.run(["get", scratch.cache, key, "--json"])
    #expect(got.lines.count == 1)
    let found = try json(got.output)["value"] as? [String: String]
    #expect(found?["a"] == text.filter { $0 >= " " })
  }
}
