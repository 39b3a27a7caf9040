import Synchronization

/// Callers that a sync answered together tend to come back together, and a sync for all of them costs
/// what it does for the first. So the journal's thread gives way for a moment before it begins the
/// next one, where that has paid off before. After a write alone it doesn't: writing and compressing a
/// smaller frame takes less than the wait.
final class Gathering: Sendable {
  private let arrivals = Atomic<Int>(0)
  /// In vain so often that it is left out for a while: the journal thread's alone.
  private let penalty = Atomic<Int>(0)
  private let skips = Atomic<Int>(0)

  /// A caller waits for an acknowledgement.
  func arrived() { arrivals.add(1, ordering: .relaxed) }

  /// How many have arrived so far.
  var count: Int { arrivals.load(ordering: .relaxed) }

  /// Gives way to `expected` callers that were answered after `count` was `start`.
  func gather(_ expected: Int, since start: Int, _ scheduler: any BackgroundScheduler) {
    guard expected >= EngineBounds.gatheringCountMin else { return }
    let skips = self.skips.load(ordering: .relaxed)
    guard skips == 0 else { return self.skips.store(skips - 1, ordering: .relaxed) }
    scheduler.giveWay { count - start >= expected }
    let hasPaidOff = count - start >= expected / 2
    let next = hasPaidOff ? 0 : min(2 * penalty.load(ordering: .relaxed) + 1, 255)
    penalty.store(next, ordering: .relaxed)
    self.skips.store(next, ordering: .relaxed)
  }
}
