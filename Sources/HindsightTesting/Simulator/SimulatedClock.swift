package import Hindsight
import HindsightCore
import Synchronization

/// The simulated machine's clocks: they move only when the simulation, or a slow disk, moves them.
package final class SimulatedClock: CacheClock {
  private struct State {
    var wall: Int64 = 1_767_225_600_000_000
    var boot: Int64 = 3_600_000_000
    var bootID: UInt64 = 1
    var isFrozen = false
  }

  private let state = Mutex(State())

  package init() {}

  package var bootID: UInt64 { state.withLock { $0.bootID } }

  package func reading() -> ClockReading {
    state.withLock { state in
      ClockReading(
        wall: Timestamp(rawValue: state.wall), boot: Microseconds(rawValue: state.boot))
    }
  }

  package func coarseReading() -> ClockReading { reading() }

  /// Real time passes. A frozen wall clock stands still meanwhile.
  package func advance(_ microseconds: Int64) {
    state.withLock { state in
      state.boot += microseconds
      if !state.isFrozen { state.wall += microseconds }
    }
  }

  /// Somebody sets the wall clock, so much forward or back.
  package func stepWall(_ microseconds: Int64) {
    state.withLock { $0.wall = max(0, $0.wall + microseconds) }
  }

  package func setFrozen(_ isFrozen: Bool) { state.withLock { $0.isFrozen = isFrozen } }

  /// The machine starts again: another boot, whose time begins anew.
  package func reboot() {
    state.withLock { state in
      state.boot = 1_000_000
      state.bootID += 1
    }
  }
}

/// What the simulation knows of the cache's own time, without asking it: between the least that must
/// have passed and the most that can have (INV016).
///
/// Real time that passed since an event has passed for the cache, and so has what its wall clock
/// shows at present. A wall clock that was ahead for a moment counts only where the cache has seen
/// it; whether it has, only its events tell.
struct TimeBracket {
  private(set) var low: Int64 = 0
  private(set) var high: Int64 = 0
  private var boot: Int64 = 0
  private var wall: Int64 = 0

  init(low: Int64, high: Int64, _ reading: ClockReading) {
    self.low = low
    self.high = max(high, low)
    boot = reading.boot.rawValue
    observe(reading)
  }

  /// The earliest that now can be, and the latest.
  var now: (least: Int64, most: Int64) { (max(low, wall), high) }

  mutating func observe(_ reading: ClockReading) {
    let elapsed = reading.boot.rawValue - boot
    boot = reading.boot.rawValue
    wall = reading.wall.rawValue
    low += elapsed
    high = max(high + elapsed, wall)
  }

  /// The machine has booted again, at once: its boot time begins anew.
  mutating func reboot(_ reading: ClockReading) {
    boot = reading.boot.rawValue
    observe(reading)
  }

  /// An event has told the time.
  /// - Parameter uncertainty: how long ago that was, at most.
  mutating func collapse(at: Int64, uncertainty: Int64) {
    low = max(low, at)
    high = max(low, min(high, at + uncertainty))
  }
}
