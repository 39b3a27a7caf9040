import Hindsight
import HindsightReplay
import HindsightStore

// Readers beside the writer: another process verifies the journal while the cache works on.

extension Simulation {
  /// Begins a reader, which comes when its turn is. Between its calls, the cache goes on.
  func readBeside() {
    guard settings.usesJournal, session.cache != nil, !session.hasReader else { return }
    session.hasReader = true
    // All of it happens on the thread that calls `run`.
    nonisolated(unsafe) weak let simulation = self
    _ = session.scheduler.start("beside") {
      simulation?.verifyBeside()
      return .finished
    }
  }

  /// Where nothing goes wrong meanwhile, what it sees is sound, has all that was durable before, and
  /// is a state that the cache was in.
  private func verifyBeside() {
    session.hasReader = false
    guard let before = session.probe?.view, before.isOpen else { return }
    let faults = faultCount
    let result = Verifier(storage) { () throws(StoreError) in nil }.run()
    noteLies()
    guard !isDamaged, faultCount == faults, !injector.isPowerOut, interruptionFailure == nil,
      let after = session.probe?.view, after.isOpen
    else { return }
    counts.readsBeside += 1
    let last = result.lastSequence
    note("  a reader sees event \(last), digest \(result.digest)")
    guard result.isSound else {
      return fail("\(result.problems.map { "\($0.file): \($0.message)" })")
    }
    guard before.durable <= last, last <= after.sequence else {
      return fail("it sees event \(last), and durable was \(before.durable) of \(after.sequence)")
    }
    guard let snapshot = history[last] else { return fail("\(last) is not where a step ended") }
    if snapshot.isOrderTold, let digest = snapshot.digest, String(hex: digest) != result.digest {
      fail("at \(last) the cache had \(String(hex: digest)), a reader \(result.digest)")
    }
  }

  private var faultCount: Int { injector.counts.reduce(0) { $0 + $1.count } }

  private func fail(_ message: String) { interruptionFailure = failure("reader", message) }
}
