public import Hindsight
public import HindsightCore
import Synchronization

/// A clock that stands still until it is told otherwise.
///
///     let clock = ManualClock()
///     configuration.clock = clock
///     clock.advance(by: .seconds(61))
public final class ManualClock: CacheClock {
  private let now: Mutex<ClockReading>
  private let start: ClockReading
  /// Change it through `reboot`.
  private let boot: Mutex<UInt64>
  private let isFrozen = Mutex(false)

  /// Begins at the given microseconds since 1970, an hour after the machine's boot.
  public init(wall: Timestamp = Timestamp(microseconds: 1_767_225_600_000_000)) {
    start = ClockReading(wall: wall, boot: Microseconds(rawValue: 3_600_000_000))
    now = Mutex(start)
    boot = Mutex(1)
  }

  public var bootID: UInt64 { boot.withLock { $0 } }
  public func reading() -> ClockReading { now.withLock { $0 } }
  public func coarseReading() -> ClockReading { now.withLock { $0 } }

  /// Lets time pass on both clocks, up to the last instant that they can show; on the wall clock only if that isn't
  /// frozen.
  public func advance(by duration: Duration) {
    let isFrozen = isWallFrozen
    now.withLock { now in
      let wall = now.wall
      now = now.advanced(by: duration)
      if isFrozen { now.wall = wall }
    }
  }

  /// Sets both clocks to their beginning and so much more: the same in every process.
  public func advance(to sinceStart: Duration) {
    now.withLock { now in now = start.advanced(by: sinceStart) }
  }

  /// Sets the wall clock alone, in either direction, as an administrator or NTP would.
  public func setWall(_ wall: Timestamp) { now.withLock { $0.wall = wall } }

  /// Whether the wall clock stands still while time passes, as in a virtual machine whose clock
  /// nobody drives.
  public var isWallFrozen: Bool { isFrozen.withLock { $0 } }
  public func setWallFrozen(_ isFrozen: Bool) { self.isFrozen.withLock { $0 = isFrozen } }

  /// The machine boots again: its boot clock begins anew, under another id.
  public func reboot() {
    now.withLock { $0.boot = Microseconds(rawValue: 1_000_000) }
    boot.withLock { $0 += 1 }
  }
}

extension ClockReading {
  fileprivate func advanced(by duration: Duration) -> ClockReading {
    let microseconds = duration.wholeMicroseconds
    return ClockReading(
      wall: Timestamp(microseconds: wall.rawValue.addingSaturated(microseconds)),
      boot: Microseconds(rawValue: boot.rawValue.addingSaturated(microseconds)))
  }
}

extension Duration {
  /// Rounded toward zero; the most or the least that there is, where it is beyond.
  fileprivate var wholeMicroseconds: Int64 {
    let (seconds, attoseconds) = components
    let (whole, isBeyond) = seconds.multipliedReportingOverflow(by: 1_000_000)
    guard !isBeyond else { return seconds < 0 ? .min : .max }
    return whole.addingSaturated(attoseconds / 1_000_000_000_000)
  }
}

extension Int64 {
  fileprivate func addingSaturated(_ other: Int64) -> Int64 {
    let (sum, isBeyond) = addingReportingOverflow(other)
    return isBeyond ? (other < 0 ? .min : .max) : sum
  }
}
