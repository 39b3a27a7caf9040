import HindsightCore
import HindsightJournal
import HindsightStore

/// Takes in a replay: index, values, and what the store lacks.
final class RecoverySink: ReplaySink {
  let hashSeed: UInt64
  /// What the store has applied: later events become row operations.
  private let applied: SequenceNumber
  /// Whether what the store lacks is collected; if not, somebody gathers it afterwards.
  let collectsRows: Bool
  /// For a sink that gathers rows: so many at a time, and no values beside them.
  private let part: PartLimits?
  // Unchecked: one thread has the sink, and nothing that a method of it calls calls it back. Checked, each
  // use of a field in a class takes 80 instructions, an eighth of a replay's.
  @exclusivity(unchecked) private(set) var state: CacheState
  @exclusivity(unchecked) private(set) var projection: Projection
  @exclusivity(unchecked) private var effects: [Effect] = []
  /// Sets of the frame under way whose values memory is to have, if it still is to at the frame's end: most
  /// are gone by then where a frame is large.
  @exclusivity(unchecked) private var fresh: [(slot: Slot, set: LentSet)] = []
  /// What reading ahead came to: of no meaning.
  private var read: UInt32 = 0

  init(
    hashSeed: UInt64, applied: SequenceNumber, collectsRows: Bool = true, part: PartLimits? = nil
  ) {
    self.hashSeed = hashSeed
    self.applied = applied
    self.collectsRows = collectsRows
    self.part = part
    state = CacheState(hashSeed: hashSeed)
    projection = Projection(applied: applied)
  }

  deinit { state.releasePayloads() }

  func begin() {
    state.releasePayloads()
    state = CacheState(hashSeed: hashSeed)
    fresh = []
    projection = Projection(applied: applied)
  }

  func restore(_ head: StateHead) {
    state.restore(head)
  }

  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) throws(StateError) {
    let slot = try state.restore(image)
    let isInMemory = image.numbers.memoryExpiry != nil
    guard !isInMemory || value != nil else { throw .impossibleResidency(image.numbers.origin) }
    // A checkpoint may have more values than are needed here.
    guard part == nil, isInMemory else { return }
    if let value { state.give(ValueWord(Payload(bytes: Array(value), isPinned: false)), to: slot) }
  }

  func willRestore(_ filings: borrowing Span<Filing>) { read = state.readAhead(filings) }

  func finishRestore(digest: UInt64, computed: UInt64?) throws(StateError) {
    guard let computed else { return try finishRestore(digest: digest) }
    try state.finishRestore(digest: digest, computed: computed)
  }

  func finishRestore(digest: UInt64) throws(StateError) {
    try state.finishRestore(digest: digest)
  }

  func apply(_ record: Record) throws(StateError) {
    effects.removeOneByOne()
    // Whatever is in it is let go with it.
    var cleared: ClearedContents?
    if case .cleared(let it) = record.event, it.prefix.isEmpty, state.isClearedAtOnce,
      let opened = state.head.opened
    {
      cleared = ClearedContents(opened, hashSeed: hashSeed)
    }
    try state.apply(record, spare: cleared?.index, into: &effects)
    for effect in effects {
      if case .inserted(let slot) = effect { insert(slot, record) }
      absorb(effect, record.sequence)
    }
  }

  var takesLentSets: Bool { true }

  func apply(_ set: LentSet) throws(StateError) {
    effects.removeOneByOne()
    try state.apply(set, into: &effects)
    for effect in effects {
      if case .inserted(let slot) = effect { insert(slot, set, isLentOn: true) }
      absorb(effect, set.fact.sequence)
    }
  }

  func endFrame(at position: JournalPosition) {
    for (slot, set) in fresh
    where state.origin(of: slot) == set.fact.sequence && state.isResident(slot, in: .memory) {
      state.updatePayload(slot) {
        $0 = Payload(bytes: Array(set.value), isPinned: false)
      }
    }
    fresh.removeAll(keepingCapacity: true)
  }

  var takesMore: Bool { part.map { !projection.isFull($0) } ?? true }

  /// Hands the rows over that were gathered so far.
  func takeRows() -> Projection {
    defer { projection = Projection(applied: applied) }
    return projection
  }

  /// Hands the state over.
  func take() -> CacheState {
    state.handOver()
  }

  /// What an effect other than an insertion comes to.
  private func absorb(_ effect: Effect, _ sequence: SequenceNumber) {
    switch effect {
    case .inserted, .memoryBegan: break
    case .memoryEnded(let slot, _):
      dropUnneeded(slot)
    case .storeEnded(let slot, let origin, _):
      state.unpinPayload(slot)
      dropUnneeded(slot)
      if lacks(sequence) { projection.delete(origin, at: sequence) }
    case .removed(let slot, _, _): state.changePayload(slot) { $0 = Payload() }
    case .removedAll:
      // Their slots are gone.
      fresh.removeAll(keepingCapacity: true)
      if lacks(sequence) { projection.deleteAll(at: sequence) }
    }
  }

  /// Whether what an event does to the store is to be collected.
  private func lacks(_ sequence: SequenceNumber) -> Bool { collectsRows && sequence > applied }

  private func insert(_ slot: Slot, _ record: Record) {
    guard case .set(let set) = record.event else {
      preconditionFailure("only a set makes an entry")
    }
    let fact = SetFact(
      sequence: record.sequence, at: record.at, coder: set.coder, memoryExpiry: set.memoryExpiry,
      storeExpiry: set.storeExpiry)
    set.key.withUnsafeBytes { key in
      set.value.withUnsafeBytes { value in
        insert(
          slot, LentSet(fact: fact, key: key, value: value, valueHash: state.valueHash(of: slot)),
          isLentOn: false)
      }
    }
  }

  /// - Parameter isLentOn: whether key and value are lent up to the frame's end.
  private func insert(_ slot: Slot, _ set: LentSet, isLentOn: Bool) {
    let fact = set.fact
    let isLacking = fact.storeExpiry != nil && lacks(fact.sequence)
    guard isLacking || !isLentOn else {
      if fact.memoryExpiry != nil, part == nil { fresh.append((slot, set)) }
      return
    }
    guard isLacking || fact.memoryExpiry != nil else { return }
    let bytes = Array(set.value)
    if part == nil { state.give(ValueWord(Payload(bytes: bytes, isPinned: isLacking)), to: slot) }
    guard isLacking, let expiry = fact.storeExpiry else { return }
    projection.insert(fact, key: set.key, value: bytes, expiry: expiry)
  }

  /// Drops the value of an entry that is not memory resident, unless the store lacks it.
  private func dropUnneeded(_ slot: Slot) {
    if state.isResident(slot, in: .memory) { return }
    state.changePayload(slot) { if !$0.isPinned { $0 = Payload() } }
  }
}
