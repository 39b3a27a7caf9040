import HindsightCore
import HindsightJournal

/// Applies every event and counts what was checked on the way. The checks themselves are the state
/// machine's own: an event that breaks an invariant doesn't get in.
final class VerifyingSink: ReplaySink {
  private var state = CacheState(hashSeed: .random(in: 0 ... .max))
  private var effects: [Effect] = []
  private var budget: ReplayBudget
  /// The whole checkpoints.
  private let places: CheckpointPlaces
  private let applied: SequenceNumber?
  private let progress: (Int) -> Void
  private var events = 0
  private var ttlChecks = 0
  private var limitChecks = 0
  private var replayedCheckpoints: Set<SequenceNumber> = []
  private var first: SequenceNumber?
  /// The store residents as of the store's applied sequence; `nil` where that was not reached.
  private(set) var projection: [SequenceNumber: EntryImage]?
  /// Rows that are deleted before the next one is inserted: the deletes at a decision's beginning may be
  /// committed before it is applied as a whole, and what has no rows isn't counted as applied.
  private(set) var mayBeGone: Set<SequenceNumber> = []
  private var isRightBehind = false
  /// Whether that lies within events that were never journaled.
  private(set) var isAppliedInGap = false
  /// Up to where the checkpoint reaches that leads across the last damage.
  private(set) var damagedThrough: SequenceNumber?
  private var isCrossing = false
  /// Whether a restore was begun and not ended, or an event didn't get in: the state is none then.
  private var isVoid = false
  /// The digest as of the last event, where a new part of the replay has begun since without one.
  private var lastDigest: UInt64?

  init(
    limits: ReplayLimits, places: CheckpointPlaces, applied: SequenceNumber?,
    progress: @escaping (Int) -> Void
  ) {
    budget = ReplayBudget(limits)
    self.places = places
    self.applied = applied
    self.progress = progress
  }

  /// What comes next begins behind damage.
  func cross() { isCrossing = true }

  /// The last event that is in, where that is known.
  var last: SequenceNumber { isVoid ? .zero : state.head.sequence }

  /// How the cache was last opened, where that is known.
  var opened: Opened? { isVoid ? nil : state.head.opened }

  /// The digest as of the last whole frame; `nil` where there is none, or it is lost.
  var digest: UInt64? { !isVoid && state.head.sequence > .zero ? state.digest : lastDigest }

  func begin() {
    lastDigest = digest
    isVoid = false
    state = CacheState(hashSeed: .random(in: 0 ... .max))
    captureProjection()  // A store that has applied nothing yet is empty.
  }

  func restore(_ head: StateHead) {
    isVoid = true
    state.restore(head)
  }

  var hashSeed: UInt64 { state.hashSeed }
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) throws(StateError) {
    try budget.spendEntry(state)
    try state.restore(image)
  }

  func spend(_ work: ReplayWork) throws(StateError) { try budget.spend(work) }

  func finishRestore(digest: UInt64) throws(StateError) {
    try state.finishRestore(digest: digest)
    (isVoid, lastDigest) = (false, nil)
    if isCrossing { damagedThrough = state.head.sequence }
    isCrossing = false
    captureProjection()
  }

  func apply(_ record: Record) throws(StateError) {
    try budget.spend(record.event, state)
    effects.removeOneByOne()
    isVoid = true
    try state.apply(record, into: &effects)
    isVoid = false
    if record.event.isHeldAgainstTTL { ttlChecks += 1 }
    limitChecks += record.event.limitCheckCount
    note(record.sequence)
    if case .gap(let gap) = record.event, let applied, (gap.first...gap.last).contains(applied) {
      isAppliedInGap = true
    }
  }

  var takesLentSets: Bool { true }

  func apply(_ set: LentSet) throws(StateError) {
    try budget.spend(nil, state)
    effects.removeOneByOne()
    isVoid = true
    try state.apply(set, into: &effects)
    isVoid = false
    limitChecks += residencyCount(set.fact.memoryExpiry, set.fact.storeExpiry)
    note(set.fact.sequence)
  }

  private func note(_ sequence: SequenceNumber) {
    first = first ?? sequence
    events += 1
    if replacesEntry { ttlChecks += 1 }
    if events % 10_000 == 0 { progress(events) }
    noteDeletes()
    captureProjection()
  }

  /// Whether a set replaced an entry, which must not have been past its expiry.
  private var replacesEntry: Bool {
    effects.contains { if case .removed(_, _, .replaced) = $0 { true } else { false } }
  }

  func endFrame(at position: JournalPosition) {}

  /// Checkpoints are taken at frames' ends.
  func endFrame(at position: JournalPosition, headerChecksum: UInt32) throws(StateError) {
    let last = state.head.sequence
    places.frameEnded(with: last, at: position, headerChecksum: headerChecksum)
    let digests = places.digests(at: last)
    guard !digests.isEmpty, !replayedCheckpoints.contains(last) else { return }
    for stated in digests { try state.check(digest: stated) }
    replayedCheckpoints.insert(last)
  }

  func report(into result: inout Verification) {
    result.events = events
    result.ttlChecks = ttlChecks
    result.limitChecks = limitChecks
    result.checkpointsReplayed = replayedCheckpoints.count
    result.damagedThrough = damagedThrough?.rawValue
    result.firstSequence = first?.rawValue ?? 0
    if !isVoid { state.checkInvariants() }
  }

  private func captureProjection() {
    guard let applied, state.head.sequence == applied else { return }
    var projection: [SequenceNumber: EntryImage] = [:]
    state.forEachSlot { slot in
      guard state.isResident(slot, in: .store) else { return }
      let image = state.image(of: slot)
      projection[image.origin] = image
    }
    self.projection = projection
    (isRightBehind, mayBeGone) = (true, [])
  }

  private func noteDeletes() {
    guard isRightBehind else { return }
    for effect in effects {
      switch effect {
      case .storeEnded(_, let origin, _): mayBeGone.insert(origin)
      // A cache that was capturing a checkpoint clears row by row.
      case .removedAll: if let projection { mayBeGone.formUnion(projection.keys) }
      case .inserted: isRightBehind = false
      default: break
      }
    }
  }
}

/// In how many tiers an entry is.
private func residencyCount(_ memoryExpiry: Timestamp?, _ storeExpiry: Timestamp?) -> Int {
  (memoryExpiry == nil ? 0 : 1) + (storeExpiry == nil ? 0 : 1)
}

extension Event {
  /// Whether the state machine held it against INV016. A set is, where it replaces an entry.
  fileprivate var isHeldAgainstTTL: Bool {
    switch self {
    case .promoted, .expired, .cleared: true
    case .evicted(_, _, let cause): cause == .limit
    case .lookedUp(_, let outcome): outcome != .miss
    case .invalidated(let it): if case .origin = it.subject { true } else { false }
    case .set, .opened, .closed, .touched, .recovered, .gap: false
    }
  }

  /// How many tiers the state machine held against their limits, INV017: those that it may have filled.
  fileprivate var limitCheckCount: Int {
    switch self {
    case .set(let set): residencyCount(set.memoryExpiry, set.storeExpiry)
    case .promoted: 1
    case .opened(let opened): opened.storeLimit == nil ? 1 : 2
    case .expired, .cleared, .evicted, .lookedUp, .invalidated, .closed, .touched, .recovered, .gap:
      0
    }
  }
}
