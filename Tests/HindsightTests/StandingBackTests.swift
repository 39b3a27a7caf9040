import Foundation
import HindsightCore
import HindsightTesting
import HindsightThreads
import Synchronization
import Testing

@testable import Hindsight

@Suite("Background work stands back for who needs its processor")
struct StandingBackTests {
  private final class Shared: Sendable {
    let lock = StateLock(0)
    let hasLock = Atomic(false)
  }

  @Test("who sleeps for the engine's lock says so, and until it has it")
  func sleeper() async throws {
    let shared = Shared()
    _ = shared.lock.lock()
    Thread.detachNewThread {
      shared.lock.withLock { $0 += 1 }
      shared.hasLock.store(true, ordering: .releasing)
    }
    try await eventually("asked for") { StandingBack.isAskedFor }
    let isEarly = shared.hasLock.load(ordering: .acquiring)
    #expect(!isEarly)
    shared.lock.unlock()
    try await eventually("taken") { shared.hasLock.load(ordering: .acquiring) }
    // Other tests' threads may sleep for their locks, but not all the time.
    try await eventually("over") { !StandingBack.isAskedFor }
  }

  @Test("only volunteers do, and work in between for as long as they stood back")
  func half() {
    StandingBack.fallAsleep()
    defer { StandingBack.wakeUp() }
    let shared = Shared()
    onThreads(1) { _ in
      StandingBack.ifAskedFor()
      #expect(StandingBack.next == nil)
      StandingBack.volunteering(for: shared.lock.hold) {
        #expect(StandingBack.isVolunteer && StandingBack.next == 1)
        let began = ContinuousClock.now
        var last: Int?
        var count = 0
        while count < 5 {
          StandingBack.ifAskedFor()
          if StandingBack.next != last { count += 1 }
          last = StandingBack.next
        }
        // A millisecond each while somebody sleeps all the time, and as long between two of them.
        #expect(ContinuousClock.now - began >= .milliseconds(9))
      }
      #expect(!StandingBack.isVolunteer)
      let last = StandingBack.next
      for _ in 0..<100 { StandingBack.ifAskedFor() }
      #expect(StandingBack.next == last)
    }
  }

  @Test("a hold is stuck that is the same at all looks for 40 microseconds, and looks are 20 apart")
  func stuckHold() {
    let lock = StateLock(0)
    var watch = HoldWatch()
    func look(_ time: Int) -> Bool { watch.seesStuckHold(of: lock.hold.pointee, at: time) }
    func goesOn() -> Bool { watch.goesOn(lock.hold.pointee) }
    #expect(!look(100_000), "nobody holds it")
    _ = lock.lock()
    #expect(!look(120_000), "seen first")
    #expect(!look(159_999))
    #expect(!look(161_000), "too soon after the last look")
    #expect(look(180_000))
    #expect(goesOn())
    lock.unlock()
    #expect(!goesOn())
    _ = lock.lock()
    #expect(!goesOn(), "another hold")
    #expect(!look(220_000))
    for turn in 1...10 {
      lock.unlock()
      _ = lock.lock()
      #expect(!look(220_000 + turn * 40_000), "it gets on")
    }
    lock.unlock()
  }

  @Test(
    "a volunteer stands back for its engine's holder who doesn't get on, though nobody sleeps, unless it is urgent"
  )
  func stuckHolder() {
    let shared = Shared()
    _ = shared.lock.lock()
    onThreads(1) { _ in
      // Other tests' threads may sleep for their locks: what they ask for isn't counted.
      var standings = 0
      StandingBack.volunteering(for: shared.lock.hold) {
        while standings < 3 {
          let (before, wasAskedFor) = (StandingBack.next, StandingBack.isAskedFor)
          StandingBack.ifAskedFor()
          if StandingBack.next != before, !wasAskedFor { standings += 1 }
        }
        // Not so where callers wait for its work; that somebody asks just now can't be ruled out.
        StandingBack.setUrgent(true)
        let began = ContinuousClock.now
        standings = 0
        while ContinuousClock.now - began < .milliseconds(30) {
          let (before, wasAskedFor) = (StandingBack.next, StandingBack.isAskedFor)
          StandingBack.ifAskedFor()
          if StandingBack.next != before, !wasAskedFor { standings += 1 }
        }
        #expect(standings < 5)
      }
    }
    shared.lock.unlock()
  }

  /// Threads as a cache has them by default, and which activities have stood back.
  private final class WatchingScheduler: BackgroundScheduler {
    let stoodBack = Mutex<Set<String>>([])

    func start(
      _ name: String, step: @escaping @Sendable () -> BackgroundWait
    ) throws(CacheError) -> any BackgroundActivity {
      try ThreadScheduler().start(name) { [self] in
        let before = StandingBack.next
        let wait = step()
        if StandingBack.next != before { stoodBack.withLock { _ = $0.insert(name) } }
        return wait
      }
    }
  }

  @Test("journal, projector and checkpoints do, and come to their ends all the same")
  func activities() async throws {
    let directory = try TemporaryDirectory()
    let scheduler = WatchingScheduler()
    var configuration = CacheConfiguration()
    configuration.scheduler = scheduler
    // The values of what memory holds are compressed, which would be another piece of work.
    configuration.memoryLimit.entryCountMax = 1
    StandingBack.fallAsleep()
    defer { StandingBack.wakeUp() }
    let cache = try await PackageCache.open(at: directory.path, configuration: configuration)
    // Enough of the journal for a checkpoint.
    var generator = SystemRandomNumberGenerator()
    for number in 0..<500 {
      let name = (0..<1_000).map { _ in String(generator.next(), radix: 16) }.joined()
      try await cache.set(
        Package(name: name), for: try pypi("package-\(number)"), acknowledgement: .enqueued)
    }
    try await cache.settle()
    try await eventually("a checkpoint") {
      scheduler.stoodBack.withLock { $0.contains("upkeep") }
    }
    try await cache.close()
    #expect(scheduler.stoodBack.withLock { $0 } == ["journal", "projector", "upkeep"])
  }
}
