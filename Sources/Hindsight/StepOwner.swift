import Synchronization

/// Gives every step of an activity what it works on, one step at a time: the scheduler runs them on
/// whatever thread it likes, and never two at once, so nobody ever waits here.
final class StepOwner<Work>: Sendable {
  private let work: Mutex<Work>

  init(_ work: sending Work) { self.work = Mutex(work) }

  func withWork<R: Sendable>(_ body: (inout Work) -> R) -> R { work.withLock { body(&$0) } }
}
