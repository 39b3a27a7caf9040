import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightStore

// What is on the disk, seen by a replay that knows nothing of the cache.

extension Simulation {
  /// Replays what is on the disk, independently of the cache: it must be sound, contain all that was
  /// acknowledged, and come to the digest that the live cache had.
  /// - Returns: the last event that is there.
  @discardableResult
  func replay() throws(SimulationFailure) -> UInt64 {
    guard settings.usesJournal else { return try lookAtRows() }
    let result = verify()
    counts.replays += 1
    noteLies()
    guard !isDamaged else {
      noteLeft(by: result)
      note("the disk has event \(result.lastSequence), \(result.problems.count) problems")
      return result.lastSequence
    }
    try checkSoundness(result)
    let last = result.lastSequence
    note("the disk has event \(last), digest \(result.digest)")
    try lookForStrayRows()
    guard last >= expected else {
      throw failure("durability", "\(expected) must be there, and the disk has \(last)")
    }
    guard let snapshot = history[last] ?? leftByOpening(last) else {
      throw failure("prefix", "\(last) is not where a step ended")
    }
    history = history.filter { $0.key <= last }
    history[last] = snapshot
    if last > 0, snapshot.isOrderTold, let digest = snapshot.digest,
      String(hex: digest) != result.digest
    {
      throw failure(
        "digest", "at \(last) the cache had \(String(hex: digest)), a replay \(result.digest)")
    }
    return last
  }

  /// Nothing is wrong with it but a torn tail.
  func checkSoundness(_ result: Verification) throws(SimulationFailure) {
    let problems = result.problems.filter { !$0.message.contains("drops it as a torn tail") }
    guard problems.isEmpty else {
      throw failure("verify", problems.map { "\($0.file): \($0.message)" }.joined(separator: "; "))
    }
  }

  /// What a verifier says that knows nothing of the cache, and meets no faults.
  func verify() -> Verification {
    let wasOn = injector.isOn
    injector.setOn(false)
    defer { injector.setOn(wasOn) }
    return Verifier(storage) { () throws(StoreError) in nil }.run()
  }

  /// Where damage took events away, an opening that failed may have numbered its own anew; or what it
  /// salvaged is there again.
  private func noteLeft(by result: Verification) {
    let last = result.lastSequence
    if attempt?.isSalvage == true {
      // It may have stopped before it wrote anything.
      guard let base = salvagedFrom() else { return }
      // What was there then, nobody remembers where a salvage has been untold since.
      if base < untoldBefore {
        isSalvageUntold = true
        return
      }
      attempt?.after = base
    }
    guard var left = leftByOpening(last) else { return }
    if let old = history[last], let digest = old.digest, String(hex: digest) == result.digest {
      if old.at <= left.at { return }
      (left.model, left.digest) = (old.model, old.digest)
    }
    // The numbers between are that opening's, too.
    if let base = attempt?.after { forget { $0 > base && $0 < last } }
    history[last] = left
  }

  /// Which event a salvage came back to that then failed, or lost its power: a replay of what was
  /// damaged didn't tell, and may have found less. What was there then, the history knows.
  /// - Returns: `nil` where the journal doesn't end with a salvage's events, or damage keeps that from being told.
  private func salvagedFrom() -> UInt64? {
    var (base, beforeGap): (UInt64?, UInt64?)
    do throws(DamageError) {
      _ = try EventStream(storage).replay { event in
        switch event.record.event {
        case .gap(let gap): beforeGap = beforeGap ?? gap.first.rawValue - 1
        case .recovered(let recovered) where recovered.cause == .salvaged:
          base = beforeGap ?? event.record.sequence.rawValue - 1
        case .recovered, .opened, .expired, .evicted, .touched: beforeGap = nil
        default: (base, beforeGap) = (nil, nil)
        }
      }
    } catch {
      note("  no telling where it was salvaged from: \(error)")
      isSalvageUntold = true
      return nil
    }
    // The gap is durable before the rest: a failed sync may have left it as the last event.
    return base ?? beforeGap
  }

  /// A salvage may come back to the events of an opening that nobody saw succeed, and whose journal
  /// was damaged before anybody replayed it: all that it did was to let entries leave.
  func leftByLostOpening(_ last: UInt64, _ attempt: Attempt) -> Snapshot? {
    guard isDamaged, let base = history.keys.filter({ $0 < last }).max() else { return nil }
    var attempt = attempt
    attempt.after = base
    return left(by: attempt, last)
  }

  /// What an opening has left that failed, or lost its power, after it had written its events.
  func leftByOpening(_ last: UInt64) -> Snapshot? { attempt.flatMap { left(by: $0, last) } }

  private func left(by attempt: Attempt, _ last: UInt64) -> Snapshot? {
    guard last > attempt.after, var snapshot = history[attempt.after] else { return nil }
    // Without its order: the opening that succeeds has the same limits, and shows what has left.
    // A salvage that stopped behind its gap has told no later time than what it came back to.
    if !attempt.isSalvage { snapshot.at = attempt.least }
    if snapshot.isOrderKnown { snapshot.model.reopen(attempt.settings.limits, at: snapshot.at) }
    snapshot.digest = nil
    // Where the store is used no more, values that only it has are gone, and that is told by now.
    snapshot.mayLack = isDamaged || isStoreDamaged || !attempt.settings.usesStore
    snapshot.boot = attempt.lastBoot
    snapshot.bootID = attempt.bootID
    return snapshot
  }
}

extension String {
  init(hex number: UInt64) {
    let digits = String(number, radix: 16)
    self = String(repeating: "0", count: 16 - digits.count) + digits
  }
}
