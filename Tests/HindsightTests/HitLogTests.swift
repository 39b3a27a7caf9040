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
    for number in 0..<count {
      let command = SetCommand(
        key: Bytes("\(number)".utf8), value: [1], coder: 2, memoryTTL: nil, storeTTL: nil,
        reason: nil)
      try state.decideSet(command, at: now, into: &decision)
      decision.removeAll()
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
    arguments: [1, 30, 3_000, 70_000])
  func settling(entryCount: Int) throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    var logged = try state(entryCount)
    var direct = try state(entryCount)
    var log = HitLog()
    log.settle(&logged)
    let countMax = entryCount > 65_536 ? HitLog.largeCapacity : HitLog.capacity
    for round in 0..<24 {
      // One after the other, a few again and again, those that share a cell, any.
      let stride = [1, 7, 2 * HitLog.capacity, 0][round % 4]
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
}
