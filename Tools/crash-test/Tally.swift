/// What a run did and found.
struct Tally: Codable {
  struct Part: Codable {
    var name: String
    /// What decided it: of each repetition another.
    var seed: UInt64
    /// `nil`: it ran; else why it could not.
    var skipped: String?
    var note: String?
    /// Processes killed: by the driver, and by themselves at a failpoint.
    var kills = 0
    var killsAtFailpoints = 0
    /// Processes that recovered, and those of them that were killed before they had.
    var openings = 0
    var killedInRecovery = 0
    var killedInClosing = 0
    var cleanEnds = 0
    var operations = 0
    /// Acknowledged operations whose survival was checked after a crash.
    var acknowledgedChecked = 0
    var verifications = 0
    /// Openings and operations that were refused since the disk said no.
    var refusedOpenings = 0
    var refusedOperations = 0
    /// Of power losses: unsynced writes that were undone, and sectors of them that were left.
    var writesUndone = 0
    var sectorsKept = 0
    var interruptions = 0
    /// Failpoints that it was to pass and that did nothing.
    var neverFired: [String] = []
    var problems = 0
    var seconds = 0.0
  }

  var seed: UInt64
  var parts: [Part] = []
  /// How often each failpoint fired.
  var firings: [String: Int] = [:]
  /// Up to ten of each session; and where they were found.
  var problems: [String] = []
  var places: [String] = []
  /// How to run the part that lost something once more.
  var again: String?
  /// Where the directories are that lost something.
  var kept: String?
  /// What was asked for and not tested.
  var gaps: [String] = []

  var losses: Int { problems.count }

  /// - Parameter mayRunElsewhere: whether parts that this machine can't run were not asked for.
  mutating func findGaps(mayRunElsewhere: Bool) {
    for part in parts {
      if part.skipped != nil {
        if !mayRunElsewhere { gaps.append("\(part.name) was not run") }
        continue
      }
      if part.acknowledgedChecked == 0 {
        gaps.append("\(part.name) checked nothing that was acknowledged")
      }
      gaps += part.neverFired.map { "\($0) never fired" }
    }
    if parts.allSatisfy({ $0.skipped != nil }) { gaps.append("nothing was run") }
  }
}
