import ArgumentParser
import Foundation
import Hindsight

/// What `bench` measures, in the order of measuring.
enum BenchSection: String, CaseIterable, ExpressibleByArgument {
  case memory
  case sets
  case durable
  case recovery
  case store
}

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure this machine: sets, hits, bytes, recovery, on a stream of yours.",
    discussion: """
      Streams are lines of op, key, TTL in seconds and JSON value, separated by tabs. Everything \
      goes through the public API, as any program would use it, with values of [UInt8] (the JSON \
      text as it is). Outside the timed parts, values are read back and compared, TTLs are \
      checked, and the journal is verified; anything wrong is exit code 1.

      Beside the input, fill.tsv, hits1k.tsv and hits100k.tsv are looked for: what is not there \
      is not measured. PEERS_DATA is where sets.tsv is without --input, PEERS_RUN where caches \
      are made, PEERS_BUDGET what --budget is unless given.

      --pauses and --scaling make their own input, and read back 10,000 values of a cache at most.

      Example: hindsight bench --input sets.tsv --gets gets.tsv --json
      """)

  @Option(help: "The stream of sets.", completion: .file())
  var input: String?

  @Option(help: "The stream of lookups; gets.tsv beside the input unless given.")
  var gets: String?

  @Option(help: "Only these: memory, sets, durable, recovery, store. May be repeated.")
  var only: [BenchSection] = []

  @Option(parsing: .unconditional, help: "How many seconds a slow metric runs.")
  var budget: Double?

  @Flag(help: "Print peer, metric, value and unit, separated by tabs, and nothing else.")
  var peerRows = false

  @Flag(help: "Measure pauses of the memory tier instead, while everything goes on beside it.")
  var pauses = false

  @Flag(help: "Measure instead how costs grow with entries, values, callers and the journal.")
  var scaling = false

  @Option(
    parsing: .unconditional,
    help: "How many entries: of --pauses, and the most of --scaling; 1000000 unless given.")
  var entries: Int?

  @Option(
    parsing: .unconditional,
    help: """
      How many seconds --pauses measures beside a writer that never stops; 20 unless given. Beside a steady \
      one it takes half of that, and without any a quarter.
      """)
  var seconds: Double?

  @OptionGroup var output: OutputOptions

  private static let entryCount = 1_000_000

  func validate() throws {
    if let entries, !(1_000...100_000_000).contains(entries) {
      throw ValidationError("--entries must be 1,000 to 100,000,000")
    }
    if let seconds { try Self.check(seconds, "--seconds") }
    if let budget { try Self.check(budget, "--budget") }
    guard !(peerRows && output.json) else {
      throw ValidationError("--peer-rows and --json are two forms: choose one")
    }
    guard !(pauses && scaling) else {
      throw ValidationError("--pauses and --scaling are measured one at a time")
    }
    guard !(pauses || scaling) || (input == nil && gets == nil && only.isEmpty) else {
      throw ValidationError("--pauses and --scaling take no --input, --gets or --only")
    }
    guard entries == nil || pauses || scaling else {
      throw ValidationError("--entries is for --pauses and --scaling only")
    }
    guard seconds == nil || pauses else {
      throw ValidationError("--seconds is for --pauses only")
    }
    guard budget == nil || !pauses else {
      throw ValidationError("--pauses takes no --budget: it runs for --seconds")
    }
  }

  private static func check(_ seconds: Double, _ name: String) throws {
    guard seconds > 0, seconds <= 86_400 else {
      throw ValidationError("\(name) must be more than 0 and at most 86,400 seconds")
    }
  }

  /// `--budget`, else `PEERS_BUDGET`, else a second.
  private func budgetSeconds(_ environment: [String: String]) throws -> Double {
    if let budget { return budget }
    guard let text = environment["PEERS_BUDGET"], !text.isEmpty else { return 1 }
    guard let seconds = Double(text) else {
      throw ValidationError("PEERS_BUDGET is no number of seconds: \(text)")
    }
    try Self.check(seconds, "PEERS_BUDGET")
    return seconds
  }

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    let sink = BenchSink(output.json ? .json : peerRows ? .peerRows : .text)
    let budget = try budgetSeconds(environment)
    let workDirectory =
      environment["PEERS_RUN"] ?? FileManager.default.temporaryDirectory.path
    let ownInput = BenchTools(
      streams: .none, sink: sink, budget: budget, workDirectory: workDirectory)
    Cleanup.removeAllOnSignal()
    do {
      if pauses {
        try await BenchPauses(
          tools: ownInput, entryCount: entries ?? Self.entryCount, seconds: seconds ?? 20
        ).run()
      } else if scaling {
        try await BenchScaling(tools: ownInput, entryCountMax: entries ?? Self.entryCount).run()
      } else {
        try await measureStreams(sink, budget, workDirectory, environment["PEERS_DATA"])
      }
    } catch {
      Cleanup.waitForEnd()
      Cleanup.removeAll()
      // Wrong usage is found before anything is measured.
      if !(error is ValidationError) { try sink.finish(after: error) }
      throw error
    }
    try sink.finish()
  }

  private func measureStreams(
    _ sink: BenchSink, _ budget: Double, _ workDirectory: String, _ data: String?
  ) async throws {
    guard let input = input ?? data.map({ $0 + "/sets.tsv" }) else {
      throw ValidationError("name a stream with --input, or a directory with PEERS_DATA")
    }
    let streams = try BenchStreams(sets: input, gets: gets)
    let tools = BenchTools(
      streams: streams, sink: sink, budget: budget, workDirectory: workDirectory)
    for section in only.isEmpty ? BenchSection.allCases : only {
      switch section {
      case .memory: try await BenchMemory(tools: tools).run()
      case .sets: try await BenchJournal(tools: tools).run()
      case .durable: try await BenchJournal(tools: tools).runDurable()
      case .recovery: try await BenchRecovery(tools: tools).run(setsPath: input)
      case .store: try await BenchStore(tools: tools).run()
      }
    }
  }
}
