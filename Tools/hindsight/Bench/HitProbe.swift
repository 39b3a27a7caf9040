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
        var isMeasuring = false
        while true {
          let phase = phase(start)
          if phase == .measuring, !isMeasuring {
            isMeasuring = true
            outcome.record = PauseRecord()
            start = BenchTools.clock.now  // that took a look at what was stolen
          }
          if phase == .over {
            outcome.record.look()
            return continuation.resume(returning: outcome)
          }
          let key = keys[(outcome.asked &* 104_729) % keys.count]
          if cache == nil || cache?.memoryValue(for: key) != nil { outcome.found += 1 }
          outcome.asked += 1
          let now = BenchTools.clock.now
          let hasLooked = phase == .measuring && outcome.record.add(start.duration(to: now))
          start = hasLooked ? BenchTools.clock.now : now
        }
      }
    }
  }
}

/// The durations of operations of one thread. `look` belongs at its end.
struct PauseRecord: Sendable {
  /// From here on it is looked at whether the thread was running all the time.
  private static let long: UInt64 = 100_000
  /// Why there is no longest one of those.
  static let nothingRan = "the scheduler or the host took a processor away all the time"
  /// How long after a look at what was stolen there is another one.
  private static let lookInterval: UInt64 = 100_000_000

  var all = Histogram<UInt64>(
    highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
  /// In nanoseconds.
  private(set) var longest: UInt64 = 0
  /// The longest one during which the scheduler didn't take the processor away, nor the host one of the
  /// machine's processors from whoever had it; `nil` where there is none.
  private(set) var longestRunning: UInt64?
  /// Processor time that the host took from the machine meanwhile.
  private(set) var stolen = Duration.zero
  /// The longest one since the last look, and how long they took together.
  private var longestSinceLook: UInt64?
  private var sinceLook: UInt64 = 0
  private let readStolen: @Sendable () -> Duration
  private var stolenAtLook: Duration
  private var preemptions = Self.preemptionCount()

  /// - Parameter readStolen: how much the host has taken until now.
  init(readStolen: @escaping @Sendable () -> Duration = { StolenTime.sinceBoot }) {
    self.readStolen = readStolen
    stolenAtLook = readStolen()
  }

  /// - Returns: whether there was a look at what was stolen, which takes time itself.
  @discardableResult
  mutating func add(_ duration: Duration) -> Bool {
    let (seconds, attoseconds) = duration.components
    let nanoseconds = UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    all.record(nanoseconds)
    longest = max(longest, nanoseconds)
    if nanoseconds < Self.long || !wasPreempted() {
      longestSinceLook = max(longestSinceLook ?? 0, nanoseconds)
    }
    sinceLook += nanoseconds
    guard sinceLook >= Self.lookInterval else { return false }
    look()
    return true
  }

  /// Takes note of what was stolen: where anything was, nothing since the last look was running all the time.
  mutating func look() {
    let now = readStolen()
    if now == stolenAtLook, let longestSinceLook {
      longestRunning = max(longestRunning ?? 0, longestSinceLook)
    }
    stolen += now - stolenAtLook
    (stolenAtLook, longestSinceLook, sinceLook) = (now, nil, 0)
  }

  /// Since the last call: a preemption between two long ones may hide a pause, but only one.
  private mutating func wasPreempted() -> Bool {
    let before = preemptions
    preemptions = Self.preemptionCount()
    return preemptions != before
  }

  /// Involuntary context switches of this thread (getrusage(2)).
  private static func preemptionCount() -> Int {
    var usage = rusage()
    getrusage(1, &usage)  // RUSAGE_THREAD
    return usage.ru_nivcsw
  }
}

/// Processor time that whoever runs this virtual machine took from it ("steal" of proc_stat(5)).
enum StolenTime {
  private static let tick = Duration.seconds(1) / sysconf(Int32(_SC_CLK_TCK))

  /// Of all processors together, in steps of 10 ms; 0 where the system doesn't tell.
  static var sinceBoot: Duration {
    guard let text = try? String(contentsOfFile: "/proc/stat", encoding: .utf8) else {
      return .zero
    }
    return ofFirstLine(text).map { tick * $0 } ?? .zero
  }

  /// "cpu", then user, nice, system, idle, iowait, irq, softirq and steal, in ticks.
  static func ofFirstLine(_ text: String) -> Int? {
    let fields = text.prefix { $0 != "\n" }.split(separator: " ")
    guard fields.first == "cpu", fields.count > 8 else { return nil }
    return Int(fields[8])
  }
}
