/// Why an event can't follow from the state it meets. Live, that is a bug and traps; read from a
/// journal, it is damage, or a broken invariant that `verify` names.
public enum StateError: Error, Equatable, Sendable {
  /// Sequence numbers are contiguous, except across a `gap`.
  case sequenceBroken(expected: SequenceNumber, found: SequenceNumber)
  case timeDecreased(last: Timestamp, found: Timestamp)
  /// Only `opened`, `recovered` and `gap` may come before the cache is opened.
  case notOpen
  case unknownOrigin(SequenceNumber)
  case notResident(SequenceNumber, Tier)
  case alreadyResident(SequenceNumber, Tier)
  /// `expired` before the expiry.
  case notExpired(SequenceNumber, Tier)
  /// INV016: something past its expiry was served, promoted, evicted or invalidated as if alive.
  case expiredServed(SequenceNumber, Tier)
  /// INV016: a promotion that outlives the store's own expiry.
  case promotedBeyondStore(SequenceNumber)
  /// INV016: a promotion that outlives the memory TTL in force.
  case promotedBeyondTTL(SequenceNumber)
  /// INV017: more in a tier than its limit allows.
  case limitExceeded(Tier)
  /// The evicted entry was not the least recent one.
  case wrongVictim(SequenceNumber, Tier, expected: SequenceNumber)
  case wrongClearCount(Tier, stated: UInt64, counted: UInt64)
  /// A miss or an invalidation of nothing, of a key that is there.
  case keyPresent(SequenceNumber)
  /// A hit that names a key and no entry.
  case hitWithoutEntry
  case keyLength(Int)
  case duplicateKey(SequenceNumber)
  /// A value without any residency, or in a tier that the cache doesn't have.
  case impossibleResidency(SequenceNumber)
  /// More entries than an index can hold.
  case tooManyEntries
  case digestMismatch(SequenceNumber, stated: UInt64, computed: UInt64)
  /// Not wrong, but more than this reader takes on: see `ReplayLimits`.
  case beyondLimits(String)
}

extension StateError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .sequenceBroken(let expected, let found):
      "sequence \(found) follows where \(expected) is due"
    case .timeDecreased(let last, let found): "time goes back from \(last) to \(found)"
    case .notOpen: "an event before the cache was opened, or after it was closed"
    case .unknownOrigin(let origin): "no entry has the origin \(origin)"
    case .notResident(let origin, let tier): "entry \(origin) is not in the \(tier) tier"
    case .alreadyResident(let origin, let tier): "entry \(origin) is in the \(tier) tier already"
    case .notExpired(let origin, let tier):
      "INV016: entry \(origin) was declared expired in the \(tier) tier before its expiry"
    case .expiredServed(let origin, let tier):
      "INV016: entry \(origin) was used in the \(tier) tier past its expiry"
    case .promotedBeyondStore(let origin):
      "INV016: the promotion of entry \(origin) outlives its store expiry"
    case .promotedBeyondTTL(let origin):
      "INV016: the promotion of entry \(origin) outlives the memory TTL"
    case .limitExceeded(let tier): "INV017: the \(tier) tier holds more than its limit"
    case .wrongVictim(let origin, let tier, let expected):
      "entry \(origin) was evicted from the \(tier) tier where \(expected) was due"
    case .wrongClearCount(let tier, let stated, let counted):
      "a clear states \(stated) entries in the \(tier) tier, there were \(counted)"
    case .keyPresent(let origin):
      "a miss, or an invalidation of nothing, was recorded for a key that entry \(origin) holds"
    case .hitWithoutEntry: "a hit was recorded of a key without an entry"
    case .keyLength(let count): "a key of \(count) bytes"
    case .duplicateKey(let origin): "entry \(origin) repeats a key or an origin"
    case .impossibleResidency(let origin): "entry \(origin) is in no tier that the cache has"
    case .tooManyEntries: "there are more entries than the index may hold"
    case .digestMismatch(let sequence, let stated, let computed):
      "the digest at \(sequence) is stated as \(hexadecimal(stated)), replayed it is "
        + hexadecimal(computed)
    case .beyondLimits(let what): what
    }
  }
}

/// 16 hexadecimal digits, as digests are shown.
public func hexadecimal(_ word: UInt64) -> String {
  let digits = String(word, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
