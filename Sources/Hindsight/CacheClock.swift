public import HindsightCore
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Where the cache's time comes from: the seam that tests replace by a manual clock. The wall clock may step either way;
/// the boot's counts from 0. An opening refuses one that is below (`.invalidConfiguration`).
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
  private let offsets = ClockOffsets()

  public init() { bootID = Self.readBootID() }

  /// One clock is read precisely. The wall clock is as far from it as at the last tick of the coarse
  /// clock: a step of it shows within a tick, which is 1 to 10 ms.
  public func reading() -> ClockReading {
    let wall = offsets.at(tick()).wall
    let boot = Self.nanoseconds(CLOCK_BOOTTIME)
    return ClockReading(
      wall: Timestamp(microseconds: (boot + wall) / 1_000),
      boot: Microseconds(rawValue: boot / 1_000))
  }

  /// There is no coarse CLOCK_BOOTTIME.
  public func coarseReading() -> ClockReading {
    let wall = Self.nanoseconds(CLOCK_REALTIME_COARSE)
    let monotonic = tick()
    let suspended = offsets.at(monotonic).suspended
    return ClockReading(
      wall: Timestamp(microseconds: wall / 1_000),
      boot: Microseconds(rawValue: (monotonic + suspended) / 1_000))
  }

  /// A number that changes whenever the coarse clocks do: CLOCK_MONOTONIC_COARSE in nanoseconds.
  @inline(__always)
  func tick() -> Int64 { Self.nanoseconds(CLOCK_MONOTONIC_COARSE) }

  /// How far the clocks are apart, in nanoseconds. Measured anew at every tick of the coarse clock.
  private final class ClockOffsets: Sendable {
    private let measuredAt = Atomic<Int64>(.min)
    private let wallOffset = Atomic<Int64>(0)
    private let suspendedTime = Atomic<Int64>(0)

    /// - Returns: REALTIME − BOOTTIME, and BOOTTIME − MONOTONIC, which is the time spent suspended.
    @inline(__always)
    func at(_ tick: Int64) -> (wall: Int64, suspended: Int64) {
      if measuredAt.load(ordering: .acquiring) != tick { measure(tick) }
      return (wallOffset.load(ordering: .relaxed), suspendedTime.load(ordering: .relaxed))
    }

    // The boot time last. Where the thread loses its processor in between, the wall clock then seems to
    // lag and not to be ahead: the cache's time goes on by the boot time until that is over (`Timeline`).
    // And the boot time, seen from the monotonic clock, seems ahead: if it lagged behind the wall clock,
    // what elapses since would be counted twice for that while.
    @inline(never)
    private func measure(_ tick: Int64) {
      let monotonic = SystemClock.nanoseconds(CLOCK_MONOTONIC)
      let wall = SystemClock.nanoseconds(CLOCK_REALTIME)
      let boot = SystemClock.nanoseconds(CLOCK_BOOTTIME)
      wallOffset.store(wall - boot, ordering: .relaxed)
      suspendedTime.store(boot - monotonic, ordering: .relaxed)
      measuredAt.store(tick, ordering: .releasing)
    }
  }

  @inline(__always)
  fileprivate static func nanoseconds(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    let result = clock_gettime(clock, &time)
    precondition(result == 0, "clock_gettime(\(clock)) failed")
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
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
