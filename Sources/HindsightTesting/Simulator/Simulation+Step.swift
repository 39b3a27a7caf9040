import Hindsight
import HindsightCore

// One step, and what is held against the model after it.

extension Simulation {
  /// Lets one thing run, and checks everything.
  func step(_ choice: StepScheduler.Choice) throws(SimulationFailure) {
    counts.steps += 1
    beginStretch(choice)
    session.scheduler.run(choice)
    if let failure = interruptionFailure { throw failure }
    try endStretch(choice)
    if hasSynced, !isInterrupting {
      hasSynced = false
      try foreseePowerLoss()
    }
    losePowerIfDue()
  }

  /// Something waits for the disk: now and then, others go on meanwhile.
  func interrupt(at call: FaultInjector.Call) {
    if call.mayBlock || settings.usesWriterThread && call == .storage(.write),
      case .lane(let number) = session.scheduler.current
    {
      interruptionFailure =
        interruptionFailure
        ?? failure("blocks", "caller \(number) waits for the disk on a thread of the pool: \(call)")
    }
    guard settings.interruptsOneIn > 0, let stretch, !isInterrupting, !injector.isPowerOut,
      interruptionFailure == nil, interruptionRandom.below(settings.interruptsOneIn) == 0
    else { return }
    isInterrupting = true
    defer { isInterrupting = false }
    do throws(SimulationFailure) {
      try endStretch(stretch.choice)
      if call.isSync { beginSync() }
      for _ in 0...interruptionRandom.below(call.isSync ? 12 : 3) {
        guard !injector.isPowerOut else { break }
        let choices = session.scheduler.choices
        guard !choices.isEmpty else { break }
        note("  meanwhile:")
        try step(choices[interruptionRandom.below(choices.count)])
      }
      if call.isSync { try foreseePowerLoss() }
    } catch {
      interruptionFailure = error
    }
    beginStretch(stretch.choice, goesOnFrom: stretch)
  }

  /// A step, or a part of it: between two of them, others have run.
  struct Stretch {
    var choice: StepScheduler.Choice
    var before: CacheView?
    var began: ClockReading
    var least: Int64
  }

  /// - Parameter earlier: an activity may go by a clock that it read in an earlier stretch.
  private func beginStretch(_ choice: StepScheduler.Choice, goesOnFrom earlier: Stretch? = nil) {
    let reading = clock.reading()
    time.observe(reading)
    let view = session.probe?.view
    var least = time.now.least
    var began = reading
    if case .activity = choice, let earlier {
      began = earlier.began
      least = max(earlier.least, view?.at.rawValue ?? 0)
    }
    stretch = Stretch(choice: choice, before: view, began: began, least: least)
  }

  private func endStretch(_ choice: StepScheduler.Choice) throws(SimulationFailure) {
    let stretch = stretch
    self.stretch = nil
    let ended = clock.reading()
    time.observe(ended)
    guard let stretch, let before = stretch.before, let after = session.probe?.view else {
      // The engine is gone with the last who held it: whoever that was has answered.
      return session.callers.removeAll { $0.reply.reply != nil }
    }
    note("  \(choice) → event \(after.sequence), durable \(after.durable), at \(after.at)")
    var look = Look(
      before: before, after: after, least: stretch.least,
      uncertainty: ended.boot.rawValue - stretch.began.boot.rawValue)
    for caller in session.callers {
      caller.mostWritten = max(caller.mostWritten, after.written)
      if [before, after].contains(where: { $0.hasJournalTrouble || $0.hasStoreTrouble }) {
        caller.hasSeenTrouble = true
      }
    }
    try checkTime(&look)
    if case .lane(let number) = choice,
      let at = session.callers.firstIndex(where: { $0.number == number })
    {
      let caller = session.callers[at]
      try decide(caller, look)
      if let reply = caller.reply.reply {
        session.callers.remove(at: at)
        note("  \(number) answers \(reply.summary)")
        try check(reply, of: caller, look)
      }
    }
    try checkState(look)
    if after.durable >= required.written { forgivenSyncFailures = syncFailureCount }
    if look.hasAdvanced { remember(after) }
    if case .activity(_, "journal") = choice { rememberBetween(look) }
  }

  /// What was seen around a step.
  struct Look {
    var before: CacheView
    var after: CacheView
    /// Between these the cache's now lay, in the step.
    var least: Int64
    var most: Int64 = 0
    /// How long the step took.
    var uncertainty: Int64
    var hasAdvanced: Bool { after.sequence > before.sequence }

    /// The time of a decision in the step.
    var at: Int64 { hasAdvanced ? after.at.rawValue : least }

    init(before: CacheView, after: CacheView, least: Int64, uncertainty: Int64) {
      self.before = before
      self.after = after
      self.least = least
      self.uncertainty = uncertainty
    }
  }

  private func checkTime(_ look: inout Look) throws(SimulationFailure) {
    look.most = time.now.most
    guard look.after.sequence >= look.before.sequence else {
      throw failure("history", "after event \(look.before.sequence) came \(look.after.sequence)")
    }
    guard look.hasAdvanced else { return }
    let at = look.after.at.rawValue
    guard look.least <= at, at <= look.most else {
      throw failure(
        "time",
        "event \(look.after.sequence) is at \(at), and it is between \(look.least) and "
          + "\(look.most)")
    }
    time.collapse(at: at, uncertainty: look.uncertainty)
    look.most = time.now.most
  }

  /// The journal's thread decides nothing that changes what is there, and a checkpoint that bridges a
  /// gap stands between two of its events: before `gap`, behind `touched`.
  private func rememberBetween(_ look: Look) {
    guard look.after.sequence > look.before.sequence + 1,
      var snapshot = history[look.after.sequence]
    else { return }
    snapshot.digest = nil
    for sequence in look.before.sequence + 1..<look.after.sequence {
      history[sequence] = snapshot
    }
  }

