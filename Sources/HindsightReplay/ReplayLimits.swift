import HindsightCore
import HindsightJournal

/// What a reader takes on for a journal that it doesn't trust.
///
/// A stranger's file of a megabyte may inflate to a gigabyte of events, checkpoints may lead to the same
/// ones again and again, and each clear by prefix looks at every entry. The defaults let a cache of ten
/// million entries pass, with keys of 100 bytes and a thousand such clears, and a history of any length.
public struct ReplayLimits: Sendable {
  /// Bytes of the index: keys, and about 100 an entry. A verification beside a store takes about three
  /// times as much besides, once.
  public var indexByteCountMax = 2 << 30
  /// Entries that all clears by prefix together may look at: some minutes.
  public var clearedEntryCountMax = 10_000_000_000
  /// Events that are decoded beyond 16 for each byte of the journal, which a cache's own hardly ever has:
  /// some minutes. Entries of checkpoints, keys that were used and 512 bytes before compression count like
  /// an event.
  public var decodedEventCountMax = 500_000_000

  public init() {}

  /// For a journal that is trusted.
  public static var none: ReplayLimits {
    var limits = ReplayLimits()
    (limits.indexByteCountMax, limits.clearedEntryCountMax) = (.max, .max)
    limits.decodedEventCountMax = .max
    return limits
  }
}

/// What a replay has taken so far, held against the limits.
struct ReplayBudget {
  private let limits: ReplayLimits
  private var clearedEntryCount = 0
  /// Beyond what the bytes read so far account for; below 0 where they would account for more.
  private var decodedEventCount = 0

  init(_ limits: ReplayLimits) { self.limits = limits }

  /// To be called for all that a replay decodes.
  /// - Throws: `StateError.beyondLimits`.
  mutating func spend(_ work: ReplayWork) throws(StateError) {
    decodedEventCount -= 16 * work.storedByteCount
    try spendEvents(work.eventCount + work.rawByteCount / 512)
  }

  /// To be called for each entry of a checkpoint.
  /// - Throws: `StateError.beyondLimits`.
  @inline(__always)
  mutating func spendEntry(_ state: borrowing CacheState) throws(StateError) {
    try spendEvents(1)
    try spend(nil, state)
  }

  @inline(__always)
  private mutating func spendEvents(_ count: Int) throws(StateError) {
    decodedEventCount += count
    if decodedEventCount > limits.decodedEventCountMax {
      throw .beyondLimits(
        "its events are too many for its size, by more than \(limits.decodedEventCountMax), the limit for "
          + "a journal that isn't trusted")
    }
  }

  /// To be called before an event is applied.
  /// - Throws: `StateError.beyondLimits`, also for all that follows.
  @inline(__always)
  mutating func spend(_ event: Event?, _ state: borrowing CacheState) throws(StateError) {
    if case .touched(let origins) = event { try spendEvents(origins.count) }
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
