public import HindsightCore
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Where the cache's time comes from: the seam that tests replace by a manual clock.
public protocol CacheClock: Sendable {
  /// Both clocks, precisely.
  func reading() -> ClockReading
  /// Both clocks, cheaply; may lag by some milliseconds. Used by memory hits.
  func coarseReading() -> ClockReading
  /// Identifies the boot whose time `reading().boot` counts; 0 where unknown.
  var bootID: UInt64 { get }
}

/// A reading of both clocks, in microseconds.
public typealias ClockReading = HindsightCore.ClockReading

/// The machine's clocks: CLOCK_REALTIME and CLOCK_BOOTTIME (clock_gettime(2)), and their coarse
/// forms for reads.
public struct SystemClock: CacheClock {
  public let bootID: UInt64
  /// BOOTTIME − MONOTONIC: time spent suspended. There is no coarse BOOTTIME.
  private let suspended: SuspendedTime

  public init() {
    bootID = Self.readBootID()
    suspended = SuspendedTime()
  }

  // The wall clock first: where the thread loses its processor between the two, the boot time is
  // the later one. The other way round, what elapses since would be counted twice for that while.
  public func reading() -> ClockReading {
    let wall = Timestamp(microseconds: Self.microseconds(CLOCK_REALTIME))
    return ClockReading(
      wall: wall, boot: Microseconds(rawValue: Self.microseconds(CLOCK_BOOTTIME)))
  }

  public func coarseReading() -> ClockReading {
    let wall = Timestamp(microseconds: Self.microseconds(CLOCK_REALTIME_COARSE))
    let monotonic = Self.microseconds(CLOCK_MONOTONIC_COARSE)
    return ClockReading(
      wall: wall, boot: Microseconds(rawValue: monotonic + suspended.at(monotonic)))
  }

  /// A number that changes whenever the coarse clocks do.
  @inline(__always)
  func tick() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
    return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
  }

  /// Measured anew at every tick of the coarse clock.
  private final class SuspendedTime: Sendable {
    private let measuredAt = Atomic<Int64>(.min)
    private let microseconds = Atomic<Int64>(0)

    func at(_ tick: Int64) -> Int64 {
      if measuredAt.load(ordering: .relaxed) != tick {
        // The boot time last, as the later one: too short a suspension would be a boot time that
        // lags behind the wall clock, and what elapses since would be counted twice for that while.
        let monotonic = SystemClock.microseconds(CLOCK_MONOTONIC)
        let suspended = SystemClock.microseconds(CLOCK_BOOTTIME) - monotonic
        microseconds.store(suspended, ordering: .relaxed)
        measuredAt.store(tick, ordering: .relaxed)
      }
      return microseconds.load(ordering: .relaxed)
    }
  }

  @inline(__always)
  fileprivate static func microseconds(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    let result = clock_gettime(clock, &time)
    precondition(result == 0, "clock_gettime(\(clock)) failed")
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
  }

  /// The first 64 bits of /proc/sys/kernel/random/boot_id (random(4)); 0 where it can't be read.
  private static func readBootID() -> UInt64 {
    let descriptor = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return 0 }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 64)
    let count = read(descriptor, &buffer, buffer.count)
    let digits = buffer.prefix(max(0, count)).filter { $0 != UInt8(ascii: "-") }.prefix(16)
    return UInt64(String(decoding: digits, as: UTF8.self), radix: 16) ?? 0
  }
}
