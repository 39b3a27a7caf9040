import HindsightCore
import HindsightJournal

/// Replays all that is left of a journal: where something is damaged, it goes on from the next whole
/// checkpoint behind it.
struct CrossingReplay {
  let directory: JournalDirectory
  /// What is wrong with segments that are no part of it.
  let directoryDamage: [DamageError]
  private let storage: any JournalStorage
  /// Whether a writer is at work: what stands at the end is then simply the end.
  private let isLive: Bool

  /// - Throws: `DamageError.storage` where something can't be read.
  init(_ storage: any JournalStorage, isLive: Bool) throws(DamageError) {
    (self.storage, self.isLive) = (storage, isLive)
    var damage: [DamageError] = []
    directory = try JournalDirectory(reading: storage, damage: &damage)
    directoryDamage = damage
  }

  /// - Parameters:
  ///   - whole: up to where the whole checkpoints reach; `nil` where that isn't known.
  ///   - part: is told where each part ended, and what is wrong there; `nil`: nothing. It says
  ///     whether to go on behind that.
  /// - Throws: `DamageError` where nothing can be replayed, or something can't be read.
  func run(
    into sink: any ReplaySink, whole: [SequenceNumber]? = nil,
    part: (ReplayEnd, Verification.Problem?) throws(DamageError) -> Bool
  ) throws(DamageError) {
    if directory.isEmpty, !directory.checkpoints.isEmpty {
      if directoryDamage.isEmpty { throw JournalDirectory.lacksSegments }
      return
    }
    var start = ReplayStart.oldest
    var previous: Verification.Problem?
    while true {
      let end: ReplayEnd
      do throws(DamageError) {
        end = try JournalReplay(directory).run(from: start, stopsAtDamage: true, into: sink)
      } catch {
        // No checkpoint leads behind the damage.
        if case .after = start, error.storageFailure == nil { return }
        throw error
      }
      // What is missing at the end is so behind the checkpoint, too, that leads across it. And one that
      // leads to the same damage again without a frame in between leads across nothing.
      let found = try self.problem(end)
      let isStuck = end.frameCount == 0 && areAtOnePlace(found, previous)
      let problem = isStuck || found == previous ? nil : found
      previous = found
      guard try part(end, problem), problem != nil else { return }
      if let whole, !whole.contains(where: { $0 > end.last }) { return }
      start = .after(end.last)
    }
  }

  /// What is wrong where a part ended.
  private func problem(_ end: ReplayEnd) throws(DamageError) -> Verification.Problem? {
    if let damage = end.damage { return Verification.Problem(damage) }
    guard !isLive, let loss = try directory.loss(behind: end), try !hasWriter() else { return nil }
    return Verification.Problem(file: loss.file, offset: loss.offset, message: loss.message)
  }

  private func areAtOnePlace(
    _ one: Verification.Problem?, _ other: Verification.Problem?
  ) -> Bool {
    guard let one, let other, let offset = one.offset else { return false }
    return one.file == other.file && offset == other.offset
  }

  /// What stands behind the last good frame, where nothing proves that it had been durable.
  func torn(_ end: ReplayEnd) throws(DamageError) -> Verification.Problem? {
    guard case .bad(let error) = end.tail, !isLive, try !hasWriter() else { return nil }
    return Verification.Problem(
      file: end.position.segmentName, offset: end.position.byteOffset,
      message: "after event \(end.last): \(error)")
  }

  /// A writer that has come since may have written what seems to be missing.
  private func hasWriter() throws(DamageError) -> Bool {
    try DamageError.wrap { () throws(StorageError) in try storage.isLocked() }
  }
}
