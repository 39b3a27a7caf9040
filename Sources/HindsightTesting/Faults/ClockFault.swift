import Hindsight
import HindsightCore

extension ManualClock {
  /// Disturbs the clock as a kind of the category `.clock` says, and counts it. `clockFrozen` freezes
  /// the wall clock, or lets it go on if it is frozen.
  public func disturb(_ kind: FaultKind, _ injector: FaultInjector) {
    let wall = reading().wall
    // Up to a day, mostly far less: the interesting distances are those around the TTLs.
    let scale = [1_000, 60_000, 3_600_000, 86_400_000][Int(injector.random() % 4)]
    let distance = Int64(injector.random() % UInt64(scale)) * 1_000 + 1
    switch kind {
    case .clockBack: setWall(Timestamp(microseconds: max(1, wall.rawValue - distance)))
    case .clockJump: setWall(Timestamp(microseconds: wall.rawValue + distance))
    case .clockFrozen: setWallFrozen(!isWallFrozen)
    default: preconditionFailure("\(kind) is no fault of a clock")
    }
    injector.note(kind, at: "clock")
  }
}
