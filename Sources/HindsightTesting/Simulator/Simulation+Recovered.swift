import Hindsight
import HindsightCore

// The cache is open: does it hold what it should?

extension Simulation {
  /// The cache is open: what it holds must be what was there after an event that it came back to.
  func recovered(
    _ cache: Cache<[UInt8]>, _ replayed: UInt64, _ attempt: Attempt
  ) throws(SimulationFailure) {
    guard let view = session.probe?.view else { throw failure("open", "nothing is open") }
    let last = cache.recovery.lastSequence
    note("opened: \(cache.recovery.journal), after \(last), event \(view.sequence); \(settings)")
    guard settings.usesJournal else { return try recoveredFromRows(view, attempt) }
    counts.recoveries += cache.recovery.wasClean ? 0 : 1
    if isSalvageUntold || last < untoldBefore { return try recoveredFromUntold(view, attempt) }
    guard last == replayed || isDamaged,
      let snapshot = history[last] ?? leftByOpening(last) ?? leftByLostOpening(last, attempt)
    else {
      throw failure("recovery", "it comes back to \(last), and a replay to \(replayed)")
    }
    guard snapshot.isOrderTold || snapshot.goesOnInMemory || isDamaged else {
      throw failure("order", "it comes back to \(last), whose frame doesn't tell the order of use")
    }
    let lost = cache.recovery.lostValues
    // Memory may have had values that only a store has which is used no more.
    guard lost == 0 || isDamaged || isStoreDamaged || !settings.usesStore else {
      throw failure("lost value", "\(lost) values are lost")
    }
    noteStore(cache.recovery.store, at: view.sequence)
    let at = view.at.rawValue
    var attempt = attempt
    if isDamaged { attempt.least = snapshot.at }
    // More damage may bring back what was cut out.
    try checkTime(ofOpening: at, attempt, told: isDamaged ? cutOutAt : .min)
    let wasOrderKept = try model(from: snapshot, at: at, lost: lost, view)
    try checkLimits(view)
    try compare(view.entries, inOrder: wasOrderKept)
    guard view.durable == view.sequence else {
      throw failure("recovery", "opened, and only \(view.durable) of \(view.sequence) is durable")
    }
    required = (view.sequence, view.sequence)
    forget { $0 > last }
    remember(view)
    noteWholeAgain(at: view.sequence)
  }

  /// Drops the history of some events.
  func forget(_ isGone: (UInt64) -> Bool) {
    if isDamaged {
      let gone = history.filter { isGone($0.key) }.values
      cutOut += gone.flatMap(\.model.entries)
      cutOutAt = gone.map(\.at).reduce(cutOutAt, max)
    }
    history = history.filter { !isGone($0.key) }
  }

  /// The cache is open after a salvage of which nobody can tell what it came back to: all that it holds was set
  /// once.
  private func recoveredFromUntold(
    _ view: CacheView, _ attempt: Attempt
  ) throws(SimulationFailure) {
    isSalvageUntold = false
    untoldBefore = view.sequence
    var attempt = attempt
    attempt.least = min(attempt.least, view.at.rawValue)
    try checkTime(ofOpening: view.at.rawValue, attempt, told: isDamaged ? cutOutAt : .min)
    forget { _ in true }
    model = NapkinModel(limits: settings.limits)
    for image in view.entries {
      let key = String(decoding: image.key, as: UTF8.self)
      // Numbers that nobody was told of may have been used again.
      let set = cutOut.first {
        $0.key == key && $0.origin == image.origin.rawValue
          && XXH64.hash(Bytes($0.value)) == image.valueHash
      }
      guard var entry = set else {
        throw failure("contents", "\(key) of event \(image.origin) was never there")
      }
      (entry.memoryExpiry, entry.storeExpiry) = (
        image.memoryExpiry?.rawValue, image.storeExpiry?.rawValue
      )
      model.entries.append(entry)
    }
    try checkLimits(view)
    try compare(view.entries)
    required = (view.sequence, view.sequence)
    remember(view)
    noteWholeAgain(at: view.sequence)
  }

  /// - Parameter told: a time that what came back may tell, though it went back since.
  func checkTime(
    ofOpening at: Int64, _ attempt: Attempt, told: Int64 = .min
  ) throws(SimulationFailure) {
    let reading = clock.reading()
    time.observe(reading)
    let most = max(time.now.most, told)
    guard at >= attempt.least, at <= most else {
      throw failure("time", "reopened at \(at), and it is between \(attempt.least) and \(most)")
    }
    time = TimeBracket(low: attempt.least, high: most, reading)
    time.collapse(at: at, uncertainty: reading.boot.rawValue - attempt.boot)
  }

  /// - Returns: whether the order of use survives. If not, the product alone knows it, and with it
  ///   what had to leave.
  private func model(
    from snapshot: Snapshot, at: Int64, lost: Int, _ view: CacheView
  ) throws(SimulationFailure) -> Bool {
    model = snapshot.model
    if lost > 0 || snapshot.mayLack { loseWhatIsNotThere(view) }
    if snapshot.isOrderKnown {
      model.reopen(settings.limits, at: at)
      return true
    }
    let seen = view.entries.map { image -> NapkinModel.Seen in
      let live = (memory: live(image.memoryExpiry, at: at), store: live(image.storeExpiry, at: at))
      return (image.origin.rawValue, { $0 == .memory ? live.memory : live.store })
    }
    let isExplained = model.reopen(settings.limits, at: at, to: seen)
    guard isExplained else {
      throw failure("contents", "no order of use explains what has left: \(view.entries)")
    }
    let places = view.entries.map(\.origin.rawValue)
    model.entries.sort { a, b in
      (places.firstIndex(of: a.origin) ?? .max) < (places.firstIndex(of: b.origin) ?? .max)
    }
    return false
  }

  private func live(_ expiry: Timestamp?, at now: Int64) -> Bool {
    expiry.map { $0.rawValue > now } ?? false
  }
}
