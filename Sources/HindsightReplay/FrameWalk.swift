import HindsightCore
import HindsightJournal

/// Checks frames that no checkpoint leads to: there is no state to apply their events to, but checksums,
/// sequences and time hold all the same.
final class FrameWalk: ReplaySink {
  private let places: CheckpointPlaces
  private var budget: ReplayBudget
  private var order = EventOrder(sequence: .zero, at: .zero)

  init(_ limits: ReplayLimits, _ places: CheckpointPlaces) {
    (budget, self.places) = (ReplayBudget(limits), places)
  }

  /// Walks from the journal's beginning up to what a replay from a checkpoint begins with.
  /// - Parameters:
  ///   - last: the checkpoint's last event.
  ///   - problem: is told what is wrong.
  /// - Throws: `DamageError` where something can't be read.
  func run(
    _ directory: JournalDirectory, through last: SequenceNumber,
    problem: (Verification.Problem) -> Void
  ) throws(DamageError) {
    var next: UInt32 = 0
    var previous: Verification.Problem?
    for number in directory.segmentNumbers where number >= next {
      let end = try JournalReplay(directory).run(fromSegment: number, through: last, into: self)
      places.partEnded(end)
      if end.last >= last { return }
      if let found = try self.problem(end, directory), found != previous {
        problem(found)
        previous = found
      }
      if end.isBeyondLimits { return }
      // Behind damage, the next segment's beginning is where something is known again.
      next = max(number, end.position.segment) + 1
    }
  }

  private func problem(
    _ end: ReplayEnd, _ directory: JournalDirectory
  ) throws(DamageError) -> Verification.Problem? {
    if let damage = end.damage { return Verification.Problem(damage) }
    return try directory.loss(behind: end)
      .map { Verification.Problem(file: $0.file, offset: $0.offset, message: $0.message) }
  }

  // MARK: ReplaySink

  func begin() {}
  func spend(_ work: ReplayWork) throws(StateError) { try budget.spend(work) }
  func restore(_ head: StateHead) {
    order = EventOrder(sequence: head.sequence, at: head.at)
  }
  var takesEntries: Bool { false }
  var hashSeed: UInt64 { 0 }
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) throws(StateError) {}
  func finishRestore(digest: UInt64) throws(StateError) {}

  func apply(_ record: Record) throws(StateError) {
    try order.check(record)
    (order.sequence, order.at) = (record.sequence, record.at)
  }

  var takesLentSets: Bool { true }
  func apply(_ set: LentSet) throws(StateError) {
    try order.check(set.fact.sequence, set.fact.at, needsOpen: true)
    (order.sequence, order.at) = (set.fact.sequence, set.fact.at)
  }

  func endFrame(at position: JournalPosition) {}
  func endFrame(at position: JournalPosition, headerChecksum: UInt32) {
    places.frameEnded(with: order.sequence, at: position, headerChecksum: headerChecksum)
  }
}
