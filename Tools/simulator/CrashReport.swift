import Foundation
import Synchronization

/// A trap in the product must name the seed that it came from, too.
enum CrashReport {
  private static let slots = SeedSlots()

  /// Seeds that are running, by slot: a signal handler may only read memory.
  private final class SeedSlots: Sendable {
    let seeds = (0..<64).map { _ in AtomicSeed() }

    final class AtomicSeed: Sendable {
      let seed = Atomic<UInt64>(0)
      let thread = Atomic<UInt>(0)
    }
  }

  /// Runs `body` with the seed noted for this thread.
  static func watching<R>(_ seed: UInt64, _ body: () -> R) -> R {
    let me = UInt(pthread_self())
    let slot = slots.seeds.first { slot in
      slot.thread.load(ordering: .relaxed) == me
        || slot.thread.compareExchange(expected: 0, desired: me, ordering: .relaxed).exchanged
    }
    slot?.seed.store(seed, ordering: .relaxed)
    return body()
  }

  /// Has SIGILL, SIGTRAP, SIGSEGV, SIGBUS and SIGABRT print the seed before the process ends.
  static func install() {
    _ = slots
    for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
      signal(number) { _ in
        let me = UInt(pthread_self())
        let seed = CrashReport.seed(of: me)
        CrashReport.write("\nthe process trapped; again:  simulator --seed ")
        CrashReport.write(number: seed)
        CrashReport.write(" --trace\n")
        _exit(1)
      }
    }
  }

  private static func seed(of thread: UInt) -> UInt64 {
    for slot in slots.seeds where slot.thread.load(ordering: .relaxed) == thread {
      return slot.seed.load(ordering: .relaxed)
    }
    return 0
  }

  private static func write(_ text: StaticString) {
    _ = Foundation.write(2, text.utf8Start, text.utf8CodeUnitCount)
  }

  private static func write(number: UInt64) {
    var divisor: UInt64 = 10_000_000_000_000_000_000
    while divisor > 1, number / divisor == 0 { divisor /= 10 }
    while divisor > 0 {
      var digit = UInt8(ascii: "0") + UInt8(number / divisor % 10)
      _ = Foundation.write(2, &digit, 1)
      divisor /= 10
    }
  }
}
