/// Makes a failing plan shorter, as long as the same promise breaks: delta debugging (Zeller,
/// Hildebrandt: Simplifying and isolating failure-inducing input, IEEE TSE 2002).
package struct PlanShrinker {
  private let check: String
  private var runsLeft: Int
  /// The shortest plan that fails so far, and how.
  package private(set) var plan: SimulationPlan
  package private(set) var failure: SimulationFailure

  /// - Parameter runCountMax: how many simulations it may take.
  package init(_ plan: SimulationPlan, _ failure: SimulationFailure, runCountMax: Int = 3_000) {
    self.plan = plan
    self.failure = failure
    check = failure.check
    runsLeft = runCountMax
  }

  /// Shrinks until nothing can be left out any more, or the runs are used up.
  package mutating func run() {
    if let item = failure.item {
      var cut = plan
      cut.items.removeSubrange(min(item + 1, cut.items.count)...)
      _ = accept(cut)
    }
    repeat {
      removeItems()
    } while simplify() && runsLeft > 0
  }

  private mutating func removeItems() {
    var size = max(1, plan.items.count / 2)
    while runsLeft > 0 {
      var at = 0
      var hasRemoved = false
      while at < plan.items.count, runsLeft > 0 {
        var candidate = plan
        candidate.items.removeSubrange(at..<min(at + size, candidate.items.count))
        if accept(candidate) { hasRemoved = true } else { at += size }
      }
      if size == 1, !hasRemoved { return }
      size = max(1, size / 2)
    }
  }

  /// Fewer steps, and the usual settings.
  private mutating func simplify() -> Bool {
    var hasChanged = false
    for at in plan.items.indices {
      for count in [0, 1, 3, 10] where count < plan.items[at].stepCount {
        var candidate = plan
        candidate.items[at].stepCount = count
        if accept(candidate) {
          hasChanged = true
          break
        }
      }
    }
    for reset in SimulationSettings.resets {
      var candidate = plan
      reset(&candidate.settings)
      if candidate.settings != plan.settings, accept(candidate) { hasChanged = true }
    }
    return hasChanged
  }

  private mutating func accept(_ candidate: SimulationPlan) -> Bool {
    guard runsLeft > 0 else { return false }
    runsLeft -= 1
    guard let failure = Simulation.run(candidate).failure, failure.check == check else {
      return false
    }
    plan = candidate
    self.failure = failure
    return true
  }
}

extension SimulationSettings {
  /// Each makes one setting the usual one.
  fileprivate static let resets: [@Sendable (inout SimulationSettings) -> Void] = [
    {
      $0.memoryLimit = SimulationSettings().memoryLimit
      $0.storeLimit = SimulationSettings().storeLimit
    },
    { $0.memoryTTL = SimulationSettings().memoryTTL },
    { $0.storeTTL = SimulationSettings().storeTTL },
    { $0.usesStore = false },
    { $0.usesJournal = true },
    { $0.undecodableOneIn = 0 },
    { $0.accessLog = .recency },
    { $0.journalFailure = .refuseWrites },
    { $0.backpressure = .wait },
    { $0.queues = SimulationSettings().queues },
    { $0.retention = SimulationSettings().retention },
    { $0.segmentByteCount = SimulationSettings().segmentByteCount },
    { $0.sweepInterval = nil },
    { $0.syncInterval = nil },
    { $0.powerLossOneIn = 0 },
    { $0.interruptsOneIn = 0 },
    { $0.checkpointByteCountMin = nil },
    { $0.usesWriterThread = false },
  ]
}
