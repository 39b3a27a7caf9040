import CZlib

/// What certain seeds come to, as a table that is kept: the same on every machine whose zlib
/// compresses to the same bytes, since their number decides where segments end.
package enum SimulationDigests {
  package static let seeds: ClosedRange<UInt64> = 1...12

  /// The table: what this zlib makes of a sample, then a seed and its digest a line, with tabs.
  package static func table() -> String {
    var lines = ["zlib\t\(compressorMark)"]
    for seed in seeds { lines.append("\(seed)\t\(digest(of: seed))") }
    return lines.map { $0 + "\n" }.joined()
  }

  package static func digest(of seed: UInt64) -> String {
    String(Simulation.run(SimulationPlan(seed: seed)).digest, radix: 16)
  }

  /// The checksum of a sample as zlib compresses it here.
  package static var compressorMark: String {
    var random = SplitMix64(seed: 1)
    let words = (0..<200).map { _ in String(random.next() % 50_000, radix: 36) }
    let sample = Array((0..<8_000).map { _ in random.pick(words) }.joined(separator: " ").utf8)
    var count = compressBound(uLong(sample.count))
    var compressed = [UInt8](repeating: 0, count: Int(count))
    let status = compress2(&compressed, &count, sample, uLong(sample.count), 1)
    precondition(status == Z_OK, "zlib can't compress")
    return String(crc32(0, compressed, uInt(count)), radix: 16)
  }
}
