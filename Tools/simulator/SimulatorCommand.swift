import ArgumentParser
import Foundation
import HindsightTesting

/// Runs simulated worlds, one a seed, and stops at the first broken promise.
@main
struct SimulatorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulator",
    abstract: "Tries to break the cache's promises in simulated worlds, one a seed.",
    discussion: """
      One seed decides operations, clocks, scheduling, faults, crashes and configuration. The first \
      failure is printed with its seed and the shortest list of operations that still fails; exit \
      code 1. Exit code 2 where there was no time for a single world.
      """)

  @Option(help: "The first seed.") var first: UInt64 = 1
  @Option(help: "How many seeds; without --minutes, 1,000.") var seeds: UInt64?
  @Option(help: "Goes on for so many minutes.") var minutes: Double?
  @Option(help: "Runs this seed alone.") var seed: UInt64?
  @Flag(help: "Prints all that happens; only with --seed.") var trace = false
  @Flag(help: "Prints the summary as JSON.") var json = false
  @Flag(help: "Also prints every kind of fault with its count, as a Markdown table.")
  var table = false
  @Flag(help: "Goes on after failures, and lists them without shrinking.") var keepGoing = false
  @Flag(help: "Prints the digests of a few seeds, as Fixtures/simulator has them.") var digests =
    false
  @Option(help: "How many seeds run at the same time.") var threads = 2

  func validate() throws {
    guard !trace || seed != nil else { throw ValidationError("--trace needs --seed") }
    guard (1...64).contains(threads) else { throw ValidationError("1 to 64 threads are possible") }
    guard seeds != 0, minutes.map({ $0 > 0 }) ?? true else {
      throw ValidationError("that is no world at all")
    }
  }

  func run() throws {
    CrashReport.install()
    if digests { return print(SimulationDigests.table(), terminator: "") }
    if let seed { return try runOne(seed) }
    let pool = SeedPool(
      first: first, count: seeds ?? (minutes == nil ? 1_000 : nil),
      seconds: minutes.map { $0 * 60 }, stopsAtFailure: !keepGoing)
    let began = ContinuousClock.now
    pool.run(threadCount: threads)
    let seconds = (ContinuousClock.now - began) / .seconds(1)
    let failures = pool.failures.sorted { $0.seed < $1.seed }
    let summary = Summary(pool.counts, failures, seconds: seconds)
    print(json ? try summary.json() : summary.text)
    if table { print("\n" + summary.table) }
    if pool.counts.seeds == 0 { throw ExitCode(2) }
    guard let worst = failures.first else { return }
    if !keepGoing { print(Self.explain(worst.seed, worst.failure)) }
    throw ExitCode(1)
  }

  private func runOne(_ seed: UInt64) throws {
    let outcome = CrashReport.watching(seed) {
      Simulation.run(SimulationPlan(seed: seed), isTracing: trace)
    }
    for line in outcome.trace { print(line) }
    let summary = Summary(
      outcome.counts, outcome.failure.map { [.init(seed: seed, failure: $0)] } ?? [], seconds: nil)
    print(json ? try summary.json() : summary.text)
    print("digest \(String(outcome.digest, radix: 16))")
    guard let failure = outcome.failure else { return }
    print(Self.explain(seed, failure))
    throw ExitCode(1)
  }

  /// The failure with the shortest plan that still fails.
  private static func explain(_ seed: UInt64, _ failure: SimulationFailure) -> String {
    let plan = SimulationPlan(seed: seed)
    // Thousands of worlds: minutes, where one of them takes a second.
    fflush(nil)
    FileHandle.standardError.write(
      Data("seed \(seed) broke a promise: \(failure); looking for a shorter plan …\n".utf8))
    var shrinker = PlanShrinker(plan, failure)
    CrashReport.watching(seed) { shrinker.run() }
    return """

      seed \(seed) broke a promise: \(failure)
      again:  simulator --seed \(seed) --trace
      shrunk from \(plan.items.count) items to \(shrinker.plan.items.count): \(shrinker.failure)
      \(shrinker.plan)
      """
  }
}
