/// What certain seeds come to, as a table that is kept: the same on every machine.
package enum SimulationDigests {
  package static let seeds: ClosedRange<UInt64> = 1...12

  /// The table: a seed and its digest a line, with a tab between.
  package static func table() -> String {
    seeds.map { "\($0)\t\(digest(of: $0))\n" }.joined()
  }

  package static func digest(of seed: UInt64) -> String {
    String(Simulation.run(SimulationPlan(seed: seed)).digest, radix: 16)
  }
}
