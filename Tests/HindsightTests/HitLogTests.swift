import HindsightCore
import HindsightTesting
import Testing

@testable import Hindsight

/// Hits that are noted first and moved later, beside a state that moves each at once.
@Suite("S041 the log of hits")
struct HitLogTests {
  /// A state with so many entries.
  private func state(_ count: Int) throws -> CacheState {
    var state = CacheState()
    var decision = Decision()
    let opened = Opened(
      memoryLimit: TierLimit(entryCountMax: UInt64(count)), storeLimit: nil,
      memoryTTL: .seconds(60), storeTTL: .seconds(60), accessLog: .recency, formatVersion: 1,
      softwareVersion: "test", bootID: 1)
    let now = Timestamp(microseconds: 1)
    state.decideOpen(opened, at: now, into: &decision)
    var effects: [Effect] = []
    for number in 0..<count {
      let set = ValueSet(
        key: Bytes("\(number)".utf8), value: [1], coder: 2, memoryExpiry: now.adding(.seconds(60)),
        storeExpiry: nil, reason: nil)
      try state.apply(
        Record(sequence: state.head.sequence.next, at: now, event: .set(set)), into: &effects)
    }
    return state
  }

  private func order(_ state: borrowing CacheState) -> [Slot] {
    var slots: [Slot] = []
    state.forEachSlot { slots.append($0) }
    return slots
  }

  @Test(
    "settling moves what was hit as if each hit had, and a large index settles more often",
    arguments: [1, 30, 3_000, 5_000, 70_000])
  func settling(entryCount: Int) throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    var logged = try state(entryCount)
    var direct = try state(entryCount)
    var log = HitLog()
    log.settle(&logged)
    let countMax =
      entryCount > 65_536
      ? HitLog.largeCapacity : entryCount > 4_096 ? HitLog.capacity : HitLog.smallCapacity
    for round in 0..<24 {
      // One after the other, a few again and again, those that share a cell, any.
      let stride = [1, 7, 2 * HitLog.smallEntryCount, 0][round % 4]
      let spread = round % 3 == 0 ? entryCount : min(entryCount, 40)
      var at = Int.random(in: 0..<entryCount, using: &random)
      let count = round < 4 ? countMax : Int.random(in: 0...countMax, using: &random)
      for _ in 0..<count {
        let isFull = log.isFull
        #expect(!isFull)
        let slot = Slot(at % entryCount + 1)
        log.append(slot)
        direct.touch(slot)
        at = stride == 0 ? Int.random(in: 0..<spread, using: &random) : at + stride
      }
      let isFull = log.isFull
      #expect(isFull == (count == countMax))
      log.settle(&logged)
      var decision = Decision()
      if logged.hasManyUntoldTouches {
        let isFull = log.isFull
        #expect(isFull, "nobody would tell the order")
        logged.decideTouches(at: Timestamp(microseconds: 2), into: &decision)
        log.settle(&logged)
      }
      let isRight = order(logged) == order(direct)
      #expect(isRight, "seed \(seed), round \(round)")
    }
  }

  @Test(
    "the lanes' hits come after the others, lane by lane, each in its own order; a full lane says so",
    arguments: [1, 30, 3_000, 5_000, 70_000])
  func lanes(entryCount: Int) throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    var logged = try state(entryCount)
    var direct = try state(entryCount)
    var log = HitLog()
    let lanes = [2, 5, 11].map { Lane(number: $0) }
    for lane in lanes {
      let isNoted = log.note(1, lane)
      #expect(!isNoted, "a lane has room once the lock was shared and the log settled")
      log.share(lane)
    }
    log.settle(&logged)
    for round in 0..<12 {
      let spread = round % 3 == 0 ? entryCount : min(entryCount, 40)
      var count = 0
      for _ in 0..<Int.random(in: 0...HitLog.largeCapacity, using: &random) {
        let slot = Slot.random(in: 1...Slot(spread), using: &random)
        log.append(slot)
        direct.touch(slot)
        count += 1
      }
      log.share(lanes[round % lanes.count])
      let isEmpty = log.isEmpty
      #expect(!isEmpty)
      // Each lane in turn to its end, though they filled beside each other.
      var noted = lanes.map { _ in [Slot]() }
      let most = round % 2 == 0 ? Int.max : 500
      var left = Set(lanes.indices)
      while let at = left.randomElement(using: &random) {
        let slot = Slot.random(in: 1...Slot(spread), using: &random)
        if noted[at].count < most, log.note(slot, lanes[at]) {
          noted[at].append(slot)
        } else {
          left.remove(at)
        }
      }
      for slots in noted {
        count += slots.count
        let isOfUse = slots.count >= min(most, HitLog.largeCapacity)
        #expect(isOfUse, "seed \(seed), round \(round): room for \(slots.count)")
        for slot in slots { direct.touch(slot) }
      }
      let settled = log.settle(&logged)
      #expect(settled == count, "seed \(seed), round \(round)")
      if logged.hasManyUntoldTouches {
        let isNoted = log.note(1, lanes[0])
        #expect(!isNoted, "nobody would tell the order")
        var decision = Decision()
        logged.decideTouches(at: Timestamp(microseconds: 2), into: &decision)
        log.settle(&logged)
      }
      let isRight = order(logged) == order(direct)
      #expect(isRight, "seed \(seed), round \(round)")
    }
  }

  @Test(
    "an index that has grown without a hit is settled, whatever the log holds by then",
    .timeLimit(.minutes(1)))
  func outgrown() throws {
    var small = try state(3_000)
    var log = HitLog()
    log.share(Lane(number: 1))
    log.settle(&small)
    let isOutgrown = log.isOutgrown(small)
    #expect(!isOutgrown)
    var logged = try state(20_000)
    var direct = try state(20_000)
    let hasOutgrown = log.isOutgrown(logged)
    #expect(hasOutgrown, "whoever takes the lock sets the limits anew")
    var slot: Slot = 0
    while !log.isFull {
      slot += 1
      log.append(slot)
      direct.touch(slot)
    }
    log.share(Lane(number: 1))
    while log.note(slot + 1, Lane(number: 1)) {
      slot += 1
      direct.touch(slot)
    }
    #expect(slot > 8_192, "more entries than the table of those that were met has cells")
    log.settle(&logged)
    let isRight = order(logged) == order(direct)
    #expect(isRight)
    let isSet = !log.isOutgrown(logged)
    #expect(isSet)
  }
}
