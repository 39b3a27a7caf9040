/// A reading of both clocks, in microseconds.
public struct ClockReading: Equatable, Sendable {
  /// The wall clock: since 1970. May step in either direction.
  public var wall: Timestamp
  /// Since the machine booted, suspended time included (CLOCK_BOOTTIME). Never steps.
  public var boot: Microseconds

  public init(wall: Timestamp, boot: Microseconds) {
    self.wall = wall
    self.boot = boot
  }
}

/// The cache's own time: it never goes back, and never stands still while real time passes.
///
/// now = max(last event, wall clock, anchor + boot time elapsed since the anchor). A wall clock
/// that is stepped back extends no life; a leap forward is believed and then advances normally.
public struct Timeline: Sendable {
  private var anchor: ClockReading

  /// Begins at `reading`. Where the last event of the journal was written in the same boot, give
  /// its `at` and boot time: what elapsed since then has elapsed.
  public init(_ reading: ClockReading, lastAt: Timestamp = .zero, lastBoot: Microseconds? = nil) {
    var start = max(reading.wall, lastAt)
    if let lastBoot, lastBoot <= reading.boot {
      start = max(
        start, lastAt.adding(Microseconds(rawValue: reading.boot.rawValue - lastBoot.rawValue)))
    }
    anchor = ClockReading(wall: start, boot: reading.boot)
  }

  /// The time at `reading`, which becomes the new anchor where the wall clock is ahead.
  public mutating func now(_ reading: ClockReading, last: Timestamp) -> Timestamp {
    let elapsed = elapsed(reading)
    if reading.wall > elapsed { anchor = reading }
    return max(last, reading.wall, elapsed)
  }

  /// The time at `reading`, without moving the anchor.
  @inline(__always)
  public func peek(_ reading: ClockReading, last: Timestamp) -> Timestamp {
    max(last, reading.wall, elapsed(reading))
  }

  @inline(__always)
  private func elapsed(_ reading: ClockReading) -> Timestamp {
    anchor.wall.adding(
      Microseconds(rawValue: max(0, reading.boot.rawValue - anchor.boot.rawValue)))
  }
}
