import HindsightCore
import Synchronization
import Testing

@testable import Hindsight

/// Where several callers want `.written`, one of them writes for all, when the others have had their
/// turn.
@Suite("S042 leaders")
struct LeaderTests {
  @Test("one caller after the other writes at once")
  func alone() async {
    var commit = CommitState(durable: .zero)
    for _ in 0..<3 {
      #expect(commit.takeRoleForCaller() == true)
      #expect(await write(&commit).isEmpty)
    }
    #expect(!commit.hasLeader)
  }

  @Test("after a frame that others waited for, who finds nobody writing leads")
  func shared() async {
    var commit = CommitState(durable: .zero)
    #expect(commit.takeRoleForCaller() == true)
    #expect(await write(&commit, waiting: 1) == [.acknowledged])
    #expect(commit.takeRoleForCaller() == false)
    #expect(commit.takeLead() == true)
    // The journal's thread has been told, and nobody leads beside it.
    #expect(commit.takeLead() == nil)
    #expect(commit.takeRoleForCaller() == false)
    #expect(commit.takeRoleForLeader(of: commit.written.next) == true)
    #expect(await write(&commit).isEmpty)
    #expect(commit.takeRoleForCaller() == true)
  }

  @Test("the first that a frame doesn't answer leads, and comes after half of those it does")
  func middle() async {
    var commit = CommitState(durable: .zero)
    #expect(commit.takeRoleForCaller() == true)
    let answers = await write(&commit, waiting: 4, late: 3)
    #expect(answers == [.acknowledged, .acknowledged, .lead, .acknowledged, .acknowledged])
    #expect(commit.hasLeader && commit.hasWriteWaiters)
    #expect(commit.takeRoleForLeader(of: commit.written.next) == true)
    #expect(!commit.hasLeader)
    _ = await write(&commit)
    #expect(!commit.hasWriteWaiters)
  }

  @Test("a leader whose event is written meanwhile writes for those who wait, or not at all")
  func written() async {
    for waiting in [0, 2] {
      var commit = CommitState(durable: .zero)
      #expect(commit.takeLead() == true)
      #expect(commit.takeRoleForThread() == true)
      let answers = await write(&commit, late: waiting)
      #expect(answers.isEmpty)
      #expect(commit.takeRoleForLeader(of: commit.written) == (waiting > 0))
      if waiting > 0 { #expect(await write(&commit).count == waiting) }
    }
  }

  @Test("the journal's thread dismisses a leader that is late, and no other")
  func late() {
    var commit = CommitState(durable: .zero)
    #expect(commit.takeLead() == true)
    commit.watchLeaders(.seconds(1))
    #expect(commit.timeToWatch(.seconds(1)) == 2_000)
    commit.watchLeaders(Microseconds(rawValue: 1_001_999))
    #expect(commit.hasLeader)
    // The next one isn't late, though the first one would be.
    #expect(commit.takeRoleForLeader(of: commit.written.next) == true)
    _ = commit.wrote(through: commit.written.next)
    #expect(commit.takeLead() == false)
    commit.watchLeaders(Microseconds(rawValue: 1_002_001))
    #expect(commit.hasLeader)
    commit.watchLeaders(Microseconds(rawValue: 1_004_001))
    #expect(!commit.hasLeader)
    // Nobody is looked after until somebody leads again.
    #expect(commit.timeToWatch(.seconds(2)) == nil)
    #expect(commit.takeLead() == true)
  }

  @Test("the journal's thread gets the role that it found taken, before any caller")
  func handedOver() async {
    var commit = CommitState(durable: .zero)
    #expect(commit.takeRoleForCaller() == true)
    #expect(commit.takeRoleForThread() == false)
    let wantsSignal = commit.wrote(through: commit.written.next).signal
    #expect(wantsSignal)
    #expect(commit.takeRoleForCaller() == false)
    #expect(commit.takeLead() == nil)
    #expect(commit.takeRoleForThread() == true)
  }

  @Test("no caller writes behind a frame that fills its segment")
  func fullSegment() async {
    var commit = CommitState(durable: .zero)
    #expect(commit.takeRoleForCaller() == true)
    commit.isRotationDue = true
    let wantsSignal = commit.wrote(through: commit.written.next).signal
    #expect(wantsSignal)
    #expect(commit.takeRoleForCaller() == false)
    #expect(commit.takeLead() == nil)
    #expect(commit.takeRoleForLeader(of: commit.written.next) == false)
    #expect(commit.takeRoleForThread() == true)
  }

  @Test("a sync that is due waits for so many bytes of frames only")
  func putOff() {
    var commit = CommitState(durable: .zero)
    commit.written = SequenceNumber(3)
    commit.noteWriting(EngineBounds.bytesBeforeSyncMax - 1, isSyncDue: true)
    #expect(!commit.hasPutOffSync)
    commit.noteWriting(1, isSyncDue: true)
    #expect(commit.hasPutOffSync)
    _ = commit.synced(through: SequenceNumber(3))
    #expect(!commit.hasPutOffSync)
    commit.noteWriting(EngineBounds.bytesBeforeSyncMax, isSyncDue: true)
    #expect(!commit.hasPutOffSync, "all of it is durable")
    commit.written = SequenceNumber(4)
    #expect(commit.hasPutOffSync)
    commit.noteWriting(1, isSyncDue: false)
    #expect(!commit.hasPutOffSync)
  }

  @Test(
    "a wait that is cancelled ends, and its outcome is unknown", .timeLimit(.minutes(2)),
    arguments: [Acknowledgement.written, .durable], [false, true])
  func cancelled(level: Acknowledgement, isEarly: Bool) async throws {
    let lab = Lab()
    try await lab.open()
    let cache = try #require(lab.cache)
    // Somebody writes, and goes on to.
    cache.engine.locked { state in state.commit.isWriting = true }
    let key = try CacheKey("k:1")
    let set = Task {
      if isEarly { withUnsafeCurrentTask { $0?.cancel() } }
      try await cache.set([1], for: key, acknowledgement: level)
    }
    while !isEarly, !cache.engine.locked({ $0.commit.hasWriteWaiters || $0.commit.hasSyncWaiters })
    {
      await Task.yield()
    }
    set.cancel()
    await #expect {
      _ = try await set.value
    } throws: {
      ($0 as? CacheError)?.code == .outcomeUnknown
    }
    #expect(!cache.engine.locked { $0.commit.hasWriteWaiters || $0.commit.hasSyncWaiters })
    cache.engine.locked { state in state.commit.isWriting = false }
    #expect(cache.memoryValue(for: key) == [1])
    try await lab.end()
  }

