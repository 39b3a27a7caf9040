import HindsightCore
import HindsightJournal
import HindsightStore

/// The attempts at opening a journal, the best first. An attempt that fails has changed nothing.
///
/// 1. From a checkpoint that contains nothing after what the store has applied: the store then
///    simply goes on. Where it is far behind, from the newest one: the rows are gathered later.
/// 2. From the newest whole checkpoint: the store is compared row by row.
/// 3. With damage cut out, where that is asked for; likewise. The store is synced before: it may then be the only
///    one that has the values of what is cut out.
struct Attempt {
  let storage: any JournalStorage
  let options: JournalOptions
  /// The store's mark, where it has one. It tells what was durable, also where the cache doesn't use the store.
  let store: StoreMark?
  let usesStore: Bool
  /// Whether the store is compared row by row in any case.
  var comparesRows = false
  /// So much of the journal is gathered later rather than replayed at once.
  let backlogByteCountMin: UInt64
  private(set) var needsReconciling = false

  init(
    storage: any JournalStorage, options: JournalOptions, store: StoreMark?, usesStore: Bool,
    backlogByteCountMin: UInt64
  ) {
    self.storage = storage
    self.options = options
    self.store = store
    self.usesStore = usesStore
    self.backlogByteCountMin = backlogByteCountMin
  }

  /// - Parameter prepareSalvage: makes what the store has committed safe from a loss of power; `nil` where
  ///   nothing is to be salvaged.
  mutating func run(
    prepareSalvage: (() throws(CacheError) -> Void)?,
    makeSink: (_ applied: SequenceNumber, _ collectsRows: Bool) -> RecoverySink
  ) throws(CacheError) -> (RecoveredJournal, RecoverySink) {
    let recovery = JournalRecovery(
      storage, options, store: store.map { ($0.journalID, $0.applied) })
    if usesStore, !comparesRows, let store, let start = try start(store) {
      do throws(JournalError) {
        let sink = makeSink(store.applied, start != .newest)
        return (try recovery.open(from: start, salvages: false, into: sink), sink)
      } catch {
        if case .storage(let error) = error { throw CacheError(storage: error) }
      }
    }
    needsReconciling = usesStore
    let sink = makeSink(.init(.max), true)
    let damage: DamageError
    do throws(JournalError) {
      return (try recovery.open(from: .newest, salvages: false, into: sink), sink)
    } catch {
      guard case .corrupt(let found) = error, let prepareSalvage else {
        throw CacheError(journal: error)
      }
      try prepareSalvage()
      damage = found
    }
    do throws(JournalError) {
      return (try recovery.salvage(damage, into: sink), sink)
    } catch {
      throw CacheError(journal: error)
    }
  }

  /// Where to begin for a store that is a projection of this journal; `nil` where it isn't.
  private func start(_ store: StoreMark) throws(CacheError) -> ReplayStart? {
    do throws(DamageError) {
      let directory = try JournalDirectory(storage, forWriting: false)
      guard directory.journalID == store.journalID else { return nil }
      return try JournalBacklog(directory).start(
        applied: store.applied, byteCountMin: backlogByteCountMin)
    } catch {
      if let failure = error.storageFailure { throw CacheError(storage: failure) }
      return nil  // The second attempt tells why.
    }
  }
}
