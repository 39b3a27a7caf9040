import HindsightCore
import Testing

/// Lookups and promotions that no cache makes: whoever applies them says so, and doesn't count them among what was
/// checked.
@Suite("INV016 lookups and promotions that can't be")
struct ImpossibleLookupTests {
  private static let origin = SequenceNumber(2)

  private static func instant(_ seconds: Int64) -> Timestamp {
    Timestamp(microseconds: seconds * 1_000_000)
  }

  /// What the state says of `event` at second 9, after second 1's opening and second 2's set of "a" for so many
  /// seconds in each tier. Memory keeps values for 10 s, the store for 20.
  private func refusal(memory: Int64?, store: Int64?, _ event: Event) -> StateError? {
    let opened = Opened(
      memoryLimit: TierLimit(entryCountMax: 2), storeLimit: TierLimit(entryCountMax: 3),
      memoryTTL: .seconds(10), storeTTL: .seconds(20), accessLog: .lookups, formatVersion: 1,
      softwareVersion: "test", bootID: 1)
    let set = ValueSet(
      key: Bytes("a".utf8), value: [1], coder: 2,
      memoryExpiry: memory.map { Self.instant(2 + $0) },
      storeExpiry: store.map { Self.instant(2 + $0) }, reason: nil)
    var state = CacheState()
    var effects: [Effect] = []
    let events: [(UInt64, Int64, Event)] = [
      (1, 1, .opened(opened)), (2, 2, .set(set)), (3, 9, event),
    ]
    for (sequence, second, event) in events {
      let record = Record(
        sequence: SequenceNumber(sequence), at: Self.instant(second), event: event)
      do throws(StateError) {
        try state.apply(record, into: &effects)
      } catch {
        #expect(sequence == 3, "\(error)")
        return error
      }
    }
    state.checkInvariants()
    return nil
  }

  private func lookUp(
    _ outcome: LookupOutcome, _ key: String? = nil, memory: Int64?, store: Int64?
  ) -> StateError? {
    let subject = key.map { LookupSubject.key(Bytes($0.utf8)) } ?? .origin(Self.origin)
    return refusal(memory: memory, store: store, .lookedUp(subject, outcome))
  }

  @Test("a miss of an entry that is live in either tier")
  func missOfLiveEntry() {
    #expect(lookUp(.miss, memory: 8, store: 8) == .keyPresent(Self.origin))
    #expect(lookUp(.miss, memory: 7, store: 8) == .keyPresent(Self.origin))
    #expect(lookUp(.miss, memory: 8, store: 7) == .keyPresent(Self.origin))
    #expect(lookUp(.miss, memory: nil, store: 8) == .keyPresent(Self.origin))
    #expect(lookUp(.miss, memory: 8, store: nil) == .keyPresent(Self.origin))
    // What is past its expiry counts as absent.
    #expect(lookUp(.miss, memory: 7, store: 7) == nil)
    #expect(lookUp(.miss, memory: 7, store: nil) == nil)
  }

  @Test("a miss by its key of an entry that is there: what is past its expiry leaves first")
  func missOfPresentKey() {
    #expect(lookUp(.miss, "a", memory: 8, store: 8) == .keyPresent(Self.origin))
    #expect(lookUp(.miss, "a", memory: 7, store: 7) == .keyPresent(Self.origin))
    #expect(lookUp(.miss, "b", memory: 8, store: 8) == nil)
  }

  @Test("a hit of a key without an entry", arguments: [LookupOutcome.memoryHit, .storeHit])
  func hitOfNothing(outcome: LookupOutcome) {
    #expect(lookUp(outcome, "b", memory: 8, store: 8) == .hitWithoutEntry)
    #expect(lookUp(outcome, "a", memory: 8, store: 8) == .hitWithoutEntry)
    #expect(lookUp(outcome, memory: outcome == .memoryHit ? 8 : nil, store: 8) == nil)
  }

  @Test("a hit in the store of what memory answers")
  func storeHitBehindMemory() {
    #expect(lookUp(.storeHit, memory: 8, store: 8) == .alreadyResident(Self.origin, .memory))
    #expect(lookUp(.storeHit, memory: 7, store: 8) == nil)
  }

  @Test("a promotion that outlives the memory TTL in force, or the store's expiry")
  func promotionBeyondTTL() {
    func promote(until second: Int64, store: Int64) -> StateError? {
      refusal(
        memory: nil, store: store,
        .promoted(origin: Self.origin, memoryExpiry: Self.instant(second)))
    }
    // At 9, for 10 seconds.
    #expect(promote(until: 19, store: 20) == nil)
    #expect(promote(until: 20, store: 20) == .promotedBeyondTTL(Self.origin))
    #expect(promote(until: 14, store: 12) == nil)
    #expect(promote(until: 15, store: 12) == .promotedBeyondStore(Self.origin))
  }
}
