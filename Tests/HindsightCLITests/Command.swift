import Foundation
import Glibc
import Testing

/// Runs the `hindsight` that was built beside these tests.
struct Command {
  struct Result {
    var status: Int32
    var output: String
    var errors: String
    var lines: [String] { output.split(separator: "\n").map(String.init) }
  }

  /// A program beside the tests, which are run by a file of the build directory.
  static func executable(_ tool: String) -> URL {
    URL(fileURLWithPath: CommandLine.arguments[0])
      .deletingLastPathComponent().appendingPathComponent(tool)
  }

  let process = Process()
  let input = Pipe()
  let output = Pipe()
  let errors = Pipe()

  /// - Parameter limits: what a shell does before it becomes the tool, such as `ulimit -f 0`.
  /// - Parameter inputBlocks: whether its standard input waits for more, as is usual.
  init(
    _ arguments: [String], tool: String = "hindsight", limits: String? = nil,
    inputBlocks: Bool = true
  ) throws {
    if !inputBlocks {
      _ = fcntl(input.fileHandleForReading.fileDescriptor, F_SETFL, O_NONBLOCK)
    }
    // A child that is gone must not take the tests with it.
    signal(SIGPIPE, SIG_IGN)
    // A shell has what runs in its background ignore it, which a child inherits. For good: a test that put
    // it back would do so while another one starts its child.
    signal(SIGINT, SIG_DFL)
    process.executableURL = Self.executable(tool)
    process.arguments = arguments
    if let limits {
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments =
        ["-c", limits + #"; exec "$0" "$@""#, Self.executable(tool).path] + arguments
    }
    process.standardInput = input
    process.standardOutput = output
    process.standardError = errors
    try process.run()
  }

  /// Writes lines to it, without ending its input.
  func send(_ lines: [String]) throws {
    try input.fileHandleForWriting.write(contentsOf: Data(lines.map { $0 + "\n" }.joined().utf8))
  }

  /// Reads so many lines that it has printed.
  func receive(_ count: Int) -> [String] {
    var bytes = Data()
    while bytes.filter({ $0 == UInt8(ascii: "\n") }).count < count {
      let more = output.fileHandleForReading.availableData
      if more.isEmpty { break }
      bytes.append(more)
    }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  func end() throws -> Result {
    try input.fileHandleForWriting.close()
    let output = output.fileHandleForReading.readDataToEndOfFile()
    let errors = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Result(
      status: process.terminationStatus, output: String(decoding: output, as: UTF8.self),
      errors: String(decoding: errors, as: UTF8.self))
  }

  /// Runs it with this input, to its end.
  static func run(_ arguments: [String], input lines: [String] = []) throws -> Result {
    let command = try Command(arguments)
    try command.send(lines)
    return try command.end()
  }
}

/// A reply of `exec`.
func json(_ line: String) throws -> [String: Any] {
  try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
}
