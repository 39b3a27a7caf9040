import HindsightCore
import HindsightJournal
import HindsightStore
import Logging

extension Engine {
  /// Opens on a thread of the scheduler's, since recovery blocks on the disk.
  nonisolated(nonsending) static func open(
    at place: Place, configuration: CacheConfiguration, logger: Logger
  ) async throws(CacheError) -> Engine {
    let result: Result<Engine, CacheError> = await withUnsafeContinuation { continuation in
      do throws(CacheError) {
        _ = try configuration.scheduler.start("open") {
          let opening = Result { () throws(CacheError) in
            try Opening(place, configuration, logger).run()
          }
          continuation.resume(returning: opening)
          return .finished
        }
      } catch {
        continuation.resume(returning: .failure(error))
      }
    }
    return try result.get()
  }
}

/// One opening of a cache, step by step.
private struct Opening {
  private let place: Place
  private let configuration: CacheConfiguration
  private let logger: Logger
  private let opened: Opened
  private var summary = RecoverySummary()

  init(
    _ place: Place, _ configuration: CacheConfiguration, _ logger: Logger
  ) throws(CacheError) {
    self.place = place
    self.configuration = configuration
    self.logger = logger
    var hasDirectory = true
    if case .memory = place { hasDirectory = false }
    opened = try configuration.opened(
      hasDirectory: hasDirectory, softwareVersion: hindsightVersion)
  }

  func run() throws(CacheError) -> Engine {
    var opening = self
    return try opening.open()
  }

  private mutating func open() throws(CacheError) -> Engine {
    let began = ContinuousClock.now
    guard let (storage, backend) = try place.open() else {
      return try openWithoutJournal(began, nil, nil)
    }
    let lock: any DirectoryLock
    do throws(StorageError) {
      lock = try storage.lock()
    } catch {
      throw CacheError(storage: error)
    }
    do throws(CacheError) {
      if !configuration.usesJournal { try Self.checkNoJournal(in: storage) }
      let store = try openStore(opened.storeLimit == nil ? nil : backend)
      let mark = store == nil ? try unusedMark(backend) : store?.mark
      if configuration.usesJournal {
        if configuration.corruption == .refuse, let mark,
          try Self.journalFile(in: storage) == nil
        {
          try Self.check(mark, store)
        }
        return try openWithJournal(began, storage, store, mark, lock)
      }
      if store == nil, mark != nil { throw Self.unusedStore }
      return try openWithoutJournal(began, store, lock)
    } catch {
      lock.unlock()
      throw error.located(in: place)
    }
  }

  // MARK: Store

  private struct OpenedStore {
    var backend: any StoreBackend
    var writer: any StoreWriter
    var mark: StoreMark?
  }

  /// Opens the store; one that is damaged, or not ours, is put aside.
  private mutating func openStore(
    _ backend: (any StoreBackend)?
  ) throws(CacheError) -> OpenedStore? {
    guard let backend else { return nil }
    do throws(StoreError) {
      do throws(StoreError) {
        let writer = try backend.openWriter()
        let mark = try writer.mark()
        summary.store = mark == nil ? .new : .resumed
        return OpenedStore(backend: backend, writer: writer, mark: mark)
      } catch {
        guard error.remedy == .rebuild || error.remedy == .reconcile else { throw error }
        return try putAside(backend, error)
      }
    } catch {
      throw CacheError(store: error)
    }
  }

  /// The mark of a store that this opening leaves alone: what that has applied was durable, and its numbers are
  /// not used again. One that is damaged has none: whoever uses it again puts it aside.
  private func unusedMark(_ backend: (any StoreBackend)?) throws(CacheError) -> StoreMark? {
    do throws(StoreError) {
      return try backend?.markAtRest()
    } catch {
      guard error.remedy == .rebuild || error.remedy == .reconcile else {
        throw CacheError(store: error)
      }
      return nil
    }
  }

  /// Puts a damaged store aside, and makes a new one in its place.
  private mutating func putAside(
    _ backend: any StoreBackend, _ damage: StoreError
  ) throws(StoreError) -> OpenedStore {
    let name = try backend.quarantine()
    logger.error(
      "the store is damaged and is put aside",
      metadata: ["error": "\(damage)", "as": "\(name ?? "")"])
    summary.damage.append("\(damage)")
    if let name { summary.quarantined.append(name) }
    summary.store = .rebuilt
    return OpenedStore(backend: backend, writer: try backend.openWriter(), mark: nil)
  }

