/// Why a residency ended, and so why a later lookup misses.
public enum Ending: String, Sendable, Hashable, CaseIterable {
  case expired, evicted, invalidated, cleared, lost
  /// A later `set` of the same key took its place.
  case replaced
}

/// What applying an event did to an entry, for a shell that keeps values and rows beside the index.
public enum Effect: Equatable, Sendable {
  /// A `set` made an entry in this slot.
  case inserted(Slot)
  /// The entry entered memory through a promotion.
  case memoryBegan(Slot)
  /// The entry left memory.
  case memoryEnded(Slot, Ending)
  /// The entry left the store: the row under its origin is void.
  case storeEnded(Slot, SequenceNumber, Ending)
  /// The entry is gone and its slot is free; `keyHash` is the hash of its key.
  case removed(Slot, keyHash: UInt64, Ending)
  /// All entries are gone from both tiers, cleared at once: every slot is free and was never used,
  /// every row is void.
  case removedAll
}

/// The facts that one decision made, in order, and what they did. Reused from call to call.
public struct Decision: Sendable {
  public internal(set) var records: [Record] = []
  public internal(set) var effects: [Effect] = []
  /// The storage of a `touched` that is gone, for the next one.
  var origins: [SequenceNumber] = []
  private static let originCountMax = 8_192

  public init() {}

  /// Empties both, keeping their storage: what is asked of the system under a lock may take milliseconds.
  public mutating func removeAll() {
    while let record = records.popLast() {
      guard case .touched(let origins) = record.event, origins.capacity <= Self.originCountMax
      else { continue }
      self.origins = origins
    }
    effects.removeOneByOne()
  }
}

extension Array {
  /// Empties an array of few elements, keeping its storage: to replace a range by nothing costs as much as a
  /// decision.
  @inlinable
  package mutating func removeOneByOne() {
    while !isEmpty { removeLast() }
  }
}
