import HindsightCore
import Testing

/// After a session without an access log, opening tells the order of use of all entries: of many entries in
/// several events, since a frame holds only so much.
@Suite("S040 telling an order of use that no event has told")
struct ToldOrderTests {
  private let now = Timestamp(microseconds: 1)

  /// Ten entries in an order that no event tells.
  private func untold(_ records: inout [Record]) throws -> CacheState {
    let opened = Opened(
      memoryLimit: TierLimit(entryCountMax: 100), storeLimit: nil, memoryTTL: .seconds(10),
      storeTTL: .seconds(20), accessLog: .off, formatVersion: 1, softwareVersion: "test", bootID: 1)
    var state = CacheState(hashSeed: 1)
    var decision = Decision()
    state.decideOpen(opened, at: now, into: &decision)
    for number in 0..<10 {
      let command = SetCommand(
        key: Bytes("\(number)".utf8), value: [1], coder: 2, memoryTTL: nil, storeTTL: nil,
        reason: nil)
      try state.decideSet(command, at: now, into: &decision)
    }
    for number in [3, 0, 7] { state.touch(state.find(Bytes("\(number)".utf8))!) }
    state.decideClose(at: now, into: &decision)
    records = decision.records
    return state
  }

  private func tell(_ state: inout CacheState, entryCountMax: Int) -> [Record] {
    var opened = state.head.opened!
    opened.accessLog = .recency
    var decision = Decision()
    state.decideOpen(opened, at: now, entryCountMax: entryCountMax, into: &decision)
    // As a frame is cut in between.
    state.decideTouches(at: now, into: &decision)
    while state.decideOrder(at: now, entryCountMax: entryCountMax, into: &decision) {
      state.decideTouches(at: now, into: &decision)
    }
    return decision.records
  }

  private func origins(_ records: [Record]) -> [[SequenceNumber]] {
    records.compactMap { if case .touched(let origins) = $0.event { origins } else { nil } }
  }

  private func replay(_ records: [Record]) throws -> CacheState {
    var replica = CacheState(hashSeed: 2)
    var effects: [Effect] = []
    for record in records { try replica.apply(record, into: &effects) }
    replica.checkInvariants()
    return replica
  }

  @Test(
    "of all entries, oldest first; a replica that only applies the events has the same order",
    arguments: [1, 3, 5, 9, 10, 11])
  func slices(entryCountMax: Int) throws {
    var records: [Record] = []
    var state = try untold(&records)
    #expect(state.orderIsTold == false)
    let told = tell(&state, entryCountMax: entryCountMax)
    #expect(state.orderIsTold && !state.hasUntoldTouches)
    state.checkInvariants()
    let slices = origins(told)
    #expect(slices.count == (10 + entryCountMax - 1) / entryCountMax)
    #expect(slices.allSatisfy { !$0.isEmpty && $0.count <= entryCountMax })
    // Those that were touched came last; event 1 was `opened`.
    let expected = [1, 2, 4, 5, 6, 8, 9, 3, 0, 7].map { SequenceNumber(UInt64($0) + 2) }
    #expect(slices.flatMap { $0 } == expected)
    records += told
    let replica = try replay(records)
    #expect(replica.orderIsTold && replica.digest == state.digest)
  }

  @Test(
    "one telling's memory serves the next, unless somebody else has it", arguments: [false, true])
  func memory(isKept: Bool) throws {
    var records: [Record] = []
    var state = try untold(&records)
    _ = tell(&state, entryCountMax: 10)
    var decision = Decision()
    var places: [UnsafePointer<SequenceNumber>?] = []
    var kept: [[SequenceNumber]] = []
    var others: [[SequenceNumber]] = []
    for number in [4, 8, 2] {
      state.touch(state.find(Bytes("\(number)".utf8))!)
      state.decideTouches(at: now, into: &decision)
      var told = origins(decision.records)[0]
      #expect(told == [SequenceNumber(UInt64(number) + 2)])
      places.append(told.withUnsafeBufferPointer { $0.baseAddress })
      if isKept { kept.append(told) }
      told = []
      decision.removeAll()
      // Takes what was given back to the system.
      others.append([.zero])
    }
    #expect(Set(places).count == (isKept ? 3 : 1))
    #expect(kept == (isKept ? [6, 10, 4].map { [SequenceNumber($0)] } : []))
  }

  @Test("after a crash in between, the next opening tells all of it again")
  func crashed() throws {
    for kept in 0...3 {
      var records: [Record] = []
      var state = try untold(&records)
      records += tell(&state, entryCountMax: 3).prefix(1 + kept)
      var recovered = try replay(records)
      #expect(recovered.orderIsTold == false, "\(kept) of 4 events")
      let told = tell(&recovered, entryCountMax: 3)
      #expect(origins(told).map(\.count) == [3, 3, 3, 1])
      #expect(recovered.orderIsTold == true)
      let replica = try replay(records + told)
      #expect(replica.orderIsTold && replica.digest == recovered.digest)
    }
  }

  @Test("likewise of what was used since the last time", arguments: [1, 3, 9, 10, 11])
  func slicesOfHits(entryCountMax: Int) throws {
    var records: [Record] = []
    var state = try untold(&records)
    records += tell(&state, entryCountMax: .max)
    for number in [4, 0, 1, 8, 9, 2, 3, 5, 7, 6] {
      state.touch(state.find(Bytes("\(number)".utf8))!)
    }
    var decision = Decision()
    state.decideTouches(at: now, entryCountMax: entryCountMax, into: &decision)
    let told = origins(decision.records)
    #expect(told.allSatisfy { $0.count <= entryCountMax })
    #expect(told.count == (10 + entryCountMax - 1) / entryCountMax)
    state.checkInvariants()
    #expect(try replay(records + decision.records).digest == state.digest)
  }
}
