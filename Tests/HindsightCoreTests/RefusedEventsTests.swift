import HindsightCore
import Testing

/// What `apply` refuses, though its encoding is right.
@Suite("S040 impossible events")
struct RefusedEventsTests {
  private func set(_ key: String, memory: Int64? = 10, store: Int64? = 20, at: Int64) -> Event {
    func instant(_ seconds: Int64?) -> Timestamp? {
      seconds.map { Timestamp(microseconds: (at + $0) * 1_000_000) }
    }
    return .set(
      ValueSet(
        key: Bytes(key.utf8), value: [1], coder: 2, memoryExpiry: instant(memory),
        storeExpiry: instant(store), reason: nil))
  }

  /// Applies events, one a second from second 1 on.
  /// - Returns: the error that the last one gave.
  private func refusal(_ events: [Event]) -> StateError? {
    var state = CacheState()
    var effects: [Effect] = []
    for (index, event) in events.enumerated() {
      let record = Record(
        sequence: SequenceNumber(UInt64(index + 1)),
        at: Timestamp(microseconds: Int64(index + 1) * 1_000_000), event: event)
      do throws(StateError) {
        try state.apply(record, into: &effects)
      } catch {
        #expect(index == events.count - 1, "\(error)")
        return error
      }
    }
    return nil
  }

