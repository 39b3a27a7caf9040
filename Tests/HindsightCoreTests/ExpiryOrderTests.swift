import HindsightTesting
import Testing

@testable import HindsightCore

/// The residents of a tier by their expiry, beside a sorted list.
@Suite("S040 expiry order")
struct ExpiryOrderTests {
  /// An order, and what it must agree with.
  private struct Trial: ~Copyable {
    var entries = EntryPool()
    var order: ExpiryOrder
    var residents: [Slot] = []
    var random: SplitMix64
    var lastOrigin: UInt64 = 0
    var now: Int64 = 1_000

    init(_ tier: Tier, seed: UInt64) {
      order = ExpiryOrder(tier: tier)
      random = SplitMix64(seed: seed)
    }

    /// An entry that isn't a resident yet.
    mutating func make(ttl: Int64) -> Slot {
      let slot = entries.allocate()
      lastOrigin += 1
      entries[slot] = .none
      entries[slot].origin = SequenceNumber(lastOrigin)
      entries.setExpiry(Timestamp(microseconds: now + ttl), of: slot, in: order.tier)
      return slot
    }

    mutating func insert(ttl: Int64) {
      let slot = make(ttl: ttl)
      order.insert(slot, &entries)
      residents.append(slot)
    }

    mutating func remove(at index: Int) {
      let slot = residents.remove(at: index)
      order.remove(slot, &entries)
      let isResident = entries.isResident(slot, in: order.tier)
      #expect(!isResident)
      entries.release(slot)
    }

    mutating func removeAny() {
      // Often the oldest, as an LRU does.
      let isOldest = Bool.random(using: &random)
      remove(at: isOldest ? 0 : Int.random(in: residents.indices, using: &random))
    }

    func key(_ slot: Slot) -> (Timestamp, SequenceNumber) {
      (entries.expiry(slot, in: order.tier), entries[slot].origin)
    }

    func check(_ what: String) {
      order.checkInvariants(entries)
      #expect(order.count == residents.count, "\(what)")
      let first = residents.min { key($0) < key($1) }
      #expect(order.first(entries) == first, "\(what)")
      let time = Timestamp(microseconds: now)
      var expired: [Slot] = []
      order.forEachExpired(at: time, entries) { expired.append($0) }
      #expect(expired.sorted() == residents.filter { key($0).0 <= time }.sorted(), "\(what)")
      let isEach = residents.allSatisfy { entries.isResident($0, in: order.tier) }
      #expect(isEach, "\(what)")
    }
  }

  @Test(
    "the first to expire comes first, whatever the TTLs and whatever leaves",
    arguments: Tier.allCases, [1, 3, 20, 10_000] as [Int64])
  func anyUse(tier: Tier, ttlCount: Int64) {
    let seed = UInt64.random(in: 0 ... .max)
    var trial = Trial(tier, seed: seed)
    var inHeap = 0
    for step in 0..<3_000 {
      let grows = Int.random(in: 0..<100, using: &trial.random) < (step < 1_500 ? 60 : 45)
      if grows || trial.residents.isEmpty {
        trial.insert(ttl: 100 * Int64.random(in: 1...ttlCount, using: &trial.random))
      } else {
        trial.removeAny()
      }
      // At times nothing passes between two of them.
      trial.now += Int64.random(in: 0...2, using: &trial.random)
      inHeap = max(inHeap, trial.order.heapCount)
      if step % 20 == 0 { trial.check("seed \(seed), step \(step)") }
    }
    while !trial.residents.isEmpty { trial.removeAny() }
    trial.check("seed \(seed), at the end")
    // With a few TTLs none takes the long way, and with many some must for this test to see it.
    if ttlCount <= 3 { #expect(inHeap == 0, "seed \(seed)") }
    if ttlCount == 10_000 { #expect(inHeap > 0, "seed \(seed)") }
  }

  @Test(
    "many at once, in any order, are put in order, and go on as if they had come one by one",
    arguments: ["latest first", "soonest first", "nearly latest first", "at random"])
  func manyAtOnce(how: String) {
    let seed = UInt64.random(in: 0 ... .max)
    var trial = Trial(.store, seed: seed)
    var made: [Slot] = []
    for _ in 0..<600 {
      made.append(trial.make(ttl: 500))
      trial.now += 1
    }
    switch how {
    case "latest first": made.reverse()
    case "nearly latest first":
      made.reverse()
      for at in stride(from: 0, to: 600, by: 20) { made.swapAt(at, at + 5) }
    case "at random": made.shuffle(using: &trial.random)
    default: break
    }
    for slot in made { trial.order.append(slot, &trial.entries) }
    trial.order.order(&trial.entries)
    trial.residents = made
    trial.check("seed \(seed), \(how)")
    if how.hasSuffix("latest first") { #expect(trial.order.heapCount == 0) }
    for step in 0..<2_000 {
      trial.removeAny()
      if step < 1_700 { trial.insert(ttl: 500) }
      trial.now += 1
      if step % 50 == 0 { trial.check("seed \(seed), \(how), step \(step)") }
      if trial.residents.isEmpty { break }
    }
    trial.check("seed \(seed), \(how), at the end")
  }
}
