import Foundation

extension Tally.Part {
  /// One part in a few lines.
  var text: String {
    if let skipped { return "\(name): NOT RUN: \(skipped)" }
    var lines = [
      "\(name): \(kills + killsAtFailpoints) kills (\(killsAtFailpoints) at failpoints, "
        + "\(killedInRecovery) while recovering, \(killedInClosing) while closing), "
        + "\(openings) openings, \(cleanEnds) clean ends",
      "  \(operations) operations, \(acknowledgedChecked) acknowledged ones checked after a crash, "
        + "\(verifications) verifications, \(problems) problems, \(Int(seconds.rounded())) s",
    ]
    if refusedOpenings + refusedOperations > 0 {
      lines.append("  refused: \(refusedOpenings) openings, \(refusedOperations) operations")
    }
    if writesUndone > 0 {
      lines.append(
        "  \(writesUndone) unsynced writes taken back, \(sectorsKept) of their sectors left")
    }
    if interruptions > 0 { lines.append("  \(interruptions) calls interrupted or cut short") }
    if !neverFired.isEmpty { lines.append("  never fired: " + neverFired.joined(separator: ", ")) }
    if let note { lines.append("  \(note)") }
    return lines.joined(separator: "\n")
  }
}

extension Tally {
  var text: String {
    let kills = parts.reduce(0) { $0 + $1.kills + $1.killsAtFailpoints }
    let checked = parts.reduce(0) { $0 + $1.acknowledgedChecked }
    var lines: [String] = []
    if parts.contains(where: { $0.name == "failpoints" }) {
      lines.append(
        "failpoints fired: "
          + firings.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
          .joined(separator: ", "))
    }
    lines += problems.map { "LOSS \($0)" } + places + gaps.map { "NOT TESTED \($0)" }
    lines.append(
      "seed \(seed): \(kills) kills, \(parts.reduce(0) { $0 + $1.openings }) reopenings, "
        + "\(checked) acknowledged operations checked, losses = \(losses)")
    if let again, let kept {
      lines.append("again: \(again)")
      lines.append("the directories are kept in \(kept)")
    }
    return lines.joined(separator: "\n")
  }

  var json: String {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
  }
}
