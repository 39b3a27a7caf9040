import Foundation
import Testing

@testable import Hindsight

@Suite("The engine's lock")
struct StateLockTests {
  /// Shares the lock among threads.
  private final class Shared: Sendable {
    let lock = StateLock(0)
  }

  @Test("nobody gets in beside the holder, also where that one is slow")
  func exclusion() {
    let shared = Shared()
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
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
}