  func remember(_ view: CacheView) {
    let reading = clock.reading()
    counts.events += 1
    history[view.sequence] = Snapshot(
      model: model, digest: view.digest, isOrderTold: !view.hasUntoldTouches,
      goesOnInMemory: settings.journalFailure == .continueInMemory,
      accessLog: settings.accessLog, at: view.at.rawValue, boot: reading.boot.rawValue,
      bootID: clock.bootID)
  }

  // MARK: Decisions

  /// A write takes effect in the first step of its task in which there is an event.
  private func decide(_ caller: Caller, _ look: Look) throws(SimulationFailure) {
    guard caller.action.isWrite, caller.decision == nil, look.hasAdvanced else { return }
    var decision = Caller.Decision(sequence: look.after.sequence, expected: nil)
    switch caller.action {
    case .set(let key, let byteCount, let memoryTTL, let storeTTL, _):
      let name = SimulationPlan.key(key)
      guard let front = look.after.entries.first, front.key.elementsEqual(name.utf8),
        front.origin.rawValue > look.before.sequence
      else {
        throw failure("lost update", "\(name) was set, and is not at the front")
      }
      decision.sequence = front.origin.rawValue
      decision.expected = .sequence(decision.sequence)
      model.set(
        name, Caller.value(caller.number, byteCount: byteCount), ttl: (memoryTTL, storeTTL),
        origin: decision.sequence, at: look.at)
    case .invalidate(let key, _):
      decision.expected = .flag(model.invalidate(SimulationPlan.key(key), at: look.at))
    case .clear(let prefix, _):
      decision.expected = .counts(
        model.clear(SimulationPlan.prefixes[prefix], at: look.at))
    default: preconditionFailure("no write")
    }
    caller.decision = decision
  }

  // MARK: State

  /// Limits, counts, contents, order, expiries: all that the model knows.
  func checkState(_ look: Look) throws(SimulationFailure) {
    let view = look.after
    try checkProgress(look)
    guard !session.isClosing || view.isOpen else { return }
    try checkLimits(view)
    try compare(view.entries)
  }

  private func checkProgress(_ look: Look) throws(SimulationFailure) {
    let view = look.after
    guard view.durable <= view.written || settings.journalFailure == .continueInMemory,
      view.durable <= view.sequence, view.durable >= look.before.durable
    else {
      throw failure(
        "progress", "durable \(view.durable), written \(view.written), last \(view.sequence)")
    }
    guard let mark = store.mark, settings.usesStore else { return }
    guard mark.applied.rawValue <= view.durable || mark.journalID.isNobody else {
      throw failure(
        "store ahead", "the store has event \(mark.applied), durable is \(view.durable)")
    }
  }

  /// INV017
  func checkLimits(_ view: CacheView) throws(SimulationFailure) {
    let limits = model.limits
    for (tier, limit, count, bytes) in [
      (Tier.memory, limits.memory, view.residents.memory, view.bytes.memory),
      (
        .store, limits.store ?? TierLimit(entryCountMax: 0), view.residents.store,
        view.bytes.store
      ),
    ] {
      guard UInt64(count) <= limit.entryCountMax, UInt64(bytes) <= limit.byteCountMax ?? .max else {
        throw failure("limit", "\(tier) holds \(count) entries and \(bytes) bytes of \(limit)")
      }
    }
  }

  /// Everything that isn't past its expiry, in its order.
  func compare(_ images: [EntryImage], inOrder: Bool = true) throws(SimulationFailure) {
    // What expires within the bracket may be there or not. The model keeps what has: a recovery
    // may go back to the time of an event.
    let most = time.now.most
    func live(_ expiry: Int64?) -> Int64? { expiry.flatMap { $0 > most ? $0 : nil } }
    var found = images.compactMap { image -> NapkinModel.Known? in
      NapkinModel.Known(
        key: String(decoding: image.key, as: UTF8.self), origin: image.origin.rawValue,
        valueHash: image.valueHash, memoryExpiry: live(image.memoryExpiry?.rawValue),
        storeExpiry: live(image.storeExpiry?.rawValue))
    }
    var expected = model.entries.compactMap { entry -> NapkinModel.Known? in
      NapkinModel.Known(
        key: entry.key, origin: entry.origin, valueHash: XXH64.hash(Bytes(entry.value)),
        memoryExpiry: live(entry.memoryExpiry), storeExpiry: live(entry.storeExpiry))
    }
    if !inOrder {
      found.sort { $0.origin < $1.origin }
      expected.sort { $0.origin < $1.origin }
    }
    guard found == expected else {
      throw failure("contents", "the cache holds \(found), and should hold \(expected)")
    }
  }
}

extension NapkinModel {
  /// An entry as both sides know it.
  struct Known: Equatable, CustomStringConvertible {
    var key: String
    var origin: UInt64
    var valueHash: UInt64
    var memoryExpiry: Int64?
    var storeExpiry: Int64?

    init?(
      key: String, origin: UInt64, valueHash: UInt64, memoryExpiry: Int64?, storeExpiry: Int64?
    ) {
      if memoryExpiry == nil, storeExpiry == nil { return nil }
      self.key = key
      self.origin = origin
      self.valueHash = valueHash
      self.memoryExpiry = memoryExpiry
      self.storeExpiry = storeExpiry
    }

    var description: String {
      let memory = memoryExpiry.map(String.init) ?? "–"
      let store = storeExpiry.map(String.init) ?? "–"
      return "\(key)@\(origin) until \(memory)/\(store)"
    }
  }
}

extension JournalID {
  /// The mark of a store whose reconciliation has not ended.
  var isNobody: Bool { high == 0 && low == 0 }
}
