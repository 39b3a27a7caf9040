import HindsightCore
import HindsightJournal
import HindsightStore

/// The attempts at opening a journal, the best first. An attempt that fails has changed nothing.
///
/// 1. From a checkpoint that contains nothing after what the store has applied: the store then
///    simply goes on.
/// 2. From the newest whole checkpoint: the store is compared row by row.
/// 3. With damage cut out, where that is asked for; likewise.
struct Attempt {
  let storage: any JournalStorage
  let options: JournalOptions
  /// The store's mark, where it has one.
  let store: StoreMark?
  var usesStore = false
  private(set) var needsReconciling = false

  init(storage: any JournalStorage, options: JournalOptions, store: StoreMark?) {
    self.storage = storage
    self.options = options
    self.store = store
  }

  mutating func run(
    salvages: Bool,
    makeSink: (_ applied: SequenceNumber, _ keepsValues: Bool) -> RecoverySink
  ) throws(CacheError) -> (RecoveredJournal, RecoverySink) {
    let recovery = JournalRecovery(
      storage, options, store: store.map { ($0.journalID, $0.applied) })
    if let store, isOurs(store) {
      do throws(JournalError) {
        let sink = makeSink(store.applied, false)
        let start = ReplayStart.notAfter(store.applied)
        return (try recovery.open(from: start, salvages: false, into: sink), sink)
      } catch {
        if case .storage(let error) = error { throw CacheError(storage: error) }
      }
    }
    needsReconciling = usesStore
    let sink = makeSink(.init(.max), false)
    do throws(JournalError) {
      return (try recovery.open(from: .newest, salvages: salvages, into: sink), sink)
    } catch {
      throw CacheError(journal: error)
    }
  }

  /// All values that the journal still holds, by their origins: for a store that lacks them.
  ///
  /// What can't be replayed gives no values: older damage doesn't keep a cache from opening.
  func values() -> ValueCollector {
    let collector = ValueCollector()
    do throws(DamageError) {
      let directory = try JournalDirectory(storage, forWriting: false)
      _ = try JournalReplay(directory).run(from: .oldest, stopsAtDamage: true, into: collector)
    } catch {
      collector.damage = error
    }
    return collector
  }

  private func isOurs(_ store: StoreMark) -> Bool {
    do throws(DamageError) {
      return try JournalDirectory(storage, forWriting: false).journalID == store.journalID
    } catch {
      return false  // The second attempt tells why.
    }
  }
}

/// Replays for the values alone.
final class ValueCollector: ReplaySink {
  private var sink = RecoverySink(hashSeed: 0, applied: .init(.max), keepsValues: true)
  var damage: DamageError?

  func begin() { sink.begin() }
  func restore(_ head: StateHead) { sink.restore(head) }
  func restore(_ image: EntryImage, value: Bytes?) throws(StateError) {
    try sink.restore(image, value: value)
  }
  func finishRestore(digest: UInt64) throws(StateError) { try sink.finishRestore(digest: digest) }
  func apply(_ record: Record) throws(StateError) { try sink.apply(record) }
  func endFrame(at position: JournalPosition) {}

  /// The value that the `set` at `origin` made, where the journal still has it.
  func value(_ origin: SequenceNumber) -> Bytes? { sink.value(origin) }
}
