import Hindsight
import HindsightCore

// Disks that lie, files that were damaged at rest, stores that were changed. Then less is promised:
// nothing stale, torn or invented is served, and what is there is a prefix or is refused.

extension Simulation {
  /// Does something to the files or the store while nobody has them open.
  func damage(_ kind: FaultKind) {
    if kind.category == .damage {
      guard let done = storage.damage(kind, injector) else { return }
      isDamaged = true
      return note("  damage: \(kind) of \(done)")
    }
    let older = oldStore
    oldStore = store.image()
    var random = SplitMix64(seed: injector.random())
    let other = kind == .storeReplaced ? oldStore?.ofAnotherCache(&random) : nil
    guard store.damage(kind, injector, older: older, other: other) else { return }
    isStoreDamaged = true
    storeWholeFrom = nil
    // A store that is ahead is taken for evidence that the journal has lost something.
    isDamaged = true
  }

  /// Whether the disk has lied meanwhile.
  func noteLies() {
    if count(FaultKind.all(.lie)) > forgiven.lies { isDamaged = true }
    // A database that says so is put aside, with what only it had.
    if count(Self.storeErrors) > forgiven.storeErrors {
      isStoreDamaged = true
      storeWholeFrom = nil
    }
    guard let from = storeWholeFrom, store.syncedMark?.applied.rawValue ?? 0 >= from else { return }
    note("the store is whole again")
    (isStoreDamaged, storeWholeFrom) = (false, nil)
  }

  private static let storeErrors: [FaultKind] = [.storeCorrupt, .storeNotADatabase]

  private func count(_ kinds: [FaultKind]) -> Int { kinds.reduce(0) { $0 + injector.count($1) } }

  /// After a loss of power, what is there is all there is: what the disk has lied about can't vanish later. What the
  /// store has not synced of a comparison's repairs may be gone; its mark doesn't tell.
  func forgiveLies() {
    noteLies()
    storeWholeFrom = nil
    forgiven.lies = count(FaultKind.all(.lie))
  }

  /// An opening has made the store the journal's projection again.
  func noteStore(_ outcome: RecoverySummary.Store, at sequence: UInt64) {
    guard outcome == .reconciled || outcome == .rebuilt else { return }
    guard isStoreDamaged else { return }
    forgiven.storeErrors = count(Self.storeErrors)
    storeWholeFrom = sequence
  }

  /// A damaged journal may be refused; nothing is changed then, and a salvage opens it.
  /// - Parameter before: the files as they were.
  func isRightlyRefused(
    _ error: CacheError, _ before: [[UInt8]]
  ) throws(SimulationFailure) -> Bool {
    noteLies()
    guard error.code == .journalCorrupt else { return false }
    guard isDamaged, !salvages else {
      throw failure("refused", "what nobody has damaged is refused: \(error)")
    }
    // Where there are none any more, somebody has deleted the directory meanwhile.
    guard before == journalFiles || before.isEmpty || journalFiles.isEmpty else {
      throw failure("refused", "an opening that was refused has changed files: \(error)")
    }
    note("  refused: \(error.message)")
    salvages = true
    return true
  }

  /// An opening has left a whole journal, whatever damage has cost before: from here on it promises everything
  /// again. What a disk has lied about may still vanish with the power.
  func noteWholeAgain(at sequence: UInt64) {
    guard isDamaged else { return }
    // Beside a writer, damage at the end passes for a frame that isn't written yet.
    let result = verify()
    guard result.problems.isEmpty, result.lastSequence == sequence else { return }
    // Without a store, an opening that can't read the mark doesn't see that it is ahead; another does.
    if let mark = store.mark, mark.applied.rawValue > sequence { return }
    isDamaged = false
    noteLies()
    note("  whole again: \(!isDamaged)")
  }

  /// Segments and checkpoints as they are.
  var journalFiles: [[UInt8]] {
    storage.names.filter { $0.hasSuffix(".journal") || $0.hasSuffix(".checkpoint") }
      .map { storage.bytes(of: $0) ?? [] }
  }

  /// A recovery that has lost values says how many; which, its contents tell.
  func loseWhatIsNotThere(_ view: CacheView) {
    for entry in model.entries {
      let image = view.entries.first { $0.origin.rawValue == entry.origin }
      if entry.memoryExpiry != nil, image?.memoryExpiry == nil { model.lose(entry.key, .memory) }
      if entry.storeExpiry != nil, image?.storeExpiry == nil { model.lose(entry.key, .store) }
    }
  }

  /// A row that isn't there, or not what it was, is a miss, and the entry has left the store.
  /// - Returns: whether that is what has happened.
  func isLoss(_ reply: Reply, _ key: String, _ look: Look) -> Bool {
    guard isStoreDamaged || isDamaged, reply == .value(nil) || reply == .miss(.lost),
      let entry = model.entries.first(where: { $0.key == key }),
      look.hasAdvanced || !look.before.canRecord
    else { return false }
    let image = look.after.entries.first { $0.origin.rawValue == entry.origin }
    if image?.storeExpiry == nil { model.lose(key, .store) }
    return true
  }
}