  @Test("a leader whose executor is blocked keeps nobody waiting")
  func blocked() async throws {
    let lab = Lab { $0.acknowledgement = .written }
    try await lab.open()
    let cache = try #require(lab.cache)
    let lanes = [HeldLane(), HeldLane()]
    // A frame for both, so that both are expected to come back.
    cache.engine.locked { state in state.commit.isWriting = true }
    var ends = [Ending(cache, lanes[0], "k:1"), Ending(cache, lanes[1], "k:2")]
    for lane in lanes { #expect(lane.run() > 0) }
    cache.engine.locked { state in state.commit.isWriting = false }
    cache.engine.signalJournal()
    lab.scheduler.runUntilIdle()
    for lane in lanes { #expect(lane.run() > 0) }
    #expect(ends.allSatisfy { $0.isReached })

    ends = [Ending(cache, lanes[0], "k:3"), Ending(cache, lanes[1], "k:4")]
    #expect(lanes[0].runOne())
    #expect(cache.engine.locked { state in state.commit.hasLeader })
    #expect(lanes[1].run() > 0)
    lab.scheduler.runUntilIdle()
    #expect(lanes[1].run() == 0, "the leader is still in time")
    lab.clock.advance(by: .milliseconds(3))
    lab.scheduler.runTimers()
    #expect(lanes[1].run() > 0)
    #expect(ends[1].isReached && !ends[0].isReached)
    // When it comes, all is done.
    #expect(lanes[0].run() > 0)
    #expect(ends[0].isReached)
    #expect(cache.engine.locked { state in state.commit.written == state.core.head.sequence })
    try await lab.end()
  }

  @Test("a role that the journal's thread wanted, and no longer needs, is free")
  func nothingToDo() async throws {
    let lab = Lab { $0.acknowledgement = .written }
    try await lab.open()
    let cache = try #require(lab.cache)
    lab.scheduler.runUntilIdle()
    // It asked while a caller wrote, who then did all there was.
    cache.engine.locked { state in
      state.commit.isWriting = true
      #expect(state.commit.takeRoleForThread() == false)
      state.commit.isWriting = false
    }
    cache.engine.signalJournal()
    lab.scheduler.runUntilIdle()
    let lane = HeldLane()
    let end = Ending(cache, lane, "k:1")
    #expect(lane.run() > 0)
    #expect(end.isReached, "the caller writes, without the journal's thread")
    lab.scheduler.runUntilIdle()
    try await lab.end()
  }

  /// Writes what so many wait for, and tells what those hear who hear something.
  /// - Parameter late: so many have come meanwhile, and wait for what comes after it.
  private func write(
    _ commit: inout CommitState, waiting count: Int = 0, late: Int = 0
  ) async -> [Answer] {
    let sequence = commit.written.next
    let waiting = Waiting()
    return await withTaskGroup { group in
      for _ in 0..<count + late {
        group.addTask {
          _ = await withUnsafeContinuation { continuation in
            waiting.continuations.withLock { $0.append(continuation) }
          }
        }
      }
      while waiting.continuations.withLock({ $0.count }) < count + late { await Task.yield() }
      for (at, continuation) in waiting.continuations.withLock({ $0 }).enumerated() {
        let waiter = CommitState.Waiter(
          id: UInt64(at), sequence: at < count ? sequence : sequence.next,
          continuation: continuation)
        guard case .queued = commit.arrive(waiter, .written) else {
          Issue.record("it isn't queued")
          continue
        }
      }
      let (resume, _) = commit.wrote(through: sequence)
      // The test has seen what it wants of those who wait on.
      for continuation in waiting.continuations.withLock({ $0 }) {
        continuation.resume(returning: .acknowledged)
      }
      return resume.map { Answer($0.1) }
    }
  }

  private final class Waiting: Sendable {
    let continuations = Mutex<[UnsafeContinuation<CommitState.WaitOutcome, Never>]>([])
  }

  private enum Answer {
    case acknowledged, lead, failed

    init(_ outcome: CommitState.WaitOutcome) {
      switch outcome {
      case .acknowledged: self = .acknowledged
      case .lead: self = .lead
      case .failed: self = .failed
      }
    }
  }

  /// A set on its way.
  private final class Ending: Sendable {
    private let reached = Atomic(false)
    var isReached: Bool { reached.load(ordering: .acquiring) }

    init(_ cache: Lab.TextCache, _ lane: HeldLane, _ key: String) {
      Task(executorPreference: lane) {
        try await cache.set([1], for: try CacheKey(key))
        self.reached.store(true, ordering: .releasing)
      }
    }
  }
}
