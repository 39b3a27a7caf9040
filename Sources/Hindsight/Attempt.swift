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
    if let store, try isOurs(store) {
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

  private func isOurs(_ store: StoreMark) throws(CacheError) -> Bool {
    do throws(DamageError) {
      return try JournalDirectory(storage, forWriting: false).journalID == store.journalID
    } catch {
      if let failure = error.storageFailure { throw CacheError(storage: failure) }
      return false  // The second attempt tells why.
    }
  }
}
