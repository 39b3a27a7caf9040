import HindsightTesting
import Testing

@testable import Hindsight

/// What nobody waits for is written all the same: soon, or as soon as it is much.
@Suite("S042 frames that nobody waits for")
struct FrameTimingTests {
  private func isWritten(_ lab: Lab) throws -> Bool {
    let cache = try #require(lab.cache)
    lab.scheduler.runUntilIdle()
    return cache.engine.locked { $0.commit.written == $0.core.head.sequence }
  }

  @Test("ten milliseconds after each one's first event", arguments: [false, true])
  func soon(isInvalidated: Bool) async throws {
    let lab = Lab()
    try await lab.open()
    let cache = try #require(lab.cache)
    let key = try CacheKey("k:1")
    for round in 0..<4 {
      if isInvalidated {
        _ = try await cache.invalidate(key, acknowledgement: .enqueued)
      } else {
        try await cache.set([1], for: key, acknowledgement: .enqueued)
      }
      lab.clock.advance(by: .microseconds(9_999))
      lab.scheduler.runTimers()
      #expect(try !isWritten(lab), "round \(round)")
      lab.clock.advance(by: .microseconds(1))
      lab.scheduler.runTimers()
      #expect(try isWritten(lab), "round \(round)")
    }
    try await lab.end()
  }

  @Test("at once where there are 64 KiB")
  func full() async throws {
    let lab = Lab { $0.segmentByteCount = 16 << 20 }
    try await lab.open()
    let cache = try #require(lab.cache)
    let value = [UInt8](repeating: 1, count: 30_000)
    for round in 0..<4 {
      for number in 0..<3 {
        #expect(try isWritten(lab) == (number == 0), "round \(round), set \(number)")
        let key = try CacheKey("k:\(number)")
        try await cache.set(value, for: key, acknowledgement: .enqueued)
      }
      #expect(try isWritten(lab), "round \(round)")
    }
    try await lab.end()
  }

  @Test("hits alone tell the order of use with the next sync, and only once")
  func hits() async throws {
    let lab = Lab { $0.syncInterval = .seconds(1) }
    try await lab.open()
    let cache = try #require(lab.cache)
    let keys = [try CacheKey("k:1"), try CacheKey("k:2")]
    for key in keys { try await cache.set([1], for: key, acknowledgement: .enqueued) }
    func pass() {
      for _ in 0..<3 {
        lab.clock.advance(by: .seconds(1))
        lab.scheduler.runTimers()
        lab.scheduler.runUntilIdle()
      }
    }
    pass()
    let before = lab.lastSequence
    for round in 1...3 as ClosedRange<UInt64> {
      #expect(cache.memoryValue(for: keys[Int((round + 1) % 2)]) == [1])
      pass()
      let (durable, hasUntold) = cache.engine.locked {
        ($0.commit.durable.rawValue, $0.core.hasUntoldTouches)
      }
      #expect(!hasUntold && lab.lastSequence == before + round && durable == before + round)
    }
    try await lab.end()
  }
}
