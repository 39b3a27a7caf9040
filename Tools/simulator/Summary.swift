import Foundation
import HindsightTesting

/// What a run of the simulator did, for people and as JSON.
struct Summary {
  private let counts: SimulationCounts
  private let failures: [SeedPool.Failure]
  private let seconds: Double?

  init(_ counts: SimulationCounts, _ failures: [SeedPool.Failure], seconds: Double?) {
    self.counts = counts
    self.failures = failures
    self.seconds = seconds
  }

  private var numbers: [(name: String, count: Int)] {
    [
      ("seeds", counts.seeds), ("operations", counts.operations), ("steps", counts.steps),
      ("events", Int(counts.events)), ("power losses", counts.powerLosses),
      ("power losses foreseen", counts.foreseenPowerLosses),
      ("kills", counts.kills), ("closes", counts.closes), ("recoveries", counts.recoveries),
      ("failed openings", counts.failedOpenings), ("replays checked", counts.replays),
      ("hits", counts.hits), ("misses", counts.misses),
      ("values that don't decode", counts.undecodable),
      ("readers beside the writer", counts.readsBeside),
      ("writes refused", counts.refused),
      ("outcomes unknown", counts.unknown),
    ]
  }

  private var faults: [(kind: FaultKind, count: Int)] {
    zip(FaultKind.allCases, counts.faults).filter { $1 > 0 }.map { ($0, $1) }
  }

  var text: String {
    var lines = numbers.map { "\($0.name): \($0.count)" }
    if let seconds {
      let rate = Double(counts.seeds) / seconds * 60
      lines.append(String(format: "%.1f s, %.0f seeds a minute", seconds, rate))
    }
    lines.append("\(faults.count) kinds of faults:")
    lines += faults.map { "  \($0.kind): \($0.count)" }
    lines += failures.map { "FAILED seed \($0.seed): \($0.failure)" }
    if failures.isEmpty {
      lines.append(counts.seeds == 0 ? "no world was simulated" : "every promise held")
    }
    return lines.joined(separator: "\n")
  }

  /// The fault table of Reliability.md.
  var table: String {
    var lines = ["| kind | category | what happens | times |", "|---|---|---|--:|"]
    lines += zip(FaultKind.allCases, counts.faults).map { kind, count in
      "| `\(kind)` | \(kind.category.rawValue) | \(kind.summary) | \(count) |"
    }
    return lines.joined(separator: "\n")
  }

  func json() throws -> String {
    let object: [String: Any] = [
      "counts": Dictionary(uniqueKeysWithValues: numbers.map { ($0.name, $0.count) }),
      "faults": Dictionary(uniqueKeysWithValues: faults.map { ($0.kind.rawValue, $0.count) }),
      "seconds": seconds ?? 0,
      "failures": failures.map { ["seed": $0.seed, "failure": "\($0.failure)"] as [String: Any] },
    ]
    let data = try JSONSerialization.data(
      withJSONObject: object, options: [.sortedKeys, .prettyPrinted])
    return String(decoding: data, as: UTF8.self)
  }
}
