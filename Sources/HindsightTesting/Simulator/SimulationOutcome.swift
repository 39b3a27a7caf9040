/// What broke, and where.
package struct SimulationFailure: Error, Sendable, CustomStringConvertible {
  /// The promise that was broken, in a word or two.
  package var check: String
  package var message: String
  /// The item of the plan after which it broke; `nil`: at the end.
  package var item: Int?

  package var description: String {
    "\(check): \(message)" + (item.map { " (at item \($0))" } ?? " (at the end)")
  }
}

/// How often things happened in simulations.
package struct SimulationCounts: Sendable, Equatable {
  package var seeds = 0
  package var operations = 0
  package var steps = 0
  package var events: UInt64 = 0
  package var powerLosses = 0
  /// Moments around syncs at which was looked what a loss of power would leave.
  package var foreseenPowerLosses = 0
  package var kills = 0
  package var closes = 0
  package var recoveries = 0
  /// Openings that failed since a fault came in, and were repeated.
  package var failedOpenings = 0
  package var replays = 0
  /// Writes that were refused, or whose outcome stayed unknown.
  package var refused = 0
  package var unknown = 0
  package var hits = 0
  package var misses = 0
  /// Values that didn't decode, and were invalidated.
  package var undecodable = 0
  /// Readers beside the writer that met with no fault.
  package var readsBeside = 0
  /// By their places in `FaultKind.allCases`.
  package var faults = [Int](repeating: 0, count: FaultKind.allCases.count)

  package init() {}

  package mutating func add(_ other: SimulationCounts) {
    for path in Self.numbers { self[keyPath: path] += other[keyPath: path] }
    events += other.events
    for at in faults.indices { faults[at] += other.faults[at] }
  }

  /// Key paths of stored properties, which capture nothing: immutable, though their type isn't Sendable.
  nonisolated(unsafe) private static let numbers: [WritableKeyPath<SimulationCounts, Int>] = [
    \.seeds, \.operations, \.steps, \.powerLosses, \.foreseenPowerLosses, \.kills, \.closes,
    \.recoveries, \.failedOpenings, \.replays, \.refused, \.unknown, \.hits, \.misses,
    \.undecodable, \.readsBeside,
  ]
}

/// How a simulation ended.
package struct SimulationOutcome: Sendable {
  package var failure: SimulationFailure?
  package var counts: SimulationCounts
  /// Of everything that happened, in its order: the same on every machine.
  package var digest: UInt64
  /// What happened, line by line; empty unless asked for.
  package var trace: [String]
}
