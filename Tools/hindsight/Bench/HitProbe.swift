import Foundation
import Glibc
import Hindsight
import Histogram
import Synchronization

/// Asks a memory tier for one key after the other, on a thread of its own, and notes how long each hit
/// takes.
enum HitProbe {
  enum Phase: UInt8, AtomicRepresentable {
    /// Hits are not noted yet.
    case waiting
    case measuring
    case over
  }

  struct Outcome: Sendable {
    var record = PauseRecord()
    var asked = 0
    var found = 0
  }

  /// - Parameters:
  ///   - cache: without one, only the clock is read: that shows what the machine does to any thread.
  ///   - phase: what is to be done at an instant.
  static func run(
    _ cache: TextCache?, _ keys: [CacheKey],
    phase: @escaping @Sendable (ContinuousClock.Instant) -> Phase
  ) async -> Outcome {
    await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        var outcome = Outcome()
        var start = BenchTools.clock.now
        while true {
          let phase = phase(start)
          if phase == .over { return continuation.resume(returning: outcome) }
          let key = keys[(outcome.asked &* 104_729) % keys.count]
          if cache == nil || cache?.memoryValue(for: key) != nil { outcome.found += 1 }
          outcome.asked += 1
          let now = BenchTools.clock.now
          if phase == .measuring { outcome.record.add(start.duration(to: now)) }
          start = now
        }
      }
    }
  }
}

/// The durations of operations of one thread.
struct PauseRecord: Sendable {
  /// From here on it is looked at whether the thread was running all the time.
  private static let long: UInt64 = 100_000

  var all = Histogram<UInt64>(
    highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
  /// In nanoseconds.
  var longest: UInt64 = 0
  /// The longest one during which the scheduler didn't take the processor away.
  var longestRunning: UInt64 = 0
  private var preemptions = 0

  mutating func add(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    let nanoseconds = UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    all.record(nanoseconds)
    longest = max(longest, nanoseconds)
    guard nanoseconds >= Self.long else {
      longestRunning = max(longestRunning, nanoseconds)
      return
    }
    // Counted since the last long one: a preemption between two may hide a pause, but only one.
    let now = Self.preemptionCount()
    if now == preemptions { longestRunning = max(longestRunning, nanoseconds) }
    preemptions = now
  }

  /// Involuntary context switches of this thread (getrusage(2)).
  private static func preemptionCount() -> Int {
    var usage = rusage()
    getrusage(1, &usage)  // RUSAGE_THREAD
    return usage.ru_nivcsw
  }
}
