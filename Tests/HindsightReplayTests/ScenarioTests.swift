import Foundation
import Hindsight
import HindsightTesting
import Testing

/// The checkout, for its fixtures.
let checkout = URL(fileURLWithPath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// The conformance set as scenario files.
@Suite("S040 scenarios")
struct ScenarioTests {
  struct Expected: Sendable, CustomTestStringConvertible {
    var file: String
    var sequence: UInt64
    var digest: String
    var testDescription: String { file }
  }

  static let directory = checkout.appendingPathComponent("Fixtures/scenarios")

  static func expectations() throws -> [Expected] {
    let table = try String(
      contentsOf: directory.appendingPathComponent("digests.tsv"), encoding: .utf8)
    return table.split(separator: "\n").map { line in
      let columns = line.split(separator: "\t")
      return Expected(
        file: String(columns[0]), sequence: UInt64(columns[1]) ?? 0, digest: String(columns[2]))
    }
  }

  @Test(
    "each gives what it states, and the digest that it gives everywhere",
    arguments: try expectations())
  func scenario(_ expected: Expected) async throws {
    let url = Self.directory.appendingPathComponent(expected.file)
    let scenario = try Scenario(parsing: [UInt8](try Data(contentsOf: url)), file: expected.file)
    for _ in 0..<2 {
      let outcome = try await ScenarioRunner().run(scenario, file: expected.file)
      #expect(outcome.mismatch.map { "\($0)" } == nil)
      #expect(outcome.checkCount > 0)
      #expect(outcome.sequence == expected.sequence)
      #expect(outcome.digest == expected.digest)
    }
  }

  @Test("the table of digests names every file")
  func complete() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: Self.directory.path)
      .filter { $0.hasSuffix(".scenario") }
    #expect(try Set(Self.expectations().map(\.file)) == Set(files))
  }

  @Test("a mismatch names file, line, expected and actual")
  func mismatch() async throws {
    let text = "set pypi:a {\"v\":1}\n\nget pypi:a -> hit memory {\"v\":2}\n"
    let scenario = try Scenario(parsing: Array(text.utf8), file: "x.scenario")
    let outcome = try await ScenarioRunner().run(scenario, file: "x.scenario")
    let mismatch = try #require(outcome.mismatch)
    #expect(mismatch.line == 3)
    #expect(
      mismatch.description == #"x.scenario:3: expected hit memory {"v":2}, got hit memory {"v":1}"#)
  }

  @Test(
    "numbers are equal by value, to the last digit",
    arguments: [
      ("9007199254740992", "9007199254740993", false), ("1e400", "2e400", false),
      ("0.1", "0.10000000000000000001", false), ("1", "-1", false), ("10", "1", false),
      ("1e-9223372036854775808", "0", false), ("12.50e1", "125", true), ("1E+2", "100", true),
      ("100", "10e1", true), ("0.05", "5e-2", true), ("-0.0", "0", true), ("1.0", "1", true),
    ])
  func numbers(_ value: String, _ expected: String, areEqual: Bool) async throws {
    let text = "set pypi:a [\(value)]\nget pypi:a -> hit memory [\(expected)]\n"
    let scenario = try Scenario(parsing: Array(text.utf8), file: "x.scenario")
    let outcome = try await ScenarioRunner().run(scenario, file: "x.scenario")
    #expect((outcome.mismatch == nil) == areEqual)
  }

  @Test("29 February is a day in leap years only")
  func leapYears() throws {
    for (year, isLeap) in [(2024, true), (2000, true), (1900, false), (2026, false)] {
      let time = Timestamp(iso8601: "\(year)-02-29T00:00:00Z")
      #expect(time.map { "\($0.iso8601.prefix(10))" } == (isLeap ? "\(year)-02-29" : nil))
    }
  }

  @Test("each month of the first and the last year is read as it is written")
  func years() throws {
    for year in ["0000", "0001", "1969", "9999"] {
      for month in 1...12 {
        let text = "\(year)-\(month < 10 ? "0" : "")\(month)-15T12:34:56.000007Z"
        #expect(Timestamp(iso8601: text)?.iso8601 == text)
      }
    }
  }

  @Test(
    "a bad line is refused with its number",
    arguments: [
      ("frobnicate", "unknown command"), ("set pypi:a", "JSON"), ("get pypi:a -> hit disk", "tier"),
      ("set pypi:a ttl=x 1", "number of seconds"), ("set pypi:a speed=3 1", "speed"),
      ("clock yesterday", "time"), ("clock 2026-02-30T00:00:00Z", "time"),
      ("clock 2026-04-31T00:00:00Z", "time"), ("clock 2026-01-32T00:00:00Z", "time"),
      ("advance soon", "duration"), ("get pypi:a -> miss twice", "unexpected"),
      ("set pypi:a {\"a\":1} }", "'->'"), ("count -> memory=1", "store"),
    ])
  func badLine(_ line: String, _ word: String) {
    let text = "# a comment\nset pypi:a 1\n" + line + "\n"
    do throws(ScenarioError) {
      _ = try Scenario(parsing: Array(text.utf8), file: "bad.scenario")
      Issue.record("it was accepted: \(line)")
    } catch {
      #expect(error.line == 3)
      #expect("\(error)".lowercased().contains(word.lowercased()), "\(error)")
    }
  }
}
