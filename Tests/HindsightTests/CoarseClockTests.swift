import Hindsight
import HindsightCore
import HindsightTesting
import Logging
import Testing

/// Reads may go by a clock that lags behind; what they note must not make time run ahead.
@Suite("S040 the coarse clock")
struct CoarseClockTests {
  private final class LaggingClock: CacheClock {
    let manual = ManualClock()
    var bootID: UInt64 { manual.bootID }
    func reading() -> ClockReading { manual.reading() }

    func coarseReading() -> ClockReading {
      let now = manual.reading()
      return ClockReading(
        wall: Timestamp(microseconds: now.wall.rawValue - 4_000),
        boot: Microseconds(rawValue: now.boot.rawValue - 4_000))
    }
  }

  @Test("a lookup that was noted just before a crash shortens no life after it")
  func lookupBeforeCrash() async throws {
    let (storage, clock) = (SimulatedStorage(), LaggingClock())
    let settings = configuration {
      $0.clock = clock
      $0.accessLog = .lookups
      $0.usesStore = false
      $0.syncInterval = nil
    }
    let key = try CacheKey("k:1")
    let cache = try await Cache<Int>.open(
      at: .custom(storage, nil), coder: .json, configuration: settings,
      logger: Logger(label: "test"))
    try await cache.set(1, for: key, memoryTTL: .milliseconds(94), acknowledgement: .durable)
    #expect(try await cache.get(try CacheKey("k:2")) == nil)
    try await cache.flush()
    let crashed = storage.copy()
    clock.manual.advance(by: .milliseconds(92))
    let again = try await Cache<Int>.open(
      at: .custom(crashed, nil), coder: .json, configuration: settings,
      logger: Logger(label: "test"))
    #expect(again.contains(key))
    try await again.close()
    try await cache.close()
  }
}
