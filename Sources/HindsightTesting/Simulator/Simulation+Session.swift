import Hindsight
import HindsightCore
import Logging
import Synchronization

// Openings, ends, crashes, recoveries.

extension Simulation {
  /// How a process with the cache ends.
  private enum Ending {
    case closed, killed, powerLost
  }

  // MARK: Opening

  /// Opens the cache on what is there; again and again, where a fault comes in or the power goes.
  func open() throws(SimulationFailure) {
    injector.setRecovering(true)
    stepsToPowerLoss = nil
    for number in 0..<8 {
      if number == 5 { injector.setOn(false) }
      noteLies()
      let last = try replay()
      let faults = injector.counts.reduce(0) { $0 + $1.count }
      let failedSyncs = syncFailureCount
      session = Session(scheduler: StepScheduler(clock))
      var attempt = attempt(after: last)
      let files = isDamaged ? journalFiles : []
      let rowsBefore = settings.usesJournal ? [] : rows
      let opening = try attemptToOpen()
      attempt.lastBoot = clock.reading().boot.rawValue
      self.attempt = attempt
      noteLies()
      if injector.isPowerOut {
        try windDown()
        try crash()
        continue
      }
      switch opening {
      case .success(let cache):
        injector.setRecovering(false)
        self.attempt = nil
        injector.setOn(true)
        salvages = false
        return try recovered(cache, last, attempt)
      case .failure(let error):
        if try isRightlyRefused(error, files) { continue }
        guard injector.counts.reduce(0, { $0 + $1.count }) > faults else {
          throw failure("refused", "opening fails without cause: \(error)")
        }
        counts.failedOpenings += 1
        noteFailedOpening(rowsBefore, attempt)
        // What was written and not durable, a failed sync may have dropped.
        if syncFailureCount > failedSyncs { expected = required.durable }
        note("  opening fails: \(error.code.rawValue)")
        try checkLeaks()
      }
    }
    throw failure("refused", "opening fails again and again")
  }

  private func attempt(after last: UInt64) -> Attempt {
    let reading = clock.reading()
    time.observe(reading)
    var least = max(reading.wall.rawValue, history[last]?.at ?? 0)
    if !settings.usesJournal {
      // Rows tell when they were set, and nothing of boots.
      least = max(reading.wall.rawValue, rows.map(\.createdAt.rawValue).max() ?? 0)
    } else if let snapshot = history[last], snapshot.bootID == clock.bootID {
      least = max(least, snapshot.at + max(0, reading.boot.rawValue - snapshot.boot))
    }
    return Attempt(
      after: last, isSalvage: salvages, settings: settings, least: least,
      wall: reading.wall.rawValue, boot: reading.boot.rawValue,
      lastBoot: reading.boot.rawValue, bootID: clock.bootID)
  }

  var syncFailureCount: Int {
    let kinds: [FaultKind] = [.syncErrorReverted, .syncErrorKept, .syncNoSpace, .syncQuota]
    return kinds.reduce(0) { $0 + injector.count($1) }
  }

  private final class Opening: Sendable {
    let result = Mutex<Result<Cache<[UInt8]>, CacheError>?>(nil)
  }

  private func attemptToOpen() throws(SimulationFailure) -> Result<Cache<[UInt8]>, CacheError> {
    let opening = Opening()
    let place = Place.custom(storage, store)
    let (configuration, coder) = (configuration(), settings.coder)
    let task = Task(executorPreference: nextLane()) {
      let result: Result<Cache<[UInt8]>, CacheError>
      do throws(CacheError) {
        result = .success(
          try await Cache<[UInt8]>.open(
            at: place, coder: coder, configuration: configuration,
            logger: Logger(label: "simulation", factory: { _ in SwiftLogNoOpLogHandler() })))
      } catch {
        result = .failure(error)
      }
      opening.result.withLock { $0 = result }
    }
    defer { _ = task }
    for _ in 0..<100 {
      if let result = opening.result.withLock({ $0 }) {
        if case .success(let cache) = result {
          session.cache = cache
          session.probe = cache.probe
        }
        return result
      }
      guard
        let choice = session.scheduler.choices.first(where: { choice in
          if case .activity(_, "open") = choice { return true }
          if case .lane = choice { return true }
          return false
        })
      else { break }
      session.scheduler.run(choice)
    }
    throw failure("hang", "opening doesn't end")
  }

  // MARK: Ending

  func endSession(
    _ action: SimulationPlan.Action, _ random: inout SplitMix64
  ) throws(SimulationFailure) {
    switch action {
    case .damage(let kind):
      try end(random.pick([.kill, .losePower, .close]))
      damage(kind)
    default: try end(action)
    }
    settings.change(&random)
    try open()
  }

  private func end(_ action: SimulationPlan.Action) throws(SimulationFailure) {
    switch action {
    case .kill:
      counts.kills += 1
      injector.cutPower()
      try windDown()
      storage.killProcess()
      store.killProcess()
      injector.restorePower()
      expected = settings.usesJournal ? survivingKill : requiredOfStore.committed
    case .losePower:
      injector.cutPower()
      try windDown()
      try crash()
    default:
      try close(isDropped: action == .drop)
    }
  }

  /// The power came back: what is on the disk now?
  private func crash() throws(SimulationFailure) {
    counts.powerLosses += 1
    storage.crash(injector)
    store.crash(injector)
    forgiveLies()
    time.observe(clock.reading())
    clock.reboot()
    time.reboot(clock.reading())
    expected = settings.usesJournal ? required.durable : requiredOfStore.synced
  }

