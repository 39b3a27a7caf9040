import Hindsight
import HindsightCore
import HindsightReplay
import Logging
import Synchronization

/// One seed's world (issue 3): the real cache, on simulated clocks, storage, store and scheduling,
/// with a simple model beside it that is held against it after every step.
///
/// All of it happens on the thread that calls `run`. Nothing depends on anything but the plan.
package final class Simulation {
  let plan: SimulationPlan
  var settings: SimulationSettings
  let clock = SimulatedClock()
  let injector: FaultInjector
  let storage: SimulatedStorage
  let store: SimulatedStore
  private let random: RandomSource
  private let log: SimulationLog
  var session: Session
  var time: TimeBracket
  var model: NapkinModel
  /// What was there after each event that ended a step: what a recovery may come back to.
  var history: [UInt64: Snapshot]
  /// The last events whose acknowledgement promised that they survive: a killed process, and a loss
  /// of power.
  var required = (written: UInt64(0), durable: UInt64(0))
  /// The last event that must be there at the next opening.
  var expected: UInt64 = 0
  /// Likewise without a journal: the last event that the store is known to have committed, and, since
  /// a close, synced.
  var requiredOfStore = (committed: UInt64(0), synced: UInt64(0))
  /// Without a journal: what openings have left in the store as of an event, where smaller limits
  /// took rows away. A loss of power may bring them back.
  var openedRows: [(sequence: UInt64, model: NapkinModel, at: Int64)] = []
  /// Failed syncs after which everything written has become durable.
  var forgivenSyncFailures = 0
  /// What was done to the disk, or what it has lied about: durable data may be gone then. What is
  /// there must be a prefix all the same, or be refused.
  var isDamaged = false
  /// Likewise for the store: what the journal doesn't have any more may be lost then, and said so.
  var isStoreDamaged = false
  /// What no longer says that disk or store are damaged: lies that a loss of power has shown since, and errors of a
  /// store that was made anew since.
  var forgiven = (lies: 0, storeErrors: 0)
  /// A damaged store was compared row by row, or made anew: once it has synced so much, it is whole.
  var storeWholeFrom: UInt64?
  var salvages = false
  /// Whether a salvage has failed of which nobody can tell what it came back to.
  var isSalvageUntold = false
  /// What came before the opening after such a salvage, nobody can tell either.
  var untoldBefore: UInt64 = 0
  /// What was set once, and was cut out: a later salvage may come back to that.
  var cutOut: [NapkinModel.Entry] = []
  /// The latest time that anything of it told.
  var cutOutAt = Int64.min
  var oldStore: SimulatedStore.Image?
  /// The opening that is on, or was the last to fail.
  var attempt: Attempt?
  var counts = SimulationCounts()
  var item: Int?
  /// The step that is on, as far as it has not been held against the model yet.
  var stretch: Stretch?
  /// What went wrong in steps that came in between.
  var interruptionFailure: SimulationFailure?
  var isInterrupting = false
  var interruptionRandom: SplitMix64
  /// Whether others have gone on beside a sync of the step that is on.
  var hasSynced = false
  /// After so many further steps the power goes; `nil`: it stays, as far as syncs are concerned.
  var stepsToPowerLoss: Int?
  private var callerCount = 0

  /// A process' life with the cache.
  struct Session {
    var scheduler: StepScheduler
    var cache: Cache<[UInt8]>?
    var probe: CacheProbe?
    var callers: [Caller] = []
    /// Whether the end was asked for: what is refused from then on is refused rightly.
    var isClosing = false
    /// Whether a reader of another process has begun, and not come to its turn.
    var hasReader = false
  }

  /// The state after an event.
  struct Snapshot {
    var model: NapkinModel
    /// `nil` where nobody saw it.
    var digest: UInt64?
    /// Whether the events up to here tell the order.
    var isOrderTold: Bool
    /// Events may go on without the journal behind it: then its frame can't tell the order.
    var goesOnInMemory = false
    var accessLog: AccessLog
    var at: Int64
    var boot: Int64
    var bootID: UInt64
    /// Whether a recovery comes back to the model's order: not without an access log, which leaves
    /// the order of the sets, or that of a checkpoint that came later.
    var isOrderKnown: Bool { accessLog != .off && isOrderTold }
    /// An opening over damage has left it, which may have written off values.
    var mayLack = false
  }

  /// An opening: after which event, and what it would do.
  struct Attempt {
    var after: UInt64
    var isSalvage: Bool
    var settings: SimulationSettings
    /// Not before this is it, and the boot times between which it reads its clock.
    var least: Int64
    /// What the wall clock showed.
    var wall: Int64
    var boot: Int64
    var lastBoot: Int64
    var bootID: UInt64
  }

  private init(_ plan: SimulationPlan, isTracing: Bool) {
    self.plan = plan
    log = SimulationLog(isTracing: isTracing)
    settings = plan.settings
    injector = FaultInjector(seed: plan.seed)
    storage = SimulatedStorage(injector)
    store = SimulatedStore(injector)
    random = RandomSource(seed: ~plan.seed)
    interruptionRandom = SplitMix64(seed: plan.seed ^ 0x5EED)
    session = Session(scheduler: StepScheduler(clock))
    let reading = clock.reading()
    time = TimeBracket(low: 0, high: 0, reading)
    model = NapkinModel(limits: plan.settings.limits)
    history = [
      0: Snapshot(
        model: model, digest: 0, isOrderTold: true, accessLog: .recency, at: 0,
        boot: reading.boot.rawValue,
        bootID: clock.bootID)
    ]
    injector.onDelay { [clock] in clock.advance(Int64($0 / .microseconds(1))) }
    injector.onFault { [log] kind, place in log.note("  fault \(kind) at \(place)") }
    enableCrashOutcomes()
    // All of it happens on the thread that calls `run`.
    nonisolated(unsafe) weak let simulation = self
    injector.onCall { simulation?.interrupt(at: $0) }
  }

  /// Runs a plan to its end, or to the first broken promise.
  package static func run(_ plan: SimulationPlan, isTracing: Bool = false) -> SimulationOutcome {
    let simulation = Simulation(plan, isTracing: isTracing)
    var failure: SimulationFailure?
    do throws(SimulationFailure) {
      try simulation.run()
    } catch {
      failure = error
    }
    return simulation.outcome(failure)
  }

  private func outcome(_ failure: SimulationFailure?) -> SimulationOutcome {
    counts.seeds = 1
    for (kind, count) in injector.counts {
      counts.faults[FaultKind.allCases.firstIndex(of: kind)!] = count
    }
    if let failure { note("FAILED \(failure)") }
    return SimulationOutcome(failure: failure, counts: counts, digest: log.digest, trace: log.lines)
  }

  private func run() throws(SimulationFailure) {
    try open()
    for (number, item) in plan.items.enumerated() {
      self.item = number
      note("item \(number): \(item.action)")
      var random = SplitMix64(seed: item.seed)
      interruptionRandom = SplitMix64(seed: item.seed ^ 0x5EED)
      try perform(item.action, &random)
      try runSteps(item.stepCount, &random)
    }
    item = nil
    try finish()
    try checkLeaks()
  }

  func note(_ line: String) { log.note(line) }

  func failure(_ check: String, _ message: String) -> SimulationFailure {
    SimulationFailure(check: check, message: message, item: item)
  }

  func configuration() -> CacheConfiguration {
    settings.configuration(clock, session.scheduler, salvages: salvages) { [random] in random.next()
    }
  }

  func enableCrashOutcomes() {
    for kind in FaultKind.all(.crashOutcome) { injector.enable(kind, oneIn: 3) }
  }

  // MARK: Steps

  private func runSteps(
    _ count: Int, _ random: inout SplitMix64
  ) throws(SimulationFailure) {
    for _ in 0..<count {
      let choices = session.scheduler.choices
      guard !choices.isEmpty else { return }
      try step(choices[random.below(choices.count)])
      if try recoverIfPowerIsOut() { return }
    }
  }

  private func perform(
    _ action: SimulationPlan.Action, _ random: inout SplitMix64
  ) throws(SimulationFailure) {
    switch action {
    case .cancel(let number):
      guard !session.callers.isEmpty else { return }
      let caller = session.callers[number % session.callers.count]
      caller.isCancelled = true
      caller.task?.cancel()
    case .advance(let time): clock.advance(time)
    case .stepWall(let distance):
      clock.stepWall(distance)
      injector.note(distance < 0 ? .clockBack : .clockJump, at: "clock")
    case .freezeWall(let isFrozen):
      clock.setFrozen(isFrozen)
      if isFrozen { injector.note(.clockFrozen, at: "clock") }
    case .fault(let kind, let after, let times):
      injector.fire(kind, after: after, times: times)
    case .endFaults: endFaults()
    case .readBeside: readBeside()
    case .externalReader(let isThere): store.setExternalReader(isThere)
    case .close, .drop, .kill, .losePower, .damage: try endSession(action, &random)
    default: begin(action)
    }
  }

  func endFaults() {
    for kind in FaultKind.allCases { injector.disable(kind) }
    enableCrashOutcomes()
  }

  /// Begins a caller's operation, unless too many are on their way.
  @discardableResult
  func begin(_ action: SimulationPlan.Action, atMost limit: Int = 10) -> Caller? {
    guard let cache = session.cache, session.callers.count < limit else { return nil }
    callerCount += 1
    counts.operations += 1
    let caller = Caller(callerCount, action, session.scheduler.makeLane(callerCount))
    caller.failedCallCount = failedCallCount
    session.callers.append(caller)
    caller.start(cache)
    return caller
  }

  func nextLane() -> StepScheduler.Lane {
    callerCount += 1
    return session.scheduler.makeLane(callerCount)
  }
}
