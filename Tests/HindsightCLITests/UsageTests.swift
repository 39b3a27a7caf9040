import Foundation
import HindsightTesting
import Testing

@Suite("Messages about what was asked for")
struct UsageTests {
  /// What is said where a command is refused with code 2.
  private func refusal(_ arguments: [String], limits: String? = nil) throws -> String {
    let result = try Command(arguments, limits: limits).end()
    #expect(result.status == 2 && result.output.isEmpty, "\(result)")
    return result.errors
  }

  @Test("a negative number is an option's value, and the message is about it")
  func negativeNumbers() throws {
    let scratch = try TemporaryDirectory()
    let cache = scratch.cache
    for option in ["--ttl", "--memory-ttl", "--store-ttl"] {
      #expect(try refusal(["set", cache, "a:b", "1", option, "-5"]).contains("invalidTTL"))
    }
    for option in ["--memory-ttl", "--store-ttl"] {
      #expect(try refusal(["exec", "--cache", cache, option, "-5"]).contains("invalidTTL"))
    }
    for option in ["--sync-interval", "--sweep-interval"] {
      let said = "invalidConfiguration: \(option) is -5.0; it must be 0, or 0.001 to 1e9 seconds"
      #expect(try refusal(["exec", "--cache", cache, option, "-5"]).contains(said))
    }
    #expect(try refusal(["exec", "--cache", cache, "--writers", "-5"]).contains("1 to 1024"))
    for option in ["--memory-entries", "--store-entries", "--segment-bytes", "--retention-bytes"] {
      let said = "The value '-5' is invalid for '\(option) "
      #expect(try refusal(["exec", "--cache", cache, option, "-5"]).contains(said))
    }
    #expect(access(cache, F_OK) != 0)
  }

  @Test("a value or a key that begins with '-' stands behind '--', as the refusal says")
  func leadingDashes() throws {
    let scratch = try TemporaryDirectory()
    let set = ["set", scratch.cache]
    #expect(try refusal(set + ["k", "-1"]).contains("stands behind '--'"))
    #expect(try refusal(["get", scratch.cache, "-k"]).contains("stands behind '--'"))
    #expect(try Command.run(set + ["--ttl", "60", "--", "-k", "-1"]).status == 0)
    #expect(try Command.run(["get", scratch.cache, "--", "-k"]).lines == ["-1"])
  }

  @Test("a bound of the history says which forms it takes")
  func bounds() throws {
    for option in ["--from", "--to"] {
      for value in ["2026-01-01", "-5", "2026-02-29T00:00:00Z"] {
        #expect(
          try refusal(["events", "/nowhere", option, value]).contains(
            "it takes a sequence number, or a time as 2026-01-01T00:00:00Z"))
      }
    }
  }

  @Test("what is found while a command runs comes without the usage of all commands")
  func noUsage() throws {
    let scratch = try TemporaryDirectory()
    #expect(
      try refusal(["set", scratch.cache, "a:b", "{"]).hasPrefix("hindsight: the value is no JSON"))
    #expect(!(try refusal(["set", scratch.cache, "a:b", "{"]).contains("Usage:")))
    #expect(try refusal(["set", scratch.cache]).contains("Usage: hindsight set"))
  }

  @Test("scenarios may come from a device or a pipe; what can't be read is said as it is")
  func scenarioFiles() throws {
    let scratch = try TemporaryDirectory()
    #expect(try Command.run(["run", "/dev/null"]).status == 0)
    let piped = try Command.run(["run", "/dev/stdin"], input: ["set a:b 1", "get a:b -> miss"])
    #expect(piped.status == 1 && piped.output.hasPrefix("/dev/stdin:2: expected miss"))
    let missing = scratch.path + "/missing"
    #expect(
      try refusal(["run", missing])
        == "hindsight: \(missing) can't be read: No such file or directory\n")
    #expect(
      try refusal(["run", scratch.path])
        == "hindsight: \(scratch.path) can't be read: Is a directory\n")
  }

  @Test("a stream that bench can't use is named with its line, before anything is measured")
  func benchStreams() throws {
    let scratch = try TemporaryDirectory()
    let path = scratch.path + "/sets.tsv"
    func refusal(of line: String) throws -> String {
      try "set\ta:b\t60\t1\n\n\(line)\n".write(toFile: path, atomically: true, encoding: .utf8)
      return try self.refusal(["bench", "--input", path])
    }
    for line in [
      "set\ta:b\t-1\t1", "set\t\t60\t1", "set\t\(String(repeating: "k", count: 1_025))\t60\t1",
      "fly\ta:b\t60\t1", "set\ta:b\t60", "set\ta:b\tsoon\t1",
    ] {
      #expect(try refusal(of: line).hasPrefix("hindsight: \(path):3: "), "\(line)")
    }
    #expect(
      try self.refusal(["bench", "--input", scratch.path + "/none"])
        == "hindsight: \(scratch.path)/none can't be read: No such file or directory\n")
  }

  @Test("a demo of no lookups is refused")
  func emptyDemo() throws {
    let scratch = try TemporaryDirectory()
    let path = scratch.path + "/lookups.tsv"
    try Data().write(to: URL(fileURLWithPath: path))
    #expect(try refusal(["demo", "--lookups", path]) == "hindsight: \(path) has no lookups\n")
    #expect(try refusal(["demo", "--lookups", path + "x"]).contains("No such file or directory"))
  }

  @Test("standard input that can't be read is said in the system's words, with code 1")
  func noInput() throws {
    let scratch = try TemporaryDirectory()
    for (redirection, reason) in [
      ("exec </tmp", "Is a directory"), ("exec <&-", "Bad file descriptor"),
    ] {
      let result = try Command(["exec", "--cache", scratch.cache], limits: redirection).end()
      #expect(result.status == 1)
      #expect(result.errors == "hindsight: standard input can't be read: \(reason)\n")
      #expect(try Command.run(["verify", scratch.cache]).status == 0)
    }
  }
}
