/// What a run did and found.
struct Tally: Codable {
  struct Part: Codable {
    var name: String
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

  var losses: Int { problems.count }
}
