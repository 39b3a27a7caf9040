/// What a verification checked, and what it found.
public struct Verification: Codable, Sendable {
  /// Where something is wrong, and what.
  public struct Problem: Codable, Sendable, Hashable {
    /// The file, or the store.
    public var file: String
    /// Where in it; `nil` where that says nothing.
    public var offset: UInt64?
    public var message: String
    /// Whether the system failed, so that this could not be checked: it may be whole.
    public var isFailure = false
  }

  /// So many problems are listed.
  public static let problemCountMax = 1_000

  /// What is wrong; the first thousand of it …
  public private(set) var problems: [Problem] = []
  /// … and how much there is beyond.
  public private(set) var omittedProblems = 0
  /// The first of them that is a failure of the system.
  public private(set) var failure: Problem?
  /// What is not wrong, but good to know.
  public var notes: [String] = []
  public var segments = 0
  public var frames = 0
  /// Bytes of those frames as they are stored, headers included, and of their events before
  /// compression.
  public var storedBytes: UInt64 = 0
  public var rawBytes: UInt64 = 0
  /// Events applied, each checked for its sequence and its time, and for the invariants that it could break.
  public var events = 0
  /// Events held against INV016: uses, promotions, removals and expiries of entries, each against the entry's
  /// expiry.
  public var ttlChecks = 0
  /// Checks of INV017: a tier's size held against its limit, after an event that may have filled the tier.
  public var limitChecks = 0
  /// Checkpoints read whole whose digests fit their contents …
  public var checkpoints = 0
  /// … and those whose digests fit the replayed state.
  public var checkpointsReplayed = 0
  /// Rows of the store that are exactly what the projection at its applied sequence holds.
  public var rows = 0
  /// The last event that the store has applied; `nil` where no store of this journal could be read.
  public var storeApplied: UInt64?
  /// The first event that is left in the journal; 0: there is none.
  public var firstSequence: UInt64 = 0
  /// The last event; 0: there is none.
  public var lastSequence: UInt64 = 0
  /// The history up to this event has holes, and a checkpoint leads across them; `nil`: it has none.
  public var damagedThrough: UInt64?
  /// Whether the last event is `closed`.
  public var isClosed = false
  /// The digest of the state at the end, 16 hexadecimal digits; empty where something kept it from being
  /// computed.
  public var digest = ""

  /// Whether no problem was found. Also false where something could not be read (`failure`).
  public var isSound: Bool { problems.isEmpty }

  mutating func note(_ problem: Problem) {
    if problem.isFailure, failure == nil { failure = problem }
    if problems.count < Self.problemCountMax {
      problems.append(problem)
    } else {
      omittedProblems += 1
    }
  }
}