  /// Where a fault cut the power in the last step.
  func recoverIfPowerIsOut() throws(SimulationFailure) -> Bool {
    guard injector.isPowerOut else { return false }
    try windDown()
    try crash()
    try open()
    return true
  }

  private func close(isDropped: Bool) throws(SimulationFailure) {
    counts.closes += 1
    session.isClosing = true
    let closing = isDropped ? nil : begin(.close, atMost: .max)
    session.cache = nil
    try drain("closing")
    if injector.isPowerOut { return try crash() }
    try checkLeaks()
    if let closing, case .done? = closing.reply.reply {
      // All of it is durable now: the replay will say.
      required.durable = max(required.durable, lastEvent)
      if settings.usesStore { requiredOfStore = (lastEvent, lastEvent) }
    }
    expected = settings.usesJournal ? survivingKill : requiredOfStore.committed
  }

  /// What was written survives the process, unless the disk has failed to sync it: then the kernel
  /// has dropped it, and only the process still had it.
  private var survivingKill: UInt64 {
    syncFailureCount > forgivenSyncFailures
      ? required.durable : max(required.durable, required.written)
  }

  private var lastEvent: UInt64 { history.keys.max() ?? 0 }

  /// Lets the tasks of a process that is dead already come to their ends, so that nothing is left
  /// of them; whatever they do, fails.
  private func windDown() throws(SimulationFailure) {
    session.probe = nil
    let probe = session.cache?.probe
    session.isClosing = true
    begin(.close, atMost: .max)
    session.cache = nil
    try drain("winding down")
    guard probe?.isGone ?? true else { throw failure("leak", "the engine outlives the process") }
    try checkLeaks()
  }

  func checkLeaks() throws(SimulationFailure) {
    guard session.callers.isEmpty, !session.scheduler.hasActivities else {
      throw failure("leak", "tasks or activities outlive the cache")
    }
    if let probe = session.probe, !probe.isGone {
      throw failure("leak", "the engine outlives the cache")
    }
    guard storage.openFileCount == 0 else {
      throw failure("leak", "\(storage.openFileCount) files are open after the end")
    }
    guard store.connectionCount == 0 else {
      throw failure("leak", "\(store.connectionCount) connections are open after the end")
    }
  }

  /// Runs everything until all callers have their answers and all activities have ended.
  private func drain(_ what: String) throws(SimulationFailure) {
    try run(what) { session in session.callers.isEmpty && !session.scheduler.hasActivities }
  }

  /// Runs everything until something holds; time passes where nothing else is left to do.
  func run(
    _ what: String, until isDone: (Session) -> Bool
  ) throws(SimulationFailure) {
    let isPowered = !injector.isPowerOut
    var budget = 50_000
    var waited: Int64 = 0
    while !isDone(session) {
      if isPowered, injector.isPowerOut { return try windDown() }
      budget -= 1
      let choices = session.scheduler.choices
      if let choice = choices.randomElement(by: UInt64(budget)) {
        if session.probe == nil {
          session.scheduler.run(choice)
          session.callers.removeAll { $0.reply.reply != nil }
        } else {
          try step(choice)
        }
      } else if let deadline = session.scheduler.nextDeadline, waited < 600_000_000 {
        let wait = max(1, deadline - clock.reading().boot.rawValue)
        waited += wait
        clock.advance(wait)
      } else {
        throw hang(what)
      }
      if budget == 0 { throw hang(what) }
    }
  }

  private func hang(_ what: String) -> SimulationFailure {
    let waiting = session.callers.map { "\($0.number) \($0.action)" }
    return failure(
      "hang", "\(what) doesn't end; waiting: \(waiting.isEmpty ? ["nobody"] : waiting)")
  }

  /// At the end all is well again, so everything must come to its end, and stay.
  func finish() throws(SimulationFailure) {
    endFaults()
    injector.setOn(true)
    try run("finishing") { $0.callers.isEmpty }
    // The power may have gone, also with the last answer: what that leaves comes to the same end.
    _ = try recoverIfPowerIsOut()
    stepsToPowerLoss = nil
    for action in [SimulationPlan.Action.flush(.durable), .settle] { try succeed(action) }
    try close(isDropped: false)
    try replay()
  }
}

extension Simulation {
  /// What must succeed where all is well, though perhaps not at once: what failed before is tried again in the
  /// background after a while.
  private func succeed(_ action: SimulationPlan.Action) throws(SimulationFailure) {
    for _ in 0..<Self.patience {
      let caller = begin(action)
      try run("\(action)") { $0.callers.isEmpty }
      guard case .failed = caller?.reply.reply, !injector.isPowerOut else { return }
      // Where somebody has deleted the directory, or damage lies before what the store lacks, only another
      // opening makes it well.
      if storage.isRemoved || isDamaged && action == .settle { return }
      try pass(seconds: 2)
    }
    throw failure("not well again", "\(action) still fails though no fault is left")
  }

  private static let patience = 10

  /// Lets time pass, and what is due by then happen.
  private func pass(seconds: Int64) throws(SimulationFailure) {
    let end = clock.reading().boot.rawValue + seconds * 1_000_000
    clock.advance(seconds * 1_000_000)
    try run("passing time") { session in
      session.scheduler.choices.isEmpty
        && (session.scheduler.nextDeadline ?? .max) > end
    }
  }
}

extension [StepScheduler.Choice] {
  /// One of them, decided by a number.
  fileprivate func randomElement(by number: UInt64) -> Element? {
    guard !isEmpty else { return nil }
    var random = SplitMix64(seed: number)
    return self[random.below(count)]
  }
}
