import Hindsight
import HindsightTesting
import Testing

/// A wall clock that steps back, stands still or leaps: no life is extended, in one session and over
/// restarts within one boot.
@Suite("S040 faults of the clock")
struct FaultClockTests {
  private let life = Duration.seconds(100)

  @Test("no life is extended", arguments: FaultKind.all(.clock), [false, true])
  func lives(kind: FaultKind, restarts: Bool) async throws {
    for seed in 0..<4 as Range<UInt64> {
      let trial = Trial(seed: seed) {
        $0.memoryTTL = .seconds(50)
        $0.storeTTL = .seconds(100)
      }
      var random = SplitMix64(seed: seed)
      #expect(await trial.open() == nil)
      // When each was set, by the clock that never errs.
      // A slow machine lets time pass while it is being set.
      var born: [String: ClosedRange<Int64>] = [:]
      var served = 0
      for round in 0..<40 {
        let key = "k:\(Int.random(in: 0..<Trial.keyCount, using: &random))"
        if round % 2 == 0 {
          let began = trial.clock.reading().boot.rawValue
          try await trial.set(key)
          born[key] = began...trial.clock.reading().boot.rawValue
        }
        if round % 5 == 3 { trial.clock.disturb(kind, trial.injector) }
        if restarts, round % 9 == 8 {
          #expect(try await trial.close() == nil)
          trial.clock.disturb(kind, trial.injector)
          trial.clock.advance(by: .seconds(10))
          #expect(await trial.open() == nil)
        }
        trial.clock.advance(by: .seconds(Int.random(in: 0...30, using: &random)))
        for (key, start) in born {
          let now = trial.clock.reading().boot.rawValue
          let age = (least: now - start.upperBound, most: now - start.lowerBound)
          let isServed = try await trial.isServed(key)
          served += isServed ? 1 : 0
          #expect(
            !isServed || age.least < 100_000_000,
            "\(kind), seed \(seed): \(key) lives for \(age) µs")
          // But for leaps, what is young is there.
          let isYoung = age.most < 100_000_000 && kind != .clockJump
          #expect(isServed || !isYoung, "\(kind), seed \(seed): \(key) died at \(age) µs")
        }
      }
      #expect(served > 10 && trial.injector.count(kind) >= 8)
    }
  }

  @Test(
    "INV016 what the boot clock says passed between two sessions counts within one boot, and only there",
    arguments: [false, true])
  func boots(reboots: Bool) async throws {
    let lab = Lab()
    try await lab.open(lab.storage)
    try await lab.set("k:a", [1], ttl: .seconds(600))
    try await lab.sync()
    lab.kill()
    let wall = lab.clock.reading().wall
    if reboots { lab.clock.reboot() }
    // The boot clock shows more than it did, and the wall clock was set back.
    lab.clock.advance(by: .seconds(7_200))
    lab.clock.setWall(wall)
    try await lab.open(lab.storage)
    #expect(try await lab.get("k:a") == (reboots ? [1] : nil))
    try await lab.end()
  }
}

extension Trial {
  func isServed(_ key: String) async throws -> Bool {
    let cacheKey = try CacheKey(key)
    let cache = try #require(cache)
    return try await scheduler.run { try await cache.get(cacheKey) } != nil
  }
}
