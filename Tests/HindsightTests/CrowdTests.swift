import HindsightCore
import Synchronization
import Testing

@testable import Hindsight

@Suite("S042 who writes for many callers")
struct CrowdTests {
  @Test("eight whom one frame answers are a crowd: the journal's thread writes for them")
  func hysteresis() async {
    var commit = CommitState(durable: .zero)
    // What becomes of the role after a frame that answered so many beside its writer.
    for (answered, isCrowd) in [
      (0, false), (3, false), (7, false), (8, true), (3, true), (7, true), (2, false), (7, false),
      (20, true), (0, false),
    ] {
      #expect(commit.takeRoleForCaller() || commit.takeRoleForThread())
      await write(for: answered, &commit)
      #expect(commit.isCrowded == isCrowd, "after \(answered)")
      #expect(commit.takeRoleForCaller() == !isCrowd, "after \(answered)")
      commit.isWriting = false
    }
  }

  /// A frame that so many wait for.
  private func write(for count: Int, _ commit: inout CommitState) async {
    let waiting = Waiting()
    let sequence = commit.written.next
    await withTaskGroup { group in
      for _ in 0..<count {
        group.addTask {
          _ = await withUnsafeContinuation { continuation in
            waiting.continuations.withLock { $0.append(continuation) }
          }
        }
      }
      while waiting.continuations.withLock({ $0.count }) < count { await Task.yield() }
      for (at, continuation) in waiting.continuations.withLock({ $0 }).enumerated() {
        let waiter = CommitState.Waiter(
          id: UInt64(at), sequence: sequence, continuation: continuation)
        guard case .queued = commit.arrive(waiter, .written) else {
          Issue.record("it isn't queued")
          continuation.resume(returning: .acknowledged)
          continue
        }
      }
      let (resume, _) = commit.wrote(through: sequence)
      #expect(resume.count == count)
      resume.resume()
    }
  }

  private final class Waiting: Sendable {
    let continuations = Mutex<[UnsafeContinuation<CommitState.WaitOutcome, Never>]>([])
  }
}
