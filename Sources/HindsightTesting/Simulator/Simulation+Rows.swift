import Hindsight
import HindsightCore
import HindsightJournal
import HindsightStore

// Without a journal: what the store has committed is all that is left of a process.

extension Simulation {
  /// The rows that an opening finds.
  var rows: [StoredRow] { settings.usesStore ? store.rows : [] }

  private var lastStored: UInt64 {
    settings.usesStore ? store.mark?.applied.rawValue ?? 0 : 0
  }

  /// What the store has must be the store tier as of one event, and not of an earlier one than was
  /// promised: a settle that was answered survives the process, a close the machine's power, too.
  /// - Returns: that event.
  func lookAtRows() throws(SimulationFailure) -> UInt64 {
    let applied = lastStored
    note("the store has event \(applied), \(rows.count) rows")
    noteLies()
    guard settings.usesStore, !isStoreDamaged else { return applied }
    guard applied >= expected else {
      throw failure("durability", "\(expected) must be there, and the store has \(applied)")
    }
    guard let snapshot = history[applied] else {
      throw failure("prefix", "\(applied) is not where a step ended")
    }
    let states =
      [(applied, snapshot.model, snapshot.at)] + openedRows.filter { $0.sequence == applied }
    // What had expired then may have its row yet. And time may have gone back since: only a journal
    // tells what has passed while a wall clock was set back.
    let isOneOf = states.contains { _, model, at in
      let most = max(time.now.most, at)
      return model.rows(after: most) == rows.filter { $0.expiry.rawValue > most }.map(Self.entry)
    }
    guard isOneOf else {
      throw failure(
        "contents", "the store holds \(rows.map(Self.entry)), and should hold \(snapshot.model)")
    }
    return applied
  }

  /// With a journal: whatever row is there belongs to the store tier as of the store's mark. Some may be
  /// missing, which the next clear removes; what has expired by then may be there yet.
  func lookForStrayRows() throws(SimulationFailure) {
    // Rows whose mark is nobody's (0), or of a journal that a salvage has replaced, are compared one by one when
    // a cache opens.
    guard settings.usesStore, !isStoreDamaged, !isDamaged, lastStored > 0, isMarkOfJournal,
      let snapshot = history[lastStored]
    else { return }
    let known = Set(snapshot.model.entries.map(\.origin))
    let most = max(time.now.most, snapshot.at)
    let stray = rows.filter { $0.expiry.rawValue > most && !known.contains($0.origin.rawValue) }
    guard stray.isEmpty else {
      throw failure("rows", "as of \(lastStored) the store has \(stray.map(Self.entry)), too")
    }
  }

  private var isMarkOfJournal: Bool {
    do throws(DamageError) {
      return try JournalDirectory(storage, forWriting: false).journalID == store.mark?.journalID
    } catch {
      return false  // The opening will say what it makes of that.
    }
  }

  /// The cache is open: it holds the rows, the last set as the most recent, as far as they fit.
  func recoveredFromRows(
    _ view: CacheView, _ attempt: Attempt
  ) throws(SimulationFailure) {
    let at = view.at.rawValue
    let applied = lastStored
    let told = attempt.least
    var attempt = attempt
    // A database that is damaged is put aside, with the times in it.
    if isStoreDamaged { attempt.least = attempt.wall }
    // Rows may come back that were set before time went back, and tell it.
    try checkTime(ofOpening: at, attempt, told: told)
    model = NapkinModel(limits: settings.limits)
    for row in rows.reversed() { model.restore(Self.entry(row)) }
    history = history.filter { $0.key <= applied }
    model.expire(at)
    // Until the store has more, it has this, or what it had before.
    openedRows = openedRows.filter { $0.sequence <= applied } + [(applied, model, at)]
    try checkLimits(view)
    try compare(view.entries)
    requiredOfStore.committed = min(requiredOfStore.committed, applied)
    remember(view)
  }

  /// An opening without a journal has failed: it may have taken away already what its limits have no room for.
  func noteFailedOpening(_ rowsBefore: [StoredRow], _ attempt: Attempt) {
    guard !settings.usesJournal, settings.usesStore else { return }
    var left = NapkinModel(limits: settings.limits)
    for row in rowsBefore.reversed() { left.restore(Self.entry(row)) }
    openedRows.append((lastStored, left, attempt.least))
  }

  private static func entry(_ row: StoredRow) -> NapkinModel.Entry {
    NapkinModel.Entry(
      key: String(decoding: row.key, as: UTF8.self), value: Array(row.value),
      origin: row.origin.rawValue, storeExpiry: row.expiry.rawValue)
  }
}

extension NapkinModel {
  /// What the store has of it, in the order of the sets, but for what has expired.
  fileprivate func rows(after now: Int64) -> [Entry] {
    entries.filter { $0.storeExpiry ?? 0 > now }.sorted { $0.origin < $1.origin }
      .map { entry in
        var entry = entry
        entry.memoryExpiry = nil
        return entry
      }
  }
}
