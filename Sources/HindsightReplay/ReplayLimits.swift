import HindsightCore

/// What a reader takes on for a journal that it doesn't trust.
///
/// A stranger's file of a megabyte may inflate to a gigabyte of events, and each clear by prefix
/// looks at every entry. The defaults let a cache of ten million entries pass, with keys of 100 bytes and a
/// thousand such clears.
public struct ReplayLimits: Sendable {
  /// Bytes of the index: keys, and about 100 an entry. A verification beside a store takes about three
  /// times as much besides, once.
  public var indexByteCountMax = 2 << 30
  /// Entries that all clears by prefix together may look at: some minutes.
  public var clearedEntryCountMax = 10_000_000_000

  public init() {}

  /// For a journal that is trusted.
  public static var none: ReplayLimits {
    var limits = ReplayLimits()
    (limits.indexByteCountMax, limits.clearedEntryCountMax) = (.max, .max)
    return limits
  }
}

/// What a replay has taken so far, held against the limits.
struct ReplayBudget {
  private let limits: ReplayLimits
  private var clearedEntryCount = 0

  init(_ limits: ReplayLimits) { self.limits = limits }

  /// To be called before an event is applied, and for each entry of a checkpoint.
  /// - Throws: `StateError.beyondLimits`, also for all that follows.
  @inline(__always)
  mutating func spend(_ event: Event?, _ state: borrowing CacheState) throws(StateError) {
    if case .cleared(let it) = event, !it.prefix.isEmpty {
      clearedEntryCount += max(1, state.entryCount)
      if clearedEntryCount > limits.clearedEntryCountMax {
        throw .beyondLimits(
          "its clears look at more than \(limits.clearedEntryCountMax) entries, the limit for a "
            + "journal that isn't trusted")
      }
    }
    if state.indexByteCount > limits.indexByteCountMax {
      throw .beyondLimits(
        "its index takes more than \(limits.indexByteCountMax) bytes, the limit for a journal that "
          + "isn't trusted")
    }
  }
}
