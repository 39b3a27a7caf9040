import Foundation
import HindsightTesting
import Testing

@Suite("bench")
struct BenchTests {
  /// Streams of the benchmark's form, small: 40 keys set again and again, 1,000 keys once each.
  private func streams(in directory: String) throws -> String {
    func write(_ name: String, _ lines: [String]) throws {
      try Data(lines.map { $0 + "\n" }.joined().utf8)
        .write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }
    try write("sets.tsv", (0..<400).map { "set\tpypi:p\($0 % 40)\t3600\t{\"n\":\($0)}" })
    try write("gets.tsv", (0..<640).map { "get\tpypi:p\($0 % 41)\t0\t" })
    try write("fill.tsv", (0..<1_000).map { "set\tpypi:f\($0)\t60\t{\"f\":\($0)}" })
    try write("hits1k.tsv", (0..<2_000).map { "get\tpypi:f\($0 * 7 % 1_000)\t0\t" })
    return "\(directory)/sets.tsv"
  }

  @Test("the streams give every figure, and what they leave behind is checked")
  func figures() throws {
    let scratch = try TemporaryDirectory()
    let input = try streams(in: scratch.path)
    let result = try Command.run(["bench", "--input", input, "--budget", "0.02", "--json"])
    #expect(result.status == 0, "\(result.errors)")
    let report = try json(result.output)
    let rows = try #require(report["rows"] as? [[String: Any]])
    let ours = rows.filter { $0["peer"] as? String == "hindsight" }
    let metrics = Set(ours.compactMap { $0["metric"] as? String })
    #expect(
      metrics.isSuperset(of: [
        "mem_set_cap1000", "mem_get_hit_1k_1t", "mem_get_hit_1k_2t", "set_background_caller",
        "set_background_drained", "disk_log", "set_buffered_1w", "set_buffered_64w", "set_fsync_1w",
        "set_fsync_16w", "set_fsync_64w", "fill_100k_one_txn", "set_wal_normal_batch1000",
        "recover_200k", "recover_200k_rate", "rss_after_200k",
        "reopen", "disk_db", "set_settled",
        "persistent_get_1t",
        "persistent_get_64w", "two_tier_get_zipf",
      ]))
    #expect(rows.allSatisfy { ($0["value"] as? Double ?? 0) > 0 })
    let checks = try #require(report["checks"] as? [String: Int])
    #expect(checks["expiriesSeen"] ?? 0 >= 3)
    #expect(checks["valuesCompared"] ?? 0 > 2_000)
    #expect(checks["journalsVerified"] ?? 0 > 10)
  }

  @Test("peer rows have four fields, and standard output has nothing else")
  func peerRows() throws {
    let scratch = try TemporaryDirectory()
    let input = try streams(in: scratch.path)
    let result = try Command.run(
      ["bench", "--input", input, "--only", "memory", "--peer-rows"])
    #expect(result.status == 0 && result.lines.count > 8)
    for line in result.lines {
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
      #expect(fields.count == 4 && Double(fields[2]) != nil, "\(line)")
    }
  }

  @Test("pauses are reported beside what the machine does to any thread")
  func pauses() throws {
    let result = try Command.run(
      ["bench", "--pauses", "--entries", "2000", "--seconds", "0.4", "--json"])
    #expect(result.status == 0, "\(result.errors)")
    let report = try json(result.output)
    let checks = try #require(report["checks"] as? [String: Int])
    #expect(
      checks["valuesCompared"] == 2_000 && checks["expiriesSeen"] == 1
        && checks["journalsVerified"] == 1)
    let rows = try #require(report["rows"] as? [[String: Any]])
    var values: [String: Double] = [:]
    for row in rows { values[try #require(row["metric"] as? String)] = row["value"] as? Double }
    let loads = ["steady", "busy"].flatMap { load in
      ["clock", "hit", "set"].map { "\($0)_\(load)" }
    }
    for metric in ["clock_quiet", "hit_quiet"] + loads {
      let (median, longest) = (values["\(metric)_p50"] ?? 0, values["\(metric)_max"] ?? 0)
      #expect(values["\(metric)_count"] ?? 0 > 100 && median > 0 && longest >= median, "\(metric)")
      #expect(values["\(metric)_stolen"] ?? -1 >= 0, "\(metric)")
    }
  }

  @Test("a line that is none is named")
  func badLine() throws {
    let scratch = try TemporaryDirectory()
    let path = scratch.path + "/sets.tsv"
    try Data("set\tk:a\t60\t1\nset\tk:b\n".utf8).write(to: URL(fileURLWithPath: path))
    let result = try Command.run(["bench", "--input", path])
    #expect(result.status == 2 && result.errors.contains("sets.tsv:2"))
  }

  @Test("what was measured before a failure is printed with it")
  func failure() throws {
    let scratch = try TemporaryDirectory()
    let input = try streams(in: scratch.path)
    let command = try Command(
      ["bench", "--input", input, "--only", "memory", "--json"],
      limits: "export PEERS_RUN=/dev/null/none")
    let result = try command.end()
    #expect(result.status == 1)
    let report = try json(result.output)
    #expect((report["rows"] as? [Any])?.count == 1 && report["error"] is String)
  }

  @Test(
    "what can't be measured is refused",
    arguments: [
      ["--budget", "inf"], ["--budget", "0"], ["--budget", "nan"], ["--pauses", "--scaling"],
      ["--pauses", "--seconds", "inf"], ["--pauses", "--only", "sets"], ["--entries", "1"],
    ])
  func wrongUsage(_ arguments: [String]) throws {
    let result = try Command.run(["bench"] + arguments)
    #expect(result.status == 2 && result.output.isEmpty && !result.errors.isEmpty)
  }

  @Test(
    "options that say two things, or nothing for what is measured, are refused by name",
    arguments: [
      (["--input", "sets.tsv", "--peer-rows", "--json"], "--peer-rows and --json"),
      (["--input", "sets.tsv", "--entries", "2000"], "--entries is for --pauses and --scaling"),
      (["--input", "sets.tsv", "--seconds", "1"], "--seconds is for --pauses"),
      (["--scaling", "--seconds", "1"], "--seconds is for --pauses"),
      (["--pauses", "--budget", "1"], "--pauses takes no --budget"),
    ])
  func contradictions(_ arguments: [String], _ reason: String) throws {
    let result = try Command.run(["bench"] + arguments)
    #expect(result.status == 2 && result.output.isEmpty)
    #expect(result.errors.contains(reason), "\(result.errors)")
  }

  @Test("PEERS_BUDGET must be a number", arguments: ["abc", "inf", "-1"])
  func wrongBudget(_ text: String) throws {
    let scratch = try TemporaryDirectory()
    let input = try streams(in: scratch.path)
    let command = try Command(
      ["bench", "--input", input, "--only", "memory"], limits: "export PEERS_BUDGET=\(text)")
    let result = try command.end()
    #expect(result.status == 2 && result.errors.contains("PEERS_BUDGET"), "\(result.errors)")
  }

  /// Several times: some signals come while the cache is being opened, which then fails.
  @Test(
    "a signal leaves no directory behind, and ends the program as such",
    arguments: [SIGINT, SIGTERM], 1...4)
  func signalled(_ number: Int32, _ round: Int) throws {
    let scratch = try TemporaryDirectory()
    let work = scratch.path + "/work"
    // It must not be over before the signal, however late that comes.
    let command = try Command(
      ["bench", "--pauses", "--entries", "1000", "--seconds", "3600", "--peer-rows"],
      limits: "export PEERS_RUN=\(work)")
    func names() throws -> [String] {
      guard FileManager.default.fileExists(atPath: work) else { return [] }
      return try FileManager.default.contentsOfDirectory(atPath: work)
    }
    while try names().isEmpty, command.process.isRunning { usleep(100) }
    kill(command.process.processIdentifier, number)
    let result = try command.end()
    #expect(
      command.process.terminationReason == .uncaughtSignal && result.status == number,
      "\(result)")
    #expect(try names() == [])
  }
}
