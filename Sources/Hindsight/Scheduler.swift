public import HindsightCore

/// Who runs the cache's background work: the seam by which tests and a simulator decide every step.
///
/// Each activity (opening, the journal's writing and syncing, the projector, upkeep, the store's reader) is a
/// function that does one piece of work and says when it wants to run again. A scheduler that runs nothing
/// until `Cache.open` returns makes it wait for ever.
public protocol BackgroundScheduler: Sendable {
  /// Starts an activity. `step` is never run by two threads at once, and may block.
  /// - Throws: `.system` where the system gives no further thread: `step` is never run then.
  func start(
    _ name: String, step: @escaping @Sendable () -> BackgroundWait
  ) throws(CacheError) -> any BackgroundActivity

  /// Called from within a step that would rather wait for what others are about to do: lets some
  /// 100 µs pass at most, unless `isOver` says yes before. May do nothing, which is the default.
  func giveWay(until isOver: () -> Bool)

  /// Called from within a step whose work gets less where it comes later: lets so much time pass, unless
  /// `isOver` says yes before, which may take a few milliseconds to be noticed. May do nothing, which is the
  /// default.
  func rest(atMost: Microseconds, until isOver: () -> Bool)
}

extension BackgroundScheduler {
  public func giveWay(until isOver: () -> Bool) {}
  public func rest(atMost: Microseconds, until isOver: () -> Bool) {}
}

/// When an activity wants to run again. A signal makes it run at once in every case but `finished`.
public enum BackgroundWait: Equatable, Sendable {
  /// At once.
  case again
  /// When it is signaled.
  case signal
  /// After this time.
  case after(Microseconds)
  /// Never: its thread may end.
  case finished
}

/// A running activity.
public protocol BackgroundActivity: Sendable {
  /// Makes the activity run soon. Cheap, never blocks, and is never lost.
  func signal()
}
