internal import Logging

/// What opening a cache found and did.
public struct RecoverySummary: Sendable, Hashable, Codable {
  /// How the journal was found.
  public enum Journal: String, Sendable, Hashable, Codable {
    /// There is none.
    case none
    /// There was none yet.
    case new
    /// It had been closed properly.
    case clean
    /// It had not been closed; nothing was damaged.
    case unclean
    /// It had not been closed, and what was being written last was cut off.
    case tornTail
    /// Damage was cut out on request.
    case salvaged
  }

  /// What became of the store.
  public enum Store: String, Sendable, Hashable, Codable {
    /// There is none.
    case none
    /// There was none yet, or an empty one.
    case new
    /// It goes on where it was.
    case resumed
    /// It was compared with the journal row by row.
    case reconciled
    /// It was damaged or no store of ours, was put aside, and is built anew.
    case rebuilt
  }

  public var journal = Journal.none
  public var store = Store.none
  /// The last event that was there.
  public var lastSequence: UInt64 = 0
  /// Events that were replayed.
  public var replayedEvents = 0
  /// The number of the checkpoint that the replay began with; `nil`: with none.
  public var checkpoint: UInt32?
  /// The number of the segment where something was cut off; 0: nothing was.
  public var segment: UInt32 = 0
  /// Where in that segment.
  public var byteOffset: UInt64 = 0
  /// How many bytes were cut off; `quarantined` has them.
  public var droppedBytes: UInt64 = 0
  /// Names, in the cache's directory, of the files that hold what was cut off or put aside.
  public var quarantined: [String] = []
  /// What was found damaged, in words.
  public var damage: [String] = []
  /// Values that could not be found anywhere.
  public var lostValues = 0
  /// Rows that reconciling deleted from the store.
  public var deletedRows = 0
  /// Rows that reconciling inserted into it.
  public var insertedRows = 0
  /// How long opening took.
  public var seconds = 0.0

  public init() {}

  /// Whether the cache had been closed properly, or is new.
  public var wasClean: Bool { journal == .none || journal == .new || journal == .clean }
}

extension RecoverySummary {
  /// Says what there was to recover: as a warning where something was damaged or is gone.
  func log(to logger: Logger) {
    let isHarmless = damage.isEmpty && lostValues == 0 && journal != .salvaged
    guard !wasClean || !isHarmless else { return }
    var metadata: Logger.Metadata = ["journal": "\(journal)", "last": "\(lastSequence)"]
    if droppedBytes > 0 { metadata["droppedBytes"] = "\(droppedBytes)" }
    if lostValues > 0 { metadata["lostValues"] = "\(lostValues)" }
    if !quarantined.isEmpty { metadata["quarantined"] = .array(quarantined.map { "\($0)" }) }
    if !damage.isEmpty { metadata["damage"] = .array(damage.map { "\($0)" }) }
    logger.log(level: isHarmless ? .notice : .warning, "recovered", metadata: metadata)
  }
}