  @Test("INV016: what is past its expiry can't be used, promoted, invalidated or evicted")
  func inv016() {
    let base = [Event.opened(.small), set("a", memory: 1, store: 1, at: 2)]
    let origin = SequenceNumber(2)
    #expect(
      refusal(base + [.lookedUp(.origin(origin), .memoryHit)]) == .expiredServed(origin, .memory))
    #expect(
      refusal(
        base + [
          .expired(origin: origin, tier: .memory), .promoted(origin: origin, memoryExpiry: .zero),
        ])
        == .expiredServed(origin, .store))
    #expect(
      refusal(base + [.invalidated(Invalidated(subject: .origin(origin), reason: nil))])
        == .expiredServed(origin, .memory))
    #expect(
      refusal(base + [.evicted(origin: origin, tier: .memory, cause: .limit)])
        == .expiredServed(origin, .memory))
    #expect(
      refusal([.opened(.small), set("a", at: 2), .expired(origin: origin, tier: .memory)])
        == .notExpired(origin, .memory))
    #expect(
      refusal([
        .opened(.small), set("a", memory: nil, at: 2),
        .promoted(origin: origin, memoryExpiry: Timestamp(microseconds: 23_000_000)),
      ]) == .promotedBeyondStore(origin))
    let replacing = set("a", at: 3)
    #expect(refusal(base + [replacing]) == .expiredServed(origin, .memory))
    #expect(
      refusal([.opened(.small), set("a", memory: nil, store: 1, at: 2), replacing])
        == .expiredServed(origin, .store))
  }

  @Test("INV017: a tier can't hold more than its limit, and the victim is the least recent")
  func inv017() {
    let two = [Event.opened(.small), set("a", at: 2), set("b", at: 3)]
    #expect(refusal(two + [set("c", at: 4)]) == .limitExceeded(.memory))
    #expect(
      refusal(two + [.evicted(origin: SequenceNumber(3), tier: .memory, cause: .limit)])
        == .wrongVictim(SequenceNumber(3), .memory, expected: SequenceNumber(2)))
    #expect(
      refusal(two + [.evicted(origin: SequenceNumber(2), tier: .memory, cause: .limit)]) == nil)
    let promoted = Event.promoted(
      origin: SequenceNumber(2), memoryExpiry: Timestamp(microseconds: 9_000_000))
    #expect(
      refusal(
        [.opened(.small), set("a", memory: nil, at: 2)] + [
          set("b", at: 3), set("c", at: 4), promoted,
        ]) == .limitExceeded(.memory))
    let stored = [Event.opened(.small)] + (2...4).map { set("\($0)", memory: nil, at: $0) }
    #expect(refusal(stored + [set("d", memory: nil, at: 5)]) == .limitExceeded(.store))
    #expect(
      refusal(stored + [.evicted(origin: SequenceNumber(3), tier: .store, cause: .limit)])
        == .wrongVictim(SequenceNumber(3), .store, expected: SequenceNumber(2)))
    var smaller = Opened.small
    smaller.memoryLimit.entryCountMax = 1
    #expect(refusal(two + [.closed(clean: true), .opened(smaller)]) == .limitExceeded(.memory))
    smaller = .small
    smaller.storeLimit = nil
    #expect(refusal(two + [.closed(clean: true), .opened(smaller)]) == .limitExceeded(.store))
    #expect(
      refusal([.opened(smaller), set("a", at: 2)]) == .impossibleResidency(SequenceNumber(2)))
    #expect(refusal([.opened(smaller), set("a", store: nil, at: 2)]) == nil)
  }

  @Test("an entry is in the tier that an event says, and in no other")
  func residency() {
    let origin = SequenceNumber(2)
    func refusal(memory: Int64?, store: Int64? = 20, _ event: Event) -> StateError? {
      self.refusal([.opened(.small), set("a", memory: memory, store: store, at: 2), event])
    }
    let expiry = Timestamp(microseconds: 9_000_000)
    #expect(
      refusal(memory: 10, .promoted(origin: origin, memoryExpiry: expiry))
        == .alreadyResident(origin, .memory))
    #expect(refusal(memory: nil, .promoted(origin: origin, memoryExpiry: expiry)) == nil)
    #expect(
      refusal(memory: 10, store: nil, .promoted(origin: origin, memoryExpiry: expiry))
        == .notResident(origin, .store))
    for event in [
      Event.expired(origin: origin, tier: .memory),
      .evicted(origin: origin, tier: .memory, cause: .limit),
      .evicted(origin: origin, tier: .memory, cause: .lost), .lookedUp(.origin(origin), .memoryHit),
    ] {
      #expect(refusal(memory: nil, event) == .notResident(origin, .memory), "\(event)")
    }
    #expect(
      refusal(memory: 10, store: nil, .lookedUp(.origin(origin), .storeHit))
        == .notResident(origin, .store))
    let missed = Event.lookedUp(.key(Bytes("a".utf8)), .miss)
    #expect(refusal(memory: 10, missed) == .keyPresent(origin))
  }

  @Test("sequences are contiguous, time doesn't decrease, origins exist, counts are true")
  func order() {
    #expect(refusal([set("a", at: 1)]) == .notOpen)
    #expect(refusal([.opened(.small), .closed(clean: true), set("a", at: 3)]) == .notOpen)
    #expect(
      refusal([.opened(.small), .touched([SequenceNumber(9)])])
        == .unknownOrigin(SequenceNumber(9)))
    #expect(
      refusal([
        .opened(.small), set("a", at: 2),
        .invalidated(Invalidated(subject: .key(Bytes("a".utf8)), reason: nil)),
      ]) == .keyPresent(SequenceNumber(2)))
    let gap = Gap(first: SequenceNumber(3), last: SequenceNumber(9), cause: .salvaged)
    #expect(
      refusal([.opened(.small), .gap(gap)])
        == .sequenceBroken(expected: SequenceNumber(2), found: SequenceNumber(3)))
    #expect(
      refusal([
        .opened(.small), set("a", at: 2),
        .cleared(Cleared(prefix: [], reason: nil, memoryCount: 2, storeCount: 1)),
      ]) == .wrongClearCount(.memory, stated: 2, counted: 1))
    #expect(
      refusal([.opened(.small), set("", at: 2)]) == .keyLength(0))
    #expect(
      refusal([.opened(.small), set("a", memory: nil, store: nil, at: 2)])
        == .impossibleResidency(SequenceNumber(2)))
    var state = CacheState()
    var effects: [Effect] = []
    #expect(
      throws: StateError.sequenceBroken(expected: SequenceNumber(1), found: SequenceNumber(2))
    ) {
      try state.apply(
        Record(sequence: SequenceNumber(2), at: .zero, event: .opened(.small)), into: &effects)
    }
    #expect(throws: StateError.timeDecreased(last: .zero, found: Timestamp(microseconds: -1))) {
      try state.apply(
        Record(
          sequence: SequenceNumber(1), at: Timestamp(microseconds: -1), event: .opened(.small)),
        into: &effects)
    }
  }
}
