import HindsightCore
import HindsightJournal
import HindsightStore

/// The values that the journal still holds, or a store that was put aside, for what neither the newest checkpoint
/// nor the store has. One after the other: they may be more than memory has room for.
///
/// What is damaged gives no values; all that is whole does, behind damage, too. Older damage doesn't keep
/// a cache from opening. What can't be read just now does, since a value that is given up as lost is
/// gone for good.
struct HistoricValues {
  private let storage: any JournalStorage
  private let backend: (any StoreBackend)?

  /// - Parameter backend: where stores may have been put aside.
  init(_ storage: any JournalStorage, _ backend: (any StoreBackend)?) {
    self.storage = storage
    self.backend = backend
  }

  /// Calls `body` with each value that is wanted and found, once.
  /// - Parameter wanted: the hash that the value of each origin must have: behind damage nothing else proves
  ///   that it is the right one.
  /// - Throws: `.system` where the journal can't be read, `.storeUnavailable` where a store can't; what `body`
  ///   throws.
  func forEach(
    _ wanted: [SequenceNumber: UInt64],
    _ body: (SequenceNumber, [UInt8]) throws(CacheError) -> Void
  ) throws(CacheError) {
    var search = Search(wanted: wanted)
    do throws(DamageError) {
      let directory = try JournalDirectory(storage, forWriting: false)
      try search.lookThroughSets(of: directory, body)
      try search.lookThroughCheckpoints(of: directory, storage, body)
    } catch {
      if let failure = error.storageFailure { throw CacheError(storage: failure) }
      // What was found so far is there.
    }
    do throws(StoreError) {
      if let backend { try search.lookThroughQuarantined(of: backend, body) }
    } catch {
      throw CacheError(store: error)
    }
    if let failure = search.failure { throw failure }
  }

  private struct Search {
    var wanted: [SequenceNumber: UInt64]
    /// What `body` has thrown.
    var failure: CacheError?

    private var isOver: Bool { wanted.isEmpty || failure != nil }

    mutating func lookThroughSets(
      of directory: JournalDirectory,
      _ body: (SequenceNumber, [UInt8]) throws(CacheError) -> Void
    ) throws(DamageError) {
      guard let first = wanted.keys.min(), let last = wanted.keys.max(), first > .zero else {
        return
      }
      let before = SequenceNumber(first.rawValue - 1)
      try directory.forEachWholeSet(after: before, through: last) { origin, value in
        guard let hash = wanted[origin], XXH64.hash(value) == hash else { return true }
        // The frame goes, the value stays.
        take(origin, Array(value), body)
        return !isOver
      }
    }

    /// Some have values whose sets the journal has no longer, or never had.
    mutating func lookThroughCheckpoints(
      of directory: JournalDirectory, _ storage: any JournalStorage,
      _ body: (SequenceNumber, [UInt8]) throws(CacheError) -> Void
    ) throws(DamageError) {
      for number in directory.checkpoints where !isOver {
        do throws(DamageError) {
          let reader = try CheckpointReader(storage, number: number)
          guard reader.header.journalID == directory.journalID else { continue }
          try reader.forEachEntry(hashSeed: 0) { image, value in
            let origin = image.numbers.origin
            guard let value, wanted[origin] == image.numbers.valueHash, !isOver else { return }
            take(origin, Array(value), body)
          }
        } catch {
          if error.storageFailure != nil { throw error }
        }
      }
    }

    /// Retention drops events once the store has synced their rows.
    mutating func lookThroughQuarantined(
      of backend: any StoreBackend,
      _ body: (SequenceNumber, [UInt8]) throws(CacheError) -> Void
    ) throws(StoreError) {
      for number in 0..<EngineBounds.quarantinedStoreCountMax where !isOver {
        do throws(StoreError) {
          guard let reader = try backend.openQuarantined(number) else { return }
          defer { reader.close() }
          for (origin, hash) in wanted.sorted(by: { $0.key < $1.key }) where !isOver {
            let row = try read(reader, origin)
            if case .row(let value) = row, XXH64.hash(value[...]) == hash {
              take(origin, value, body)
            }
          }
        } catch {
          // It is none of ours, or gives nothing as it lies there.
          guard error.remedy == .rebuild || error.code == .cantOpen || error.code == .readOnly
          else { throw error }
        }
      }
    }

    private func read(
      _ reader: any StoreReader, _ origin: SequenceNumber
    ) throws(StoreError) -> StoreReadResult {
      do throws(StoreError) {
        return try reader.read(origin: origin, mode: .mayBlock)
      } catch {
        // Other rows may lie on other pages.
        guard error.remedy == .rebuild else { throw error }
        return .missing
      }
    }

    private mutating func take(
      _ origin: SequenceNumber, _ value: [UInt8],
      _ body: (SequenceNumber, [UInt8]) throws(CacheError) -> Void
    ) {
      wanted[origin] = nil
      do throws(CacheError) {
        try body(origin, value)
      } catch {
        failure = error
      }
    }
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
    let reader = try open(backend)
    defer { reader?.close() }
    var wanted: [SequenceNumber: UInt64] = [:]
    for (origin, slot) in lacking {
      let expected = assembly.core.valueHash(of: slot)
      if let reader, let row = try read(reader, origin), XXH64.hash(row) == expected {
        assembly.core.updatePayload(slot) { $0.set(row) }
      } else {
        wanted[origin] = expected
      }
    }
    try values.forEach(wanted) { (origin, value) throws(CacheError) in
      guard let slot = assembly.core.find(origin: origin) else { return }
      assembly.core.updatePayload(slot) { $0.set(value[...]) }
    }
    for (origin, slot) in lacking where assembly.core.payload(slot).isEmpty {
      assembly.lost.append((origin, .memory))
    }
  }

  private mutating func open(
    _ backend: (any StoreBackend)?
  ) throws(CacheError) -> (any StoreReader)? {
    do throws(StoreError) {
      return try backend?.openReader()
    } catch {
      try note(error)
      return nil
    }
  }

  private mutating func read(
    _ reader: any StoreReader, _ origin: SequenceNumber
  ) throws(CacheError) -> Bytes? {
    do throws(StoreError) {
      if case .row(let value) = try reader.read(origin: origin, mode: .mayBlock) {
        return Bytes(value)
      }
    } catch {
      try note(error)
    }
    return nil
  }

  /// What is damaged is lost; what can't be read just now is not.
  private mutating func note(_ error: StoreError) throws(CacheError) {
    guard error.remedy == .rebuild || error.remedy == .reconcile else {
      throw CacheError(store: error)
    }
    damage.append("\(error)")
  }
}
