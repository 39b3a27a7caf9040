import Foundation
import HindsightTesting
import Testing

/// A bounded run of the simulator; `Tools/simulator` goes on for longer.
@Suite("Deterministic simulator")
struct SimulatorTests {
  @Test("promises hold in 150 simulated worlds")
  func promises() {
    var counts = SimulationCounts()
    for seed in UInt64(1)...150 {
      let outcome = Simulation.run(SimulationPlan(seed: seed))
      counts.add(outcome.counts)
      if let failure = outcome.failure {
        Issue.record("simulator --seed \(seed) --trace: \(failure)")
      }
    }
    #expect(counts.powerLosses > 50 && counts.kills > 50 && counts.recoveries > 100)
    #expect(counts.foreseenPowerLosses > 50)
    #expect(counts.faults.count { $0 > 0 } >= 35)
    #expect(counts.hits > 500 && counts.events > 2_000)
  }

  @Test("the same seed does the same, step by step", arguments: [3, 77, 250] as [UInt64])
  func determinism(seed: UInt64) {
    let first = Simulation.run(SimulationPlan(seed: seed), isTracing: true)
    let second = Simulation.run(SimulationPlan(seed: seed), isTracing: true)
    #expect(first.trace.count > 50)
    // Whole traces, so that the first line that differs is seen.
    #expect(first.trace == second.trace)
    #expect(first.digest == second.digest)
  }

  /// What changes the cache's behaviour or the plans changes these, too:
  /// `swift run -c release simulator --digests > Fixtures/simulator/digests.tsv`.
  @Test("seeds come to what they came to on other machines")
  func digests() throws {
    let path = checkout.appendingPathComponent("Fixtures/simulator/digests.tsv").path
    let kept = try String(contentsOfFile: path, encoding: .utf8)
      .split(separator: "\n").map { $0.split(separator: "\t").map(String.init) }
    #expect(kept.count == SimulationDigests.seeds.count)
    for line in kept {
      let seed = try #require(UInt64(line[0]))
      #expect(SimulationDigests.digest(of: seed) == line[1], "seed \(seed)")
    }
  }
}

private let checkout = URL(fileURLWithPath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
