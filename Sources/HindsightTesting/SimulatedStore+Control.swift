import HindsightCore
public import HindsightStore

// What a test does to a store, and what it sees of it.

extension SimulatedStore {
  // MARK: Ends

  /// The process is killed: everything committed is left.
  public func killProcess() {
    state.withLock { state in
      state.generation += 1
      state.connectionCount = 0
    }
  }

  /// Power is lost: what was synced is left, and of the later commits a prefix that the injector
  /// chooses: all of them, or with `storeCommitsLost` fewer.
  public func crash(_ injector: FaultInjector? = nil) {
    killProcess()
    guard let database = state.withLock({ $0.database }) else { return }
    let count = database.contents.withLock { $0.unsynced.count }
    var kept = 0
    if let injector, count > 0 {
      kept = count
      if injector.choose([.storeCommitsLost]) != nil {
        kept = Int(injector.random() % UInt64(count))
        injector.note(.storeCommitsLost, at: "crash")
      }
    }
    database.contents.withLock { contents in
      for transaction in contents.unsynced.prefix(kept) {
        do throws(StoreError) {
          try contents.synced.apply(transaction.operations, mark: transaction.mark)
        } catch {
          preconditionFailure("a transaction that was committed can be applied: \(error)")
        }
      }
      contents.committed = contents.synced
      contents.unsynced = []
      contents.logByteCount = 0
    }
  }

  // MARK: What can be seen

  /// Connections that are open: 0 once a cache is closed.
  public var connectionCount: Int { state.withLock { $0.connectionCount } }

  /// Databases that were put aside.
  public var quarantineCount: Int { state.withLock { $0.quarantined.count } }

  /// The committed rows, in the order of their origins.
  public var rows: [StoredRow] {
    state.withLock { $0.database }?.contents.withLock { $0.committed.rows } ?? []
  }

  /// The committed mark.
  public var mark: StoreMark? {
    state.withLock { $0.database }?.contents.withLock { $0.committed.mark }
  }

  /// The mark that survives a loss of power.
  public var syncedMark: StoreMark? {
    state.withLock { $0.database }?.contents.withLock { $0.synced.mark }
  }

  // MARK: What somebody else does to it

  /// Whether a reader of another process holds a snapshot, so that the log can't be emptied.
  public func setExternalReader(_ isThere: Bool) {
    state.withLock { $0.hasExternalReader = isThere }
    if isThere { injector?.note(.storeExternalReader, at: "store") }
  }

  /// A copy, for `restore`.
  public func image() -> Image? {
    state.withLock { $0.database }.map { database in
      Image(rows: database.contents.withLock { $0.committed })
    }
  }

  /// What a database held.
  public struct Image: Equatable, Sendable {
    var rows: SimulatedRows
    /// The mark that it had.
    public var mark: StoreMark? { rows.mark }

    /// What a cache of the same program might hold that was used much like this one: the same keys
    /// under the same origins, half of them with the same values; `nil` for a fresh store.
    package func ofAnotherCache(_ random: inout SplitMix64) -> Image? {
      guard let mark else { return nil }
      var changed = rows
      for row in rows.rows where random.below(2) == 0 {
        changed.setValue(Bytes([UInt8]("another cache's".utf8)), of: row.origin)
      }
      changed.mark = StoreMark(
        journalID: JournalID(high: random.next(), low: random.next()),
        applied: SequenceNumber(random.next() % (2 * mark.applied.rawValue + 1)))
      return Image(rows: changed)
    }
  }

  /// Puts a copy in the place of the database, synced; `nil` deletes it. Whoever has the old one
  /// open keeps it.
  public func restore(_ image: Image?) {
    state.withLock { state in
      state.database = image.map { image in
        Database(.init(committed: image.rows, synced: image.rows))
      }
    }
  }

  /// Does to the database at rest what a kind of the category `.store` says.
  /// - Parameters:
  ///   - older: for `.storeBehind`: a copy that was taken before.
  ///   - other: for `.storeReplaced`: another cache's store.
  /// - Returns: whether there was something to do it to. It is counted then.
  @discardableResult
  public func damage(
    _ kind: FaultKind, _ injector: FaultInjector, older: Image? = nil, other: Image? = nil
  ) -> Bool {
    guard let database = state.withLock({ $0.database }) else { return false }
    let rows = database.contents.withLock { $0.committed }
    guard let changed = Self.damaged(rows, kind, injector.random(), older: older, other: other)
    else { return false }
    switch changed {
    case .deleted: restore(nil)
    case .unreadable(let code):
      restore(Image(rows: rows))
      state.withLock { $0.database }?.contents.withLock { $0.damage = code }
    case .rows(let rows): restore(Image(rows: rows))
    }
    injector.note(kind, at: "store")
    return true
  }

  private enum Changed {
    case deleted
    case unreadable(StoreError.Code)
    case rows(SimulatedRows)
  }

  private static func damaged(
    _ rows: SimulatedRows, _ kind: FaultKind, _ random: UInt64, older: Image?, other: Image?
  ) -> Changed? {
    var changed = rows
    let victim = rows.rows.isEmpty ? nil : rows.rows[Int(random % UInt64(rows.rows.count))]
    switch kind {
    case .storeDeleted: return .deleted
    case .storeTruncated: return .unreadable(random % 2 == 0 ? .corrupt : .notADatabase)
    case .storeReplaced: return other.map { .rows($0.rows) }
    case .storeBehind: return older.map { .rows($0.rows) }
    case .storeAhead:
      guard let mark = rows.mark else { return nil }
      changed.mark = StoreMark(
        journalID: mark.journalID,
        applied: SequenceNumber(mark.applied.rawValue + 1_000 + random % 1_000))
    case .storeRowMissing:
      guard let victim else { return nil }
      changed.remove(victim.origin)
    case .storeRowDamaged:
      guard let victim, !victim.value.isEmpty else { return nil }
      var bytes = Array(victim.value)
      bytes[Int(random >> 32) % bytes.count] ^= 0x20
      changed.setValue(Bytes(bytes), of: victim.origin)
    default: preconditionFailure("\(kind) is no fault of a store at rest")
    }
    return .rows(changed)
  }
}
