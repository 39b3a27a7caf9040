import Foundation
import HindsightTesting
import Testing

@Suite("Standard output and standard error that can't be written")
struct OutputTests {
  private func run(_ arguments: [String], _ redirection: String) throws -> Command.Result {
    try Command(arguments, limits: redirection).end()
  }

  /// Runs it with nobody to read its output.
  private func runUnread(
    _ arguments: [String], limits: String? = nil, input lines: [String] = []
  ) throws -> (status: Int32, errors: String) {
    let command = try Command(arguments, limits: limits)
    try command.output.fileHandleForReading.close()
    try command.send(lines)
    try command.input.fileHandleForWriting.close()
    let errors = command.errors.fileHandleForReading.readDataToEndOfFile()
    command.process.waitUntilExit()
    #expect(command.process.terminationReason == .exit)
    return (command.process.terminationStatus, String(decoding: errors, as: UTF8.self))
  }

  private func expectClosed(_ cache: String) throws {
    let events = try Command.run(["events", cache, "--json"]).lines
    #expect(try json(try #require(events.last))["event"] as? String == "closed")
    #expect(try Command.run(["verify", cache]).status == 0)
  }

  private static let reasons = [
    "exec >/dev/full": "No space left on device", "exec >&-": "Bad file descriptor",
  ]

  @Test("standard input that somebody made non-blocking is waited for")
  func nonblockingInput() throws {
    let scratch = try TemporaryDirectory()
    let command = try Command(
      ["exec", "--cache", scratch.cache], inputBlocks: false)
    // Nothing is there yet when it looks first.
    while access(scratch.cache + "/lock", F_OK) != 0, command.process.isRunning { usleep(10_000) }
    usleep(100_000)
    try command.send([#"{"op":"set","key":"a:b","value":1}"#])
    #expect(command.receive(1) == [#"{"ok":true,"sequence":2}"#])
    try command.send([#"{"op":"count"}"#])
    let result = try command.end()
    #expect(result.status == 0, "\(result.errors)")
  }

  @Test(
    "S040 no room for the output, or none at all: one line says so, with code 1",
    arguments: ["exec >/dev/full", "exec >&-"])
  func noOutput(redirection: String) throws {
    let scratch = try TemporaryDirectory()
    let cache = scratch.cache
    #expect(try Command.run(["set", cache, "a:b", "1"]).status == 0)
    let said = "hindsight: standard output can't be written: \(Self.reasons[redirection]!)\n"
    for arguments in [
      ["count", cache], ["get", cache, "a:b"], ["events", cache], ["verify", cache],
      ["stats", cache], ["set", cache, "a:c", "2"], ["repair", cache], ["--help"],
    ] {
      let result = try run(arguments, redirection)
      #expect(result.status == 1 && result.errors == said, "\(arguments): \(result)")
    }
    let exec = try Command(["exec", "--cache", cache], limits: redirection)
    try exec.send([#"{"op":"set","key":"a:d","value":3}"#])
    let result = try exec.end()
    #expect(result.status == 1 && result.errors == said)
    try expectClosed(cache)
    #expect(try Command.run(["get", cache, "a:d"]).lines == ["3"])
  }

  @Test("S040 nobody reads exec's replies any more: the cache is closed")
  func execUnread() throws {
    let scratch = try TemporaryDirectory()
    let result = try runUnread(
      ["exec", "--cache", scratch.cache], input: [#"{"op":"set","key":"a:b","value":1}"#])
    #expect(result.status == 1)
    #expect(result.errors == "hindsight: standard output can't be written: Broken pipe\n")
    try expectClosed(scratch.cache)
  }

  @Test("nobody reads the history any more, and the signal that says so is ignored")
  func eventsUnread() throws {
    let scratch = try TemporaryDirectory()
    #expect(try Command.run(["set", scratch.cache, "a:b", "1"]).status == 0)
    let result = try runUnread(["events", scratch.cache], limits: "trap '' PIPE")
    #expect(result.status == 1)
    #expect(result.errors == "hindsight: standard output can't be written: Broken pipe\n")
  }

  @Test(
    "without standard error the rest goes on, and no file is written in its place",
    arguments: ["exec 2>/dev/full", "exec 2>&-", "exec <&- 2>&-"])
  func noErrors(redirection: String) throws {
    let scratch = try TemporaryDirectory()
    let cache = scratch.cache
    #expect(try Command.run(["set", cache, "a:b", "1"]).status == 0)
    let hit = try run(["get", cache, "a:b"], redirection)
    #expect(hit.status == 0 && hit.output == "1\n")
    #expect(try run(["get", cache, "a:c"], redirection).status == 0)
    #expect(try run(["get", cache, ""], redirection).status == 2)
    #expect(try run(["count", cache], redirection + " >&-").status == 1)
    try expectClosed(cache)
  }
}