  /// Puts the store aside where `error` says that it is damaged, which may show in its rows only.
  /// - Returns: the one in its place.
  /// - Throws: `error`, where it says something else.
  private mutating func replace(
    _ store: OpenedStore, _ error: CacheError
  ) throws(CacheError) -> OpenedStore {
    guard let damage = error.underlying as? StoreError, damage.remedy == .rebuild else {
      throw error
    }
    store.writer.close()
    do throws(StoreError) {
      return try putAside(store.backend, damage)
    } catch {
      throw CacheError(store: error)
    }
  }

  // MARK: Journal

  private mutating func openWithJournal(
    _ began: ContinuousClock.Instant, _ storage: any JournalStorage, _ store: OpenedStore?,
    _ mark: StoreMark?, _ lock: any DirectoryLock
  ) throws(CacheError) -> Engine {
    let clock = configuration.clock
    let options = JournalOptions(
      segmentByteCount: configuration.segmentByteCount, random: configuration.random
    ) {
      clock.reading().wall
    }
    var attempt = Attempt(
      storage: storage, options: options, store: mark, usesStore: store != nil,
      backlogByteCountMin: configuration.backlogByteCountMin)
    attempt.comparesRows = configuration.comparesRows
    var prepareSalvage: (() throws(CacheError) -> Void)?
    if configuration.corruption == .salvage {
      prepareSalvage = { () throws(CacheError) in try Self.sync(store) }
    }
    let (recovered, sink) = try attempt.run(prepareSalvage: prepareSalvage) {
      RecoverySink(
        hashSeed: CacheKey.hashSeed, applied: $0, collectsRows: $1)
    }
    note(recovered.report)
    var assembly = Assembly(opened, configuration, sink, recovered, clock)
    let values = HistoricValues(storage, store?.backend)
    var backlog: Backlog?
    var store = store
    if store != nil {
      if attempt.needsReconciling {
        try reconcile(&store!, &assembly, values)
      } else if !sink.collectsRows {
        // The projector's work, once the cache is open.
        let end = assembly.core.head.sequence
        backlog = Backlog(storage, end: end)
        assembly.projection.awaitBacklog(through: end)
      }
    }
    var promoted = PromotedValues()
    try promoted.restore(&assembly, store?.backend, values)
    summary.damage += promoted.damage
    summary.lostValues = assembly.lost.count
    let journal = Engine.Journal(
      writer: recovered.writer, storage: storage, id: recovered.writer.journalID)
    let state = try assembly.open(journal)
    return try start(began, state, journal, store, lock, backlog)
  }

  /// Makes what a store has committed safe from a loss of power. One that is damaged has nothing that could be
  /// lost; it shows later.
  private static func sync(_ store: OpenedStore?) throws(CacheError) {
    do throws(StoreError) {
      _ = try store?.writer.checkpoint(.passive)
    } catch {
      if error.remedy != .rebuild { throw CacheError(store: error) }
    }
  }

  private mutating func note(_ report: RecoveryReport) {
    summary.journal = RecoverySummary.Journal(report.outcome)
    summary.lastSequence = report.last.rawValue
    summary.replayedEvents = report.recordCount
    summary.checkpoint = report.checkpoint
    summary.segment = report.segment
    summary.byteOffset = report.byteOffset
    summary.droppedBytes = report.byteCountDropped
    summary.quarantined += report.quarantined
    summary.damage += report.damage
  }

  private mutating func reconcile(
    _ store: inout OpenedStore, _ assembly: inout Assembly, _ values: HistoricValues
  ) throws(CacheError) {
    if summary.store == .resumed { summary.store = .reconciled }
    let lost = assembly.lost
    var reconciliation = Reconciliation(store.writer)
    do throws(CacheError) {
      try reconciliation.run(&assembly, values)
    } catch {
      store = try replace(store, error)
      assembly.lost = lost
      reconciliation = Reconciliation(store.writer)
      try reconciliation.run(&assembly, values)
    }
    summary.deletedRows = reconciliation.deletedCount
    summary.insertedRows = reconciliation.insertedCount
  }

  // MARK: Without a journal

