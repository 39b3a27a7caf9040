import HindsightCore
import HindsightJournal
import HindsightStore

/// All values that the journal still holds, by their origins: for what neither the newest
/// checkpoint nor the store has. The journal is replayed when the first is asked for.
///
/// What is damaged gives no values; all that is whole does, behind damage, too. Older damage doesn't keep
/// a cache from opening. What can't be read just now does, since a value that is given up as lost is
/// gone for good.
final class HistoricValues {
  private let storage: any JournalStorage
  private var collector: ValueCollector?

  init(_ storage: any JournalStorage) { self.storage = storage }

  /// The value that the `set` at `origin` made, where the journal still has it.
  /// - Parameter hash: what it must have: behind damage nothing else proves that it is the right one.
  /// - Throws: `.system` where the journal can't be read.
  func value(_ origin: SequenceNumber, hash: UInt64) throws(CacheError) -> Bytes? {
    if collector == nil { collector = try collect() }
    return collector?.value(origin).flatMap { XXH64.hash($0) == hash ? $0 : nil }
  }

  private func collect() throws(CacheError) -> ValueCollector {
    let collector = ValueCollector()
    do throws(DamageError) {
      let directory = try JournalDirectory(storage, forWriting: false)
      // Where the journal's beginning is dropped, a checkpoint stands in for it, which may be damaged.
      if let begin = directory.begin, begin > .zero { collector.noteHole(after: begin) }
      var start = ReplayStart.oldest
      // Each time from a checkpoint behind the damage, and so further on.
      while let last = try Self.replay(directory, from: start, into: collector) {
        start = .after(last)
      }
      for hole in collector.holes {
        try directory.forEachWholeSet(after: hole.after, through: hole.through ?? .init(.max)) {
          collector.add($0, $1)
        }
      }
    } catch {
      if let failure = error.storageFailure { throw CacheError(storage: failure) }
      // What was found so far is there.
    }
    return collector
  }

  /// - Returns: the last event before damage; `nil` where the replay came to the journal's end, or no
  ///   checkpoint leads behind the damage.
  /// - Throws: `DamageError.storage` where something can't be read.
  private static func replay(
    _ directory: JournalDirectory, from start: ReplayStart, into collector: ValueCollector
  ) throws(DamageError) -> SequenceNumber? {
    do throws(DamageError) {
      let end = try JournalReplay(directory).run(from: start, stopsAtDamage: true, into: collector)
      guard end.damage != nil else { return nil }
      collector.noteHole(after: end.last)
      return end.last
    } catch {
      if error.storageFailure != nil { throw error }
      return nil
    }
  }
}

/// Replays for the values alone.
private final class ValueCollector: ReplaySink {
  private var sink = ValueCollector.sink()
  /// What was replayed before gaps and damage, or found in it: a checkpoint that bridges them doesn't
  /// have all values.
  private var earlier: [SequenceNumber: Bytes] = [:]
  /// What was not replayed: the events up to a checkpoint that the replay went on from; `nil`: from none.
  private(set) var holes: [(after: SequenceNumber, through: SequenceNumber?)] = []

  private static func sink() -> RecoverySink {
    RecoverySink(hashSeed: 0, applied: .init(.max), keepsValues: true)
  }

  func begin() {
    sink.state.forEachSlot { slot in
      if let value = sink.state.payload(slot).bytes {
        earlier[sink.state.origin(of: slot)] = value
      }
    }
    sink = Self.sink()
  }

  /// What comes next isn't replayed, or from a checkpoint on.
  func noteHole(after last: SequenceNumber) { holes.append((last, nil)) }

  /// A value that was found in a hole.
  func add(_ origin: SequenceNumber, _ value: Bytes) { earlier[origin] = value }

  func restore(_ head: StateHead) { sink.restore(head) }
  var hashSeed: UInt64 { sink.hashSeed }
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) throws(StateError) {
    try sink.restore(image, value: value)
  }
  func finishRestore(digest: UInt64) throws(StateError) {
    try sink.finishRestore(digest: digest)
    guard let hole = holes.last, hole.through == nil else { return }
    holes[holes.count - 1].through = sink.state.head.sequence
  }
  func apply(_ record: Record) throws(StateError) { try sink.apply(record) }
  func endFrame(at position: JournalPosition) {}
  func value(_ origin: SequenceNumber) -> Bytes? { sink.value(origin) ?? earlier[origin] }
}

/// The values of memory residents that were promoted after the checkpoint that the recovery began
/// with: neither it nor a later `set` has them.
struct PromotedValues {
  /// What kept rows from being read.
  private(set) var damage: [String] = []

  mutating func restore(
    _ assembly: inout Assembly, _ backend: (any StoreBackend)?, _ values: HistoricValues
  ) throws(CacheError) {
    var lacking: [(origin: SequenceNumber, slot: Slot)] = []
    assembly.core.forEachResident(in: .memory) { slot in
      guard assembly.core.payload(slot).bytes == nil else { return }
      lacking.append((assembly.core.origin(of: slot), slot))
    }
    guard !lacking.isEmpty else { return }
    lacking.sort { $0.origin < $1.origin }
    let reader = open(backend)
    defer { reader?.close() }
    for (origin, slot) in lacking {
      let expected = assembly.core.valueHash(of: slot)
      let row = reader.flatMap { read($0, origin) }
      let isRight = row.map { XXH64.hash($0) == expected } ?? false
      if let found = isRight ? row : try values.value(origin, hash: expected) {
        assembly.core.updatePayload(slot) { $0.set(found) }
      } else {
        assembly.lost.append((origin, .memory))
      }
    }
  }

  private mutating func open(_ backend: (any StoreBackend)?) -> (any StoreReader)? {
    do throws(StoreError) {
      return try backend?.openReader()
    } catch {
      damage.append("\(error)")
      return nil
    }
  }

  private mutating func read(_ reader: any StoreReader, _ origin: SequenceNumber) -> Bytes? {
    do throws(StoreError) {
      if case .row(let value) = try reader.read(origin: origin, mode: .mayBlock) {
        return Bytes(value)
      }
    } catch {
      damage.append("\(error)")
    }
    return nil
  }
}
