import Testing

@testable import HindsightCore

/// A large value may need the room of thousands of small ones. A decision is one frame's at least: what leaves is
/// told in several.
@Suite("S042 room made in slices")
struct SlicedRoomTests {
  private static let count = 3_000
  private let now = Timestamp(microseconds: 1)

  /// A cache that `count` entries of 4 bytes fill, with the records so far.
  private func full(
    hasStore: Bool, _ records: inout [Record]
  ) throws -> CacheState {
    let limit = TierLimit(entryCountMax: 10_000, byteCountMax: UInt64(4 * Self.count))
    let opened = Opened(
      memoryLimit: limit,
      storeLimit: hasStore ? TierLimit(entryCountMax: 10_000, byteCountMax: 30_000) : nil,
      memoryTTL: .seconds(10), storeTTL: .seconds(20), accessLog: .recency, formatVersion: 1,
      softwareVersion: "test", bootID: 1)
    var state = CacheState(hashSeed: 1)
    var decision = Decision()
    state.decideOpen(opened, at: now, into: &decision)
    for number in 0..<Self.count { try state.decideSet(small(number), at: now, into: &decision) }
    records += decision.records
    return state
  }

  private func small(_ number: Int) -> SetCommand {
    command("\(1_000 + number)", byteCount: 0)
  }

  private func command(_ key: String, byteCount: Int) -> SetCommand {
    SetCommand(
      key: Bytes(key.utf8), value: Bytes(repeating: 7, count: byteCount), coder: 2, memoryTTL: nil,
      storeTTL: nil, reason: nil)
  }

  /// Sets a value as an engine does.
  /// - Returns: how many events each decision had, the set's own among the last one's.
  private func set(
    _ command: SetCommand, in state: inout CacheState, at now: Timestamp,
    _ records: inout [Record]
  ) throws -> [Int] {
    var counts: [Int] = []
    var isSet = false
    while !isSet {
      var decision = Decision()
      let fact = try state.decideSlice(
        command, XXH64.hash(command.value), at: now, into: &decision)
      isSet = fact != nil
      if let fact {
        let value = ValueSet(
          key: command.key, value: command.value, coder: 2, memoryExpiry: fact.memoryExpiry,
          storeExpiry: fact.storeExpiry, reason: nil)
        decision.records.append(Record(sequence: fact.sequence, at: now, event: .set(value)))
      }
      state.checkInvariants()
      counts.append(decision.records.count)
      records += decision.records
    }
    return counts
  }

  /// What only applies the events, each of which breaks no limit, ends where the state is.
  private func check(_ records: [Record], _ state: borrowing CacheState) throws {
    var replica = CacheState(hashSeed: 2)
    var effects: [Effect] = []
    for record in records { try replica.apply(record, into: &effects) }
    let (digest, expected) = (replica.digest, state.digest)
    #expect(digest == expected)
  }

  @Test("no decision of a set has more than a slice, and its own event", arguments: [false, true])
  func set(hasStore: Bool) throws {
    var records: [Record] = []
    var state = try full(hasStore: hasStore, &records)
    let counts = try set(command("large", byteCount: 11_995), in: &state, at: now, &records)
    // Of memory: all; of the store, which has 18,000 bytes of room with them, none.
    #expect(counts == [1_024, 1_024, 953])
    let (count, entryCount) = (state.residentCount(in: .memory), state.entryCount)
    #expect(count == 1 && entryCount == (hasStore ? Self.count + 1 : 1))
    try check(records, state)
  }

  @Test("what is to be replaced stays until it is, though it was used before all that leaves")
  func replaced() throws {
    var records: [Record] = []
    var state = try full(hasStore: true, &records)
    var value = small(0)
    value.value = Bytes(repeating: 7, count: 11_996)
    let counts = try set(value, in: &state, at: now, &records)
    // One event tells that it isn't the least recent any more.
    #expect(counts == [1_024, 1_024, 953])
    let entryCount = state.entryCount
    #expect(entryCount == Self.count)
    try check(records, state)
  }

  @Test("what is past its expiry leaves as such, also in a later slice")
  func expired() throws {
    var records: [Record] = []
    var state = try full(hasStore: false, &records)
    let later = Timestamp(microseconds: 10_000_001)
    let counts = try set(
      command("large", byteCount: 11_995), in: &state, at: later, &records)
    #expect(counts == [1_024, 1_024, 953])
    let left = records.suffix(Self.count + 1).dropLast()
    #expect(left.allSatisfy { if case .expired = $0.event { true } else { false } })
    try check(records, state)
  }

  @Test("a promotion")
  func promotion() throws {
    var records: [Record] = []
    var state = try full(hasStore: true, &records)
    _ = try set(command("large", byteCount: 11_995), in: &state, at: now, &records)
    // All the small ones come back to memory.
    for number in 0..<Self.count {
      var decision = Decision()
      let slot = state.find(small(number).key)!
      let isLong = state.decidePromote(slot, at: now, into: &decision)
      #expect(!isLong)
      records += decision.records
    }
    let slot = state.find(Bytes("large".utf8))!
    let wasInMemory = state.isResident(slot, in: .memory)
    #expect(!wasInMemory)
    var counts: [Int] = []
    var isLong = true
    while isLong {
      var decision = Decision()
      isLong = state.decidePromote(slot, at: now, into: &decision)
      counts.append(decision.records.count)
      records += decision.records
    }
    #expect(counts == [1_024, 1_024, 953])
    let (isInMemory, count) = (
      state.isResident(slot, in: .memory), state.residentCount(in: .memory)
    )
    #expect(isInMemory && count == 1)
    state.checkInvariants()
    try check(records, state)
  }
}
