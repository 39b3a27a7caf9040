import Glibc
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

  private struct LateClock: CacheClock {
    var boot: Int64
    var bootID: UInt64 { 0 }
    func reading() -> ClockReading {
      ClockReading(wall: Timestamp(rawValue: .min), boot: Microseconds(rawValue: boot))
    }
    func coarseReading() -> ClockReading { reading() }
  }

  @Test(
    "a clock that shows less than the boot is refused; one before 1970 is not",
    arguments: [-1, .min])
  func readingBeforeBoot(boot: Int64) async throws {
    let scratch = try TemporaryDirectory()
    let error = await failure {
      _ = try await Cache<Int>.open(
        at: scratch.path + "/cache",
        configuration: configuration { $0.clock = LateClock(boot: boot) })
    }
    #expect(error?.code == .invalidConfiguration && error?.message.contains("boot") == true)
    let settings = configuration { $0.clock = LateClock(boot: 0) }
    try await withCache(at: scratch.path + "/cache", of: Int.self, configuration: settings) {
      let key = try CacheKey("k:1")
      try await $0.set(1, for: key)
      try await $0.settle()
      #expect(try await $0.get(key) == 1)
    }
  }

  @Test("a manual clock stops at the last instant")
  func lastInstant() {
    let clock = ManualClock()
    clock.advance(by: .seconds(Int64.max))
    clock.advance(by: .seconds(1))
    #expect(clock.reading().boot.rawValue == .max && clock.reading().wall.rawValue == .max)
  }

  @Test("a reading lies between what the system's clocks say before and after it")
  func reading() {
    let clock = SystemClock()
    for _ in 0..<5_000 {
      let (wall, boot) = (microseconds(CLOCK_REALTIME), microseconds(CLOCK_BOOTTIME))
      let reading = clock.reading()
      let coarse = clock.coarseReading()
      let (wallAfter, bootAfter) = (microseconds(CLOCK_REALTIME), microseconds(CLOCK_BOOTTIME))
      #expect((boot...bootAfter).contains(reading.boot.rawValue))
      // Where this thread lost its processor while the clocks were compared, the wall clock lags until
      // the next tick.
      #expect((wall - 10_000...wallAfter).contains(reading.wall.rawValue))
      #expect((wall - 100_000...wallAfter).contains(coarse.wall.rawValue))
      #expect((boot - 100_000...bootAfter + 10_000).contains(coarse.boot.rawValue))
    }
  }

  private func microseconds(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
  }
}
