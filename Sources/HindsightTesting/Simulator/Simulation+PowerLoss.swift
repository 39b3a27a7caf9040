import HindsightReplay
import HindsightStore

// Losses of power around syncs: what a sync covers is decided when it begins, and others go on until it ends.

extension Simulation {
  /// A sync takes its time, so that something may come due before it ends; and now and then, the power goes before
  /// it ends, or soon after.
  func beginSync() {
    hasSynced = true
    clock.advance(interruptionRandom.pick([0, 200, 6_000, 400_000]))
    let isPowerLost =
      settings.powerLossOneIn > 0 && interruptionRandom.below(settings.powerLossOneIn) == 0
    // At the end, all is to be well.
    if isPowerLost, item != nil { stepsToPowerLoss = interruptionRandom.below(20) }
  }

  func losePowerIfDue() {
    guard let left = stepsToPowerLoss else { return }
    stepsToPowerLoss = left > 0 ? left - 1 : nil
    guard left == 0, !injector.isPowerOut else { return }
    note("  the power goes")
    injector.cutPower()
  }

  /// What a loss of power at this moment would leave that takes all that isn't synced: a sound journal, with all
  /// that counts as durable. A replay takes as long as some steps: only now and then.
  func foreseePowerLoss() throws(SimulationFailure) {
    guard interruptionRandom.below(4) == 0 else { return }
    noteLies()
    guard settings.usesJournal, !isDamaged, !storage.isRemoved, !injector.isPowerOut,
      let durable = session.probe?.view?.durable
    else { return }
    counts.foreseenPowerLosses += 1
    let image = storage.crashImage { _, _ in false }
    let result = Verifier(image) { () throws(StoreError) in nil }.run()
    note("  a loss of power would leave event \(result.lastSequence)")
    try checkSoundness(result)
    guard result.lastSequence >= durable else {
      throw failure(
        "durability", "without power, \(result.lastSequence) is left, and \(durable) is durable")
    }
  }
}
