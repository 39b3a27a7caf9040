import Hindsight
import HindsightCore

// What an operation answered, held against what it may answer.

extension Simulation {
  func check(_ reply: Reply, of caller: Caller, _ look: Look) throws(SimulationFailure) {
    if case .failed(let code, let message) = reply {
      return try checkFailure(code, message, caller, look)
    }
    switch caller.action {
    case .set, .invalidate, .clear:
      guard let decision = caller.decision, decision.expected == reply else {
        throw failure(
          "answer",
          "\(caller.action) said \(reply.summary) instead of "
            + "\(caller.decision?.expected?.summary ?? "nothing: it never took effect")")
      }
      try acknowledged(decision.sequence, caller, look)
    case .flush, .settle:
      guard case .sequence(let sequence) = reply, sequence <= look.after.sequence else {
        throw failure("answer", "\(caller.action) said \(reply.summary)")
      }
      try acknowledged(sequence, caller, look)
      if caller.action == .settle, settings.usesStore {
        let applied = store.mark?.applied.rawValue ?? 0
        // Rows in which a lookup has met damage are there, and marked as nobody's.
        let damageCount = injector.count(.storeCorrupt) + injector.count(.storeNotADatabase)
        guard applied >= sequence || (applied == 0 && damageCount > 0) else {
          throw failure("settle", "the store has \(applied) of \(sequence)")
        }
      }
      if caller.action == .settle, settings.usesStore {
        requiredOfStore.committed = max(requiredOfStore.committed, sequence)
      }
    case .get(let key), .lookup(let key), .memoryValue(let key), .contains(let key):
      try checkRead(reply, SimulationPlan.key(key), caller.action, look)
    default: break
    }
  }

  /// What was acknowledged has to be there after the next crash.
  private func acknowledged(
    _ sequence: UInt64, _ caller: Caller, _ look: Look
  ) throws(SimulationFailure) {
    switch caller.action.level {
    case .durable?:
      guard look.after.durable >= sequence else {
        throw failure(
          "acknowledgement", "\(sequence) is said to be durable, and \(look.after.durable) is")
      }
      required.durable = max(required.durable, sequence)
    case .written?:
      if look.after.written < sequence {
        // It was answered while that was so, and a sync has failed since: the process alone has it.
        // Or in memory only, as configured: then `.written` promises no more than `.enqueued`.
        guard caller.mostWritten >= sequence || settings.journalFailure == .continueInMemory else {
          throw failure(
            "acknowledgement", "\(sequence) is said to be written, and \(look.after.written) is")
        }
        return
      }
      required.written = max(required.written, sequence)
    default: break
    }
  }

  private func checkFailure(
    _ code: CacheError.Code, _ message: String, _ caller: Caller, _ look: Look
  ) throws(SimulationFailure) {
    let problem = failure("error", "\(caller.action) failed: \(code.rawValue): \(message)")
    if caller.action.isWrite {
      if code == .outcomeUnknown { counts.unknown += 1 } else { counts.refused += 1 }
      // `.outcomeUnknown` says that it is in force; everything else that nothing has happened.
      guard (code == .outcomeUnknown) == (caller.decision != nil) else { throw problem }
    }
    let hasFault =
      failedCallCount > caller.failedCallCount || caller.hasSeenTrouble || isDamaged
      || isStoreDamaged || injector.isPowerOut
    switch code {
    case .outcomeUnknown:
      guard caller.isCancelled || session.isClosing || hasFault else { throw problem }
    case .cancelled: guard caller.isCancelled else { throw problem }
    case .closed: guard session.isClosing else { throw problem }
    case .backpressure: guard settings.backpressure == .fail else { throw problem }
    case .outOfSpace, .journalUnavailable, .system, .storeUnavailable:
      guard hasFault else { throw problem }
    case .invalidValue:
      guard case .set(let key, let byteCount, _, _, _) = caller.action,
        !model.fits(SimulationPlan.key(key), byteCount: byteCount)
      else { throw problem }
    default: throw problem
    }
  }

  /// So many calls of storage and store didn't do what they should.
  var failedCallCount: Int {
    injector.counts.reduce(0) { $0 + ($1.kind.failsCall ? $1.count : 0) }
  }

  // MARK: Reads

