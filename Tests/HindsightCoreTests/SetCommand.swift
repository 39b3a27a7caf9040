@testable import HindsightCore

/// What a test sets.
struct SetCommand {
  var key: Bytes
  var value: Bytes
  var coder: UInt8
  /// `nil`: the cache's own TTL for that tier.
  var memoryTTL: Microseconds?
  var storeTTL: Microseconds?
  var reason: String?
}

extension CacheState {
  /// Sets a value, with the event among the decision's records, and those of the slices before it.
  mutating func decideSet(
    _ command: SetCommand, at now: Timestamp, into decision: inout Decision
  ) throws(SetRefusal) {
    let valueHash = XXH64.hash(command.value)
    var earlier: [Record] = []
    var decided = try decideSlice(command, valueHash, at: now, into: &decision)
    while decided == nil {
      earlier += decision.records
      decision.records = []
      decided = try decideSlice(command, valueHash, at: now, into: &decision)
    }
    guard let fact = decided else { return }
    if !earlier.isEmpty { decision.records = earlier + decision.records }
    let event = ValueSet(
      key: command.key, value: command.value, coder: command.coder,
      memoryExpiry: fact.memoryExpiry, storeExpiry: fact.storeExpiry, reason: command.reason)
    decision.records.append(Record(sequence: fact.sequence, at: now, event: .set(event)))
  }

  /// One decision on the way to a set.
  mutating func decideSlice(
    _ command: SetCommand, _ valueHash: UInt64, at now: Timestamp, into decision: inout Decision
  ) throws(SetRefusal) -> SetFact? {
    try command.key.withUnsafeBytes { key in
      Result { () throws(SetRefusal) in
        try decideSet(
          LentValue(
            key: key, keyHash: hash(of: key), coder: command.coder,
            valueByteCount: UInt32(command.value.count), valueHash: valueHash),
          memoryTTL: command.memoryTTL, storeTTL: command.storeTTL, at: now, into: &decision)
      }
    }.get()
  }
}

extension Opened {
  /// Two entries in memory, three in the store.
  static let small = Opened(
    memoryLimit: TierLimit(entryCountMax: 2), storeLimit: TierLimit(entryCountMax: 3),
    memoryTTL: .seconds(10), storeTTL: .seconds(20), accessLog: .recency, formatVersion: 1,
    softwareVersion: "test", bootID: 1)
}
