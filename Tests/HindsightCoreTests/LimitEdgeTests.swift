import HindsightCore
import HindsightTesting
import Testing

/// What lies exactly at a limit, and what is left of what comes and goes.
@Suite("S040 the edges of the state's limits")
struct LimitEdgeTests {
  private let now = Timestamp(microseconds: 1_000_000)

  private func opened(memory: TierLimit, store: TierLimit?) -> Opened {
    Opened(
      memoryLimit: memory, storeLimit: store, memoryTTL: .seconds(10), storeTTL: .seconds(20),
      accessLog: .recency, formatVersion: 1, softwareVersion: "test", bootID: 1)
  }

  private func command(_ key: String, byteCount: Int = 1) -> SetCommand {
    SetCommand(
      key: Bytes(key.utf8), value: Bytes(repeating: 7, count: byteCount), coder: 2,
      memoryTTL: nil, storeTTL: nil, reason: nil)
  }

  @Test(
    "INV017 a value enters each tier whose limit by bytes it just fits",
    arguments: [9, 10, 11] as [UInt64])
  func justFits(storeByteCountMax: UInt64) throws {
    var state = CacheState()
    var decision = Decision()
    let tiers = opened(
      memory: TierLimit(entryCountMax: 9, byteCountMax: 8),
      store: TierLimit(entryCountMax: 9, byteCountMax: storeByteCountMax))
    state.decideOpen(tiers, at: now, into: &decision)
    for byteCount in 1...12 {
      do throws(SetRefusal) {
        try state.decideSet(command("k", byteCount: byteCount - 1), at: now, into: &decision)
      } catch {
        #expect(UInt64(byteCount) > storeByteCountMax, "\(error)")
        continue
      }
      #expect(UInt64(byteCount) <= storeByteCountMax)
      guard let slot = state.find(Bytes("k".utf8)) else {
        Issue.record("nothing was set")
        continue
      }
      let (isInMemory, isInStore) = (
        state.isResident(slot, in: .memory), state.isResident(slot, in: .store)
      )
      #expect(isInMemory == (byteCount <= 8) && isInStore)
      state.checkInvariants()
    }
  }

  @Test("a slice of a sweep takes as many as it may, and no more")
  func sweepSlices() throws {
    var state = CacheState()
    var decision = Decision()
    let tiers = opened(memory: TierLimit(entryCountMax: 9), store: TierLimit(entryCountMax: 9))
    state.decideOpen(tiers, at: now, into: &decision)
    for key in 0..<5 { try state.decideSet(command("\(key)"), at: now, into: &decision) }
    let later = now.adding(.seconds(20))
    let swept = (0..<4).map { _ in
      state.decideSweep(at: later, entryCountMax: 2, into: &decision)
    }
    #expect(swept == [2, 2, 1, 0])
    let left = state.entryCount
    #expect(left == 0)
  }

  @Test("what leaves gives the memory of its key and its slot back", arguments: [true, false])
  func comingAndGoing(isEvicted: Bool) throws {
    var state = CacheState()
    var decision = Decision()
    let tiers = opened(memory: TierLimit(entryCountMax: 4), store: nil)
    state.decideOpen(tiers, at: now, into: &decision)
    for number in 0..<5_000 {
      let key = String(repeating: "k", count: 100) + "\(number)"
      try state.decideSet(command(key), at: now, into: &decision)
      if !isEvicted {
        let wasThere = state.decideInvalidate(
          Bytes(key.utf8), reason: nil, at: now, into: &decision)
        #expect(wasThere)
      }
      decision.removeAll()
    }
    let (slotEnd, byteCount) = (state.slotEnd, state.indexByteCount)
    #expect(slotEnd <= 8)
    // The keys alone take half a megabyte.
    #expect(byteCount < 100_000)
    state.checkInvariants()
  }

  @Test("INV016 restored with TTLs that are all different, what expires first leaves first")
  func restoredExpiries() throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    let count: UInt64 = 300
    let limit = TierLimit(entryCountMax: count)
    var state = CacheState()
    let head = StateHead(
      sequence: SequenceNumber(count), at: now, opened: opened(memory: limit, store: limit),
      isClosed: true)
    state.restore(head)
    func expiry() -> Timestamp {
      now.adding(.seconds(Int64.random(in: 1...1_000, using: &random)))
    }
    for number in 1...count {
      let numbers = EntryNumbers(
        origin: SequenceNumber(number), setAt: now, coder: 2, valueByteCount: 1, valueHash: 0,
        memoryExpiry: number % 3 == 0 ? nil : expiry(),
        storeExpiry: number % 3 == 1 ? nil : expiry())
      try state.restore(EntryImage(key: Bytes("\(number)".utf8), numbers: numbers))
    }
    state.finishRestore()
    state.checkInvariants()
    var decision = Decision()
    state.decideOpen(head.opened!, at: now, into: &decision)
    for second in stride(from: 0, through: 1_000, by: 50) as StrideThrough<Int64> {
      let time = now.adding(.seconds(second))
      while state.decideSweep(at: time, into: &decision) > 0 {}
      state.checkInvariants()
      for tier in Tier.allCases {
        var late = 0
        state.forEachResident(in: tier) { if state.expiry(of: $0, in: tier) <= time { late += 1 } }
        #expect(late == 0, "seed \(seed), second \(second)")
      }
    }
    let left = state.entryCount
    #expect(left == 0)
  }
}