  /// What happened beside a journal, the next opening with it would take back: values would return that were
  /// replaced or invalidated.
  private static func checkNoJournal(in storage: any JournalStorage) throws(CacheError) {
    guard let name = try journalFile(in: storage) else { return }
    throw CacheError(
      .invalidConfiguration,
      "the cache has a journal (\(name)): open it with usesJournal, or move all *.journal and "
        + "*.checkpoint files away and open it without one, to go on without their history")
  }

  /// The first segment or checkpoint, where there is one.
  private static func journalFile(in storage: any JournalStorage) throws(CacheError) -> String? {
    do throws(StorageError) {
      return try storage.list().sorted().first(where: JournalDirectory.isJournalFile)
    } catch {
      throw CacheError(storage: error)
    }
  }

  /// A journal that begins anew knows nothing of the rows of a store that is nobody's, as one that was made
  /// without a journal: all would be deleted. Of a store that is a journal's, the recovery says so.
  private static func check(_ mark: StoreMark, _ store: OpenedStore?) throws(CacheError) {
    // A comparison of the rows that hasn't ended marks them so, too.
    guard mark.journalID == .nobody else { return }
    if let store {
      do throws(StoreError) {
        if try store.writer.rows(after: .zero, limit: 1, detail: .hashes).isEmpty { return }
      } catch {
        throw CacheError(store: error)
      }
    } else if mark.applied == .zero {
      return
    }
    throw CacheError(
      .journalCorrupt,
      "the store has rows, and there is no journal: it is gone, or the cache was made without one. Open it "
        + "with usesJournal = false, or move store.sqlite* away to begin with an empty one (a salvage, as "
        + "by 'hindsight repair', deletes the rows)")
  }

  /// What happened beside a store that nothing tells of it, the next opening with it would take back.
  private static var unusedStore: CacheError {
    CacheError(
      .invalidConfiguration,
      "the cache has a store and no journal that could tell it what happens without it: open it with usesStore, "
        + "or move store.sqlite* away")
  }

  /// Without a journal the index is read from the rows, in the order of their origins.
  private mutating func openWithoutJournal(
    _ began: ContinuousClock.Instant, _ store: OpenedStore?, _ lock: (any DirectoryLock)?
  ) throws(CacheError) -> Engine {
    var store = store
    var assembly = assembly(of: store)
    if let damaged = store {
      do throws(StoreError) {
        try assembly.restore(rowsOf: damaged.writer)
      } catch {
        store = try replace(damaged, CacheError(store: error))
        assembly = self.assembly(of: store)
      }
    }
    let state = try assembly.open(nil)
    return try start(began, state, nil, store, lock)
  }

  private func assembly(of store: OpenedStore?) -> Assembly {
    let sink = RecoverySink(
      hashSeed: CacheKey.hashSeed, applied: store?.mark?.applied ?? .zero)
    return Assembly(opened, configuration, sink, nil, configuration.clock)
  }

  // MARK: Starting

  private mutating func start(
    _ began: ContinuousClock.Instant, _ state: consuming EngineState,
    _ journal: Engine.Journal?, _ store: OpenedStore?, _ lock: (any DirectoryLock)?,
    _ backlog: Backlog? = nil
  ) throws(CacheError) -> Engine {
    var readers: Engine.Store?
    if let store {
      do throws(StoreError) {
        readers = Engine.Store(
          backend: store.backend, readers: try StoreReaders(backend: store.backend),
          backlog: backlog)
      } catch {
        throw CacheError(store: error)
      }
    }
    summary.seconds = (ContinuousClock.now - began) / .seconds(1)
    let engine = Engine(
      state: state, configuration: configuration, journal: journal, store: readers,
      directoryLock: lock, recovery: summary, logger: logger)
    let projector = store.map {
      StepOwner(
        Projector(
          engine: engine, writer: $0.writer, journalID: journal?.id ?? .nobody))
    }
    do throws(CacheError) {
      try engine.start(projector: projector)
    } catch {
      // Files first: who takes the directory next must find nobody at them.
      projector?.withWork { $0.abandon() }
      if let journal { engine.closeJournal(journal) }
      throw error
    }
    summary.log(to: logger)
    return engine
  }
}

extension RecoverySummary.Journal {
  fileprivate init(_ outcome: RecoveryReport.Outcome) {
    switch outcome {
    case .new: self = .new
    case .clean: self = .clean
    case .unclean: self = .unclean
    case .tornTail: self = .tornTail
    case .salvaged: self = .salvaged
    }
  }
}
