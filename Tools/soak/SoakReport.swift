import Foundation
import Hindsight
import HindsightReplay

/// What a soak did, and how near it came to its limits.
struct SoakReport: Codable {
  struct Peak: Codable {
    var name: String
    var bound: UInt64
    var source: String
    var peak: UInt64 = 0
    /// At the end of each tenth of the time: what grows shows here.
    var course: [UInt64] = []
  }

  var seed: UInt64
  var seconds = 0.0
  var operations = 0
  var gets = 0
  var hits = 0
  var sets = 0
  var removals = 0
  var refused = 0
  var longestHitMilliseconds = 0.0
  var peaks: [Peak]
  /// There at the end.
  var statistics: CacheStatistics?
  var problems: [String] = []

  var isSound: Bool { problems.isEmpty }

  mutating func note(_ name: String, _ value: UInt64, isMilestone: Bool) {
    guard let at = peaks.firstIndex(where: { $0.name == name }) else { return }
    peaks[at].peak = max(peaks[at].peak, value)
    if isMilestone { peaks[at].course.append(value) }
  }

  mutating func check(_ found: [String]) {
    problems += found
    for peak in peaks where peak.peak > peak.bound {
      problems.append("\(peak.name): \(peak.peak) is over \(peak.bound) (\(peak.source))")
    }
    guard let statistics else { return problems.append("it did not get to its end") }
    for (name, count) in [
      ("expiries", statistics.expiries.store), ("evictions", statistics.evictions.store),
      ("promotions", statistics.promotions), ("store hits", statistics.hits.store),
    ] where count == 0 {
      problems.append("the load brought about no \(name): it tests too little")
    }
  }

  var text: String {
    let rate = Int(Double(operations) / max(seconds, 0.001))
    var lines = [
      """
      \(operations) operations in \(Int(seconds)) s (\(rate)/s): \(sets) sets, \(gets) gets with \
      \(hits) hits, \(removals) invalidations and clears, \(refused) refused
        longest memory hit \(longestHitMilliseconds) ms
      """
    ]
    if let statistics { lines.append(Self.text(statistics)) }
    for peak in peaks {
      let course = peak.course.map { "\($0)" }.joined(separator: " ")
      lines.append("  \(peak.name): at most \(peak.peak) of \(peak.bound) (\(peak.source))")
      lines.append("    over time: \(course)")
    }
    lines += problems.map { "PROBLEM \($0)" }
    lines.append("seed \(seed): \(isSound ? "within all limits, verified" : "FAILED")")
    return lines.joined(separator: "\n")
  }

  private static func text(_ statistics: CacheStatistics) -> String {
    let (evictions, expiries) = (statistics.evictions, statistics.expiries)
    return """
        \(statistics.promotions) promotions, evictions \(evictions.memory) and \
      \(evictions.store), expiries \(expiries.memory) and \(expiries.store), \
      \(statistics.lastSequence) events
      """
  }

  var json: String {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
  }
}

extension Verification {
  /// What is wrong with the cache in a directory.
  static func problems(in directory: String) throws -> [String] {
    try Verifier(directory: directory).run().problems.map {
      "\($0.file) \($0.offset ?? 0): \($0.message)"
    }
  }
}
