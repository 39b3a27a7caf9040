import Foundation
import HindsightTesting
import Testing

/// How the demo ends where it can't do its job, or where somebody ends it.
@Suite("The command line: demo")
struct DemoTests {
  private func demo(_ directory: String) throws -> Command.Result {
    try Command.run(["demo", "--lookups", KillTests.lookups, "--cache", directory])
  }

  @Test("what can be no directory for the cache is said with code 2, what can't be opened with 3")
  func directories() throws {
    let scratch = try TemporaryDirectory()
    let file = scratch.path + "/file"
    try Data("hi".utf8).write(to: URL(fileURLWithPath: file))
    let refused = try demo(file)
    #expect(refused.status == 2 && refused.errors == "hindsight: \(file) is not a directory\n")
    #expect(try demo(scratch.path).errors.contains(" is not empty; name a new directory"))
    let nowhere = try demo(scratch.path + "/no/where")
    #expect(nowhere.status == 3 && nowhere.output.isEmpty, "\(nowhere)")
    #expect(nowhere.errors.hasPrefix("hindsight: system: create directory "), "\(nowhere.errors)")
    #expect(nowhere.errors.split(separator: "\n").count == 1, "\(nowhere.errors)")
  }

  @Test("a directory that can't be read is said with code 3", .enabled(if: geteuid() != 0))
  func unreadable() throws {
    let scratch = try TemporaryDirectory()
    let closed = scratch.path + "/closed"
    try FileManager.default.createDirectory(atPath: closed, withIntermediateDirectories: false)
    #expect(chmod(closed, 0) == 0)
    let refused = try demo(closed)
    #expect(refused.status == 3)
    #expect(refused.errors == "hindsight: system: \(closed) can't be read: Permission denied\n")
  }

  /// Begins a demo that keeps its cache in a directory of its own in `scratch`.
  private func begin(in scratch: TemporaryDirectory) throws -> Command {
    let command = try Command(
      ["demo", "--lookups", KillTests.lookups], limits: "export TMPDIR=\(scratch.path)")
    while try leftovers(scratch).isEmpty, command.process.isRunning { usleep(10_000) }
    return command
  }

  private func leftovers(_ scratch: TemporaryDirectory) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: scratch.path)
  }

  @Test("a signal leaves no directory behind, and nothing is said", arguments: [SIGINT, SIGTERM])
  func signalled(_ number: Int32) throws {
    let scratch = try TemporaryDirectory()
    let command = try begin(in: scratch)
    kill(command.process.processIdentifier, number)
    let result = try command.end()
    #expect(command.process.terminationReason == .uncaughtSignal && result.status == number)
    #expect(result.errors.isEmpty && result.output.isEmpty, "\(result)")
    #expect(try leftovers(scratch) == [])
  }

  @Test("where nobody reads the report, no directory is left behind")
  func unread() throws {
    let scratch = try TemporaryDirectory()
    let command = try begin(in: scratch)
    try command.output.fileHandleForReading.close()
    let errors = command.errors.fileHandleForReading.readDataToEndOfFile()
    command.process.waitUntilExit()
    #expect(command.process.terminationReason == .exit && command.process.terminationStatus == 1)
    #expect(
      String(decoding: errors, as: UTF8.self)
        == "hindsight: standard output can't be written: Broken pipe\n")
    #expect(try leftovers(scratch) == [])
  }
}
