import HindsightCore
import HindsightJournal

/// Applies every event, and resolves origins to keys on the way, where somebody reads them.
final class ResolvingSink: ReplaySink {
  /// Who reads what is replayed.
  struct Reader {
    /// Is given every event, and says whether to go on.
    var event: (ResolvedEvent) -> Bool
    /// Is given the state of each checkpoint that the replay begins with, or goes on from.
    var restored: (borrowing CacheState) -> Void = { _ in }
  }

  private var state = CacheState(hashSeed: .random(in: 0 ... .max))
  private var effects: [Effect] = []
  private var budget: ReplayBudget
  private let reader: Reader?
  /// Whether a checkpoint's state is whole that its reader wasn't told of. Nobody is until something follows, or
  /// the replay ends there: it may begin again, since retention is at work.
  private var hasUntoldRestore = false
  /// Whether its reader was told anything.
  private(set) var hasTold = false
  /// Whether its reader has ended the replay.
  private(set) var isStopped = false
  var digest: UInt64 { state.digest }

  /// - Parameter reader: `nil`: only the state is wanted, and no key is looked up.
  init(_ limits: ReplayLimits, _ reader: Reader? = nil) {
    (budget, self.reader) = (ReplayBudget(limits), reader)
  }

  func begin() {
    state = CacheState(hashSeed: .random(in: 0 ... .max))
    hasUntoldRestore = false
  }
  func restore(_ head: StateHead) {
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
    hasUntoldRestore = true
  }
  func endFrame(at position: JournalPosition) {}

  func apply(_ record: Record) throws(StateError) {
    try budget.spend(record.event, state)
    tellRestored()
    let resolved = reader.map { _ in resolve(record) }
    effects.removeOneByOne()
    try state.apply(record, into: &effects)
    guard let reader, let resolved else { return }
    hasTold = true
    guard reader.event(resolved) else {
      isStopped = true
      throw .beyondLimits("the reader wants no more events")
    }
  }

  /// Tells of the checkpoint that was restored last, unless that was done.
  func tellRestored() {
    guard hasUntoldRestore, let reader else { return }
    (hasUntoldRestore, hasTold) = (false, true)
    reader.restored(state)
  }

  private func resolve(_ record: Record) -> ResolvedEvent {
    switch record.event {
    case .set(let set): ResolvedEvent(record: record, key: set.key)
    case .invalidated(let it): ResolvedEvent(record: record, key: key(it.subject))
    case .lookedUp(let subject, _): ResolvedEvent(record: record, key: key(subject))
    case .expired(let origin, _), .evicted(let origin, _, _), .promoted(let origin, _):
      ResolvedEvent(record: record, key: key(.origin(origin)))
    case .touched(let origins):
      ResolvedEvent(record: record, key: nil, touchedKeys: keys(origins))
    case .opened, .closed, .cleared, .recovered, .gap: ResolvedEvent(record: record, key: nil)
    }
  }

  private func key(_ subject: LookupSubject) -> Bytes? {
    switch subject {
    case .key(let key): key
    case .origin(let origin): state.find(origin: origin).map { state.image(of: $0).key }
    }
  }

  /// The keys of these entries, each where it is mentioned last. A few bytes of a stranger's journal can mention
  /// one entry millions of times.
  private func keys(_ origins: [SequenceNumber]) -> [Bytes] {
    var (keys, seen): ([Bytes], Set<SequenceNumber>) = ([], [])
    for origin in origins.reversed() where !seen.contains(origin) {
      guard let key = key(.origin(origin)) else { continue }
      seen.insert(origin)
      keys.append(key)
    }
    return keys.reversed()
  }
}
