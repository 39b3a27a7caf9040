import Foundation
import HindsightTesting
import Testing

/// Streams of any size, with any keys, values and TTLs: each is measured, or refused by name.
@Suite("bench: streams")
struct BenchStreamTests {
  private let scratch: TemporaryDirectory

  init() throws { scratch = try TemporaryDirectory() }

  private func write(_ name: String, _ lines: [String]) throws {
    try Data(lines.map { $0 + "\n" }.joined().utf8)
      .write(to: URL(fileURLWithPath: "\(scratch.path)/\(name)"))
  }

  private func bench(
    _ only: [String], _ arguments: [String] = [], environment: String? = nil
  ) throws -> Command.Result {
    let arguments =
      ["bench", "--input", scratch.path + "/sets.tsv", "--budget", "0.02", "--json"]
      + only.flatMap { ["--only", $0] } + arguments
    let command = try Command(arguments, limits: environment.map { "export \($0)" })
    return try command.end()
  }

  private func metrics(_ result: Command.Result) throws -> Set<String> {
    let rows = try #require(try json(result.output)["rows"] as? [[String: Any]])
    #expect(rows.allSatisfy { ($0["value"] as? Double ?? 0) > 0 })
    return Set(rows.compactMap { $0["metric"] as? String })
  }

  @Test("more keys than a store holds by default are all there after a kill")
  func manyKeys() throws {
    try write("sets.tsv", (0..<100_100).map { "set\tpypi:p\($0)\t3600\t\($0)" })
    let result = try bench(["recovery"])
    #expect(result.status == 0, "\(result.errors)")
    let checks = try #require(try json(result.output)["checks"] as? [String: Int])
    #expect(checks["valuesCompared"] == 300_300)
  }

  @Test("what a few rows can't give is left out, and said")
  func fewRows() throws {
    try write("sets.tsv", (0..<10).map { "set\tpypi:p\($0)\t3600\t\($0)" })
    try write("gets.tsv", (0..<10).map { "get\tpypi:p\($0)\t0\t" })
    try write("fill.tsv", (0..<10).map { "set\tpypi:p\($0)\t3600\t\($0)" })
    try write("hits1k.tsv", ["get\tpypi:p1\t0\t"])
    try write("hits100k.tsv", ["get\tpypi:p1\t0\t"])
    let result = try bench([])
    #expect(result.status == 0, "\(result.errors)")
    let metrics = try metrics(result)
    #expect(
      metrics.isSuperset(of: [
        "mem_set_cap1000", "set_buffered_1w", "disk_log", "persistent_get_1t", "persistent_get_2t",
        "two_tier_get_zipf", "recover_200k",
      ]))
    for metric in [
      "mem_get_hit_1k", "mem_get_hit_100k", "set_buffered_64w", "set_buffered_1w_pipeline64",
      "set_fsync_64w", "persistent_get_64w", "persistent_get_100k",
    ] {
      #expect(!metrics.contains(metric) && result.errors.contains("bench: \(metric) of"))
    }
  }

  @Test("hits are held against the streams, not against a share of them")
  func anyHits() throws {
    try write("sets.tsv", (0..<100).map { "set\tpypi:p\($0)\t3600\t\($0)" })
    try write("gets.tsv", (0..<130).map { "get\tpypi:p\($0 * 2)\t0\t" })
    var result = try bench(["store"])
    #expect(result.status == 0, "\(result.errors)")
    // A key after itself is a hit of memory, which has room for one entry.
    try write("gets.tsv", (0..<130).map { "get\tpypi:p\($0 / 65)\t0\t" })
    result = try bench(["store"])
    #expect(result.status == 0, "\(result.errors)")
    #expect(try metrics(result).contains("persistent_get_64w"))
    try write("gets.tsv", (0..<70).map { "get\tpypi:q\($0)\t0\t" })
    #expect(try bench(["store"]).status == 0)
  }

  @Test("values that have expired, or are about to, are no failure")
  func shortTTLs() throws {
    try write("sets.tsv", (0..<300).map { "set\tpypi:p\($0)\t\($0 % 3)\t\($0)" })
    try write("gets.tsv", (0..<300).map { "get\tpypi:p\($0)\t0\t" })
    try write("fill.tsv", (0..<1_000).map { "set\tpypi:f\($0)\t\($0 % 2)\t\($0)" })
    try write("hits1k.tsv", (0..<1_000).map { "get\tpypi:f\($0)\t0\t" })
    let result = try bench([])
    #expect(result.status == 0, "\(result.errors)")
    #expect(try !metrics(result).contains("mem_get_hit_1k_1t"))
    #expect(result.errors.contains("mem_get_hit_1k_1t of hindsight isn't measured: values expired"))
  }

  @Test(
    "a line that is none of its stream is named",
    arguments: [
      ("set\tk:b\n", "not a line"), ("get\tk:b\t0\t\n", "a get in a stream of sets"),
      ("set\tk:\u{FFFF}b\t1\t{no\n", "not JSON"), ("set\tk:b\t1\t\n", "not JSON"),
      ("set\tk:b\t-1\t1\n", "TTL"), ("set\tk:b\tnan\t1\n", "TTL"),
    ])
  func badLines(_ line: String, _ reason: String) throws {
    try write("sets.tsv", ["set\tk:a\t60\t1", line])
    let result = try bench(["memory"])
    #expect(result.status == 2 && result.errors.contains("sets.tsv:2: "), "\(result.errors)")
    #expect(result.errors.contains(reason), "\(result.errors)")
  }

  @Test("bytes that are no text are no key")
  func badBytes() throws {
    try Data(Array("set\tk".utf8) + [0xE9] + Array("\t60\t1\n".utf8))
      .write(to: URL(fileURLWithPath: scratch.path + "/sets.tsv"))
    let result = try bench(["memory"])
    #expect(result.status == 2 && result.errors.contains("sets.tsv:1: the key is not UTF-8"))
  }

  @Test("sets among the lookups, an empty stream and a pipe are refused by name")
  func otherStreams() throws {
    try write("sets.tsv", ["set\tk:a\t60\t1"])
    try write("gets.tsv", ["set\tk:a\t60\t1"])
    var result = try bench(["store"])
    #expect(result.status == 2 && result.errors.contains("gets.tsv:1: a set in a stream of gets"))
    try write("gets.tsv", [])
    result = try bench(["store"])
    #expect(result.status == 2 && result.errors.contains("gets.tsv is empty"))
    result = try Command.run(["bench", "--input", "/dev/stdin"], input: ["set\tk:a\t60\t1"])
    #expect(result.status == 2 && result.errors.contains("/dev/stdin is not a regular file"))
  }
}
