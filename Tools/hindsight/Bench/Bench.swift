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

      --pauses and --scaling make their own input.

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
    parsing: .unconditional, help: "How many entries: of --pauses, and the most of --scaling.")
  var entries = 1_000_000

  @Option(parsing: .unconditional, help: "How many seconds --pauses measures.")
  var seconds = 20.0

  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard entries >= 1_000, seconds > 0, budget ?? 1 > 0 else {
      throw ValidationError("at least 1,000 entries, and more than no seconds")
    }
  }

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    let sink = BenchSink(output.json ? .json : peerRows ? .peerRows : .text)
    let budget = budget ?? environment["PEERS_BUDGET"].flatMap(Double.init) ?? 1
    let workDirectory =
      environment["PEERS_RUN"] ?? FileManager.default.temporaryDirectory.path
    if pauses {
      try await BenchPauses(
        sink: sink, workDirectory: workDirectory, entryCount: entries, seconds: seconds
      ).run()
    } else if scaling {
      try await BenchScaling(
        sink: sink, workDirectory: workDirectory, entryCountMax: entries, budget: budget
      ).run()
    } else {
      try await measureStreams(sink, budget, workDirectory, environment["PEERS_DATA"])
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
    guard !streams.sets.isEmpty else { throw ValidationError("\(input) is empty") }
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
