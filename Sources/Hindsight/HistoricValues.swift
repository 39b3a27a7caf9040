import HindsightCore
import HindsightJournal
import HindsightStore

/// All values that the journal still holds, by their origins: for what neither the newest
/// checkpoint nor the store has. The journal is replayed when the first is asked for.
///
/// What is damaged gives no values: older damage doesn't keep a cache from opening. What can't be
/// read just now does, since a value that is given up as lost is gone for good.
final class HistoricValues {
  private let storage: any JournalStorage
  private var collector: ValueCollector?

  init(_ storage: any JournalStorage) { self.storage = storage }

  /// The value that the `set` at `origin` made, where the journal still has it.
  /// - Throws: `.system` where the journal can't be read.
  func value(_ origin: SequenceNumber) throws(CacheError) -> Bytes? {
    if let collector { return collector.value(origin) }
    let collector = try collect()
    self.collector = collector
    return collector.value(origin)
  }

  private func collect() throws(CacheError) -> ValueCollector {
    let collector = ValueCollector()
    do throws(DamageError) {
      let directory = try JournalDirectory(storage, forWriting: false)
      _ = try JournalReplay(directory).run(from: .oldest, stopsAtDamage: true, into: collector)
    } catch {
      if let failure = error.storageFailure { throw CacheError(storage: failure) }
      // The values up to the damage are there.
    }
    return collector
  }
}

/// Replays for the values alone.
private final class ValueCollector: ReplaySink {
  private var sink = ValueCollector.sink()
  /// What was replayed before gaps: a checkpoint that bridges one doesn't have all values.
  private var earlier: [RecoverySink] = []

  private static func sink() -> RecoverySink {
    RecoverySink(hashSeed: 0, applied: .init(.max), keepsValues: true)
  }

  func begin() {
    earlier.append(sink)
    sink = Self.sink()
  }

  func restore(_ head: StateHead) { sink.restore(head) }
  var hashSeed: UInt64 { sink.hashSeed }
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) throws(StateError) {
    try sink.restore(image, value: value)
  }
  func finishRestore(digest: UInt64) throws(StateError) { try sink.finishRestore(digest: digest) }
  func apply(_ record: Record) throws(StateError) { try sink.apply(record) }
  func endFrame(at position: JournalPosition) {}
  func value(_ origin: SequenceNumber) -> Bytes? {
    if let value = sink.value(origin) { return value }
    for sink in earlier.reversed() {
      if let value = sink.value(origin) { return value }
    }
    return nil
  }
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
      if let found = isRight ? row : try values.value(origin) {
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