  /// INV016, and that the answer is the latest value that was set.
  private func checkRead(
    _ reply: Reply, _ key: String, _ action: SimulationPlan.Action, _ look: Look
  ) throws(SimulationFailure) {
    let allowed = model.answers(key, between: look.least, and: look.most)
    if isUndecodable(reply, key, look) { return }
    // While it closes, the synchronous ones know of nothing.
    if !look.after.isOpen, reply == .flag(false) || reply == .value(nil) { return }
    if isLoss(reply, key, look) { return }
    func isAllowed(_ test: (NapkinModel.Answer) -> Bool) throws(SimulationFailure) {
      guard !allowed.contains(where: test) else { return }
      throw failure(
        "stale or lost", "\(action) said \(reply.summary), and may say \(allowed.map(\.summary))")
    }
    switch (action, reply) {
    case (.contains, .flag(let isThere)): return try isAllowed { ($0 != .miss) == isThere }
    case (.memoryValue, .value(let value)):
      try isAllowed { answer in
        guard case .hit(.memory, let entry) = answer else { return value == nil }
        return entry.value == value
      }
      if value != nil { model.use(key) }
    case (_, .value(let value)):
      try isAllowed { $0.value == value }
      if value == nil {
        counts.misses += 1
      } else {
        noteHit(key, in: allowed.compactMap(\.tier), look)
      }
    case (_, .hit(let tier, let origin, let value, let expiresIn)):
      try isAllowed { answer in
        guard case .hit(tier, let entry) = answer else { return false }
        return entry.origin == origin && entry.value == value && expiresIn > 0
          && expiresIn <= entry.expiry(tier)! - look.least
      }
      noteHit(key, in: [tier], look)
    case (_, .miss):
      try isAllowed { $0 == .miss }
      counts.misses += 1
    default: throw failure("answer", "\(action) said \(reply.summary)")
    }
  }

  /// A value that doesn't decode is a miss, and is invalidated unless that can't be recorded. What
  /// this process has set is in memory as it was.
  /// - Returns: whether that is what has happened.
  private func isUndecodable(_ reply: Reply, _ key: String, _ look: Look) -> Bool {
    guard reply == .value(nil) || reply == .miss(.invalidated),
      let entry = model.entries.first(where: { $0.key == key }), !settings.decodes(entry.value)
    else { return false }
    if look.after.entries.contains(where: { $0.origin.rawValue == entry.origin }) {
      return !look.before.canRecord
    }
    _ = model.invalidate(key, at: look.at)
    counts.undecodable += 1
    return true
  }

  /// A hit moves the entry to the front; from the store, into memory. While the journal can't be
  /// written it may leave the store's as they are: a read never waits for it.
  /// - Parameter tiers: which may have answered.
  private func noteHit(_ key: String, in tiers: [Tier], _ look: Look) {
    counts.hits += 1
    if isMemoryHit(key, in: tiers, look) { return model.use(key) }
    let image = look.after.entries.first { $0.key.elementsEqual(key.utf8) }
    let isResident = image?.memoryExpiry.map { $0.rawValue > look.at } ?? false
    if look.before.canRecord || look.hasAdvanced && isResident {
      model.promote(key, at: look.at)
    } else if settings.accessLog == .lookups {
      model.use(key)
    }
  }

  /// Where it expires in memory within the bracket, and no event tells the time, what was seen does:
  /// a memory hit moves the entry, and a store hit that can be recorded has an event.
  private func isMemoryHit(_ key: String, in tiers: [Tier], _ look: Look) -> Bool {
    guard tiers.contains(.store) else { return true }
    guard tiers.contains(.memory) else { return false }
    if look.hasAdvanced { return model.answer(key, at: look.at).tier == .memory }
    return look.before.canRecord
      || look.after.entries.first?.key.elementsEqual(key.utf8) ?? false
  }
}

extension NapkinModel.Answer {
  var value: [UInt8]? {
    if case .hit(_, let entry) = self { entry.value } else { nil }
  }

  var tier: Tier? {
    if case .hit(let tier, _) = self { tier } else { nil }
  }

  var summary: String {
    switch self {
    case .hit(let tier, let entry): "\(tier) hit \(entry.origin)"
    case .miss: "miss"
    }
  }
}

extension Reply {
  /// In a few words, without the bytes of values.
  var summary: String {
    switch self {
    case .sequence(let sequence): "event \(sequence)"
    case .value(let value): value.map { "\($0.count) bytes, \(XXH64.hash(Bytes($0)))" } ?? "nothing"
    case .hit(let tier, let origin, _, let expiresIn):
      "\(tier) hit \(origin), \(expiresIn) µs left"
    case .miss(let reason): "miss (\(reason.rawValue))"
    case .flag(let flag): "\(flag)"
    case .counts(let counts): "\(counts.memory)/\(counts.store)"
    case .number(let number): "\(number)"
    case .done: "done"
    case .failed(let code, _): code.rawValue
    }
  }
}
