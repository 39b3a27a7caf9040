import Foundation
import Synchronization
import Testing

@testable import Hindsight

@Suite("The engine's lock")
struct StateLockTests {
  /// Shares the lock among threads.
  private final class Shared: Sendable {
    let lock = StateLock(0)

    /// Whether a lane can be taken. It is left only with `leave`.
    func enter(_ number: UInt8) -> Bool { lock.enter(Lane(number: number)) != nil }
    func leave(_ number: UInt8) { lock.leave(Lane(number: number)) }
  }

  @Test("nobody gets in beside the holder, also where that one is slow")
  func exclusion() {
    let shared = Shared()
    onThreads(4) { thread in
      for round in 0..<20_000 {
        shared.lock.withLock { count in
          let before = count
          // Now and then somebody sleeps with the lock held: the others must nap, and wake again.
          if thread == 0, round % 5_000 == 0 { usleep(20_000) }
          count = before + 1
        }
      }
    }
    #expect(shared.lock.withLock { $0 } == 80_000)
  }

  @Test("an error leaves the lock free")
  func throwing() {
    struct Failure: Error {}
    let shared = Shared()
    #expect(throws: Failure.self) { try shared.lock.withLock { _ in throw Failure() } }
    #expect(shared.lock.withLock { $0 } == 0)
  }

  /// Two halves that are never apart but for their writer, and what each lane has counted.
  private struct Halves {
    var one = 0
    var other = 0
  }

  @Test("who takes the lock waits until the lanes are left, and nobody enters one meanwhile")
  func lanes() {
    final class Shared: Sendable {
      let lock = StateLock(Halves())
      let entered = Atomic(0)
      let torn = Atomic(0)
      let isOver = Atomic(false)
    }
    let shared = Shared()
    onThreads(4) { thread in
      guard thread == 0 else {
        let lane = Lane(number: UInt8(thread))
        while !shared.isOver.load(ordering: .relaxed) {
          guard let halves = shared.lock.enter(lane) else { continue }
          if halves.pointee.one != halves.pointee.other { shared.torn.add(1, ordering: .relaxed) }
          shared.entered.add(1, ordering: .relaxed)
          shared.lock.leave(lane)
        }
        return
      }
      let began = ContinuousClock.now
      var rounds = 0
      while rounds < 20_000 || shared.entered.load(ordering: .relaxed) < 1_000,
        ContinuousClock.now - began < .seconds(60)
      {
        rounds += 1
        let halves = shared.lock.lock()
        halves.pointee.one += 1
        if rounds % 1_000 == 0 { usleep(100) }
        halves.pointee.other += 1
        shared.lock.share()
        shared.lock.unlock()
        // On one processor the others get a turn.
        if rounds % 100 == 0 { usleep(10) }
      }
      shared.isOver.store(true, ordering: .relaxed)
    }
    #expect(shared.torn.load(ordering: .relaxed) == 0)
    #expect(shared.entered.load(ordering: .relaxed) >= 1_000)
  }

  @Test("a lane is one thread's at a time, and a lock that is not shared lets nobody in by one")
  func oneLane() {
    let shared = Shared()
    #expect(!shared.enter(3))
    _ = shared.lock.lock()
    shared.lock.share()
    shared.lock.unlock()
    let isLocked = shared.lock.lockUnlessShared() != nil
    #expect(!isLocked)
    #expect(shared.enter(3))
    #expect(!shared.enter(3), "it is taken")
    #expect(shared.enter(4))
    shared.leave(4)
    shared.leave(3)
    #expect(shared.enter(3))
    shared.leave(3)
    #expect(shared.lock.withLock { $0 } == 0)
    #expect(!shared.enter(3), "sharing has ended")
  }

  @Test("a thread always takes the same lane")
  func ownLane() {
    let shared = Shared()
    onThreads(20) { _ in
      let lane = shared.lock.lane.number
      #expect(lane < Lane.count)
      for _ in 0..<100 {
        let next = shared.lock.lane.number
        #expect(next == lane)
      }
    }
  }
}
