public import HindsightCore
public import HindsightJournal

// What a program meets in answers and errors; the modules themselves are no products.
@_exported public import typealias HindsightCore.Bytes
@_exported public import enum HindsightCore.Event
@_exported public import struct HindsightCore.Record
@_exported public import enum HindsightCore.StateError
@_exported public import enum HindsightJournal.DamageError
@_exported public import enum HindsightJournal.FormatError
@_exported public import struct HindsightJournal.ReplayEnd
@_exported public import struct HindsightJournal.StorageError

/// An event with the keys that it is about, which later events leave out.
public struct ResolvedEvent: Sendable {
  public var record: Record
  /// The key, where the event is about one.
  public var key: Bytes?
  /// The keys that a `touched` moved to the front, each once, the most recent last; empty for other events.
  public var touchedKeys: [Bytes] = []
}

/// Replays a journal as a stream of events, oldest first, each checked by the state machine.
///
///     let end = try EventStream(directory: "/var/cache/lookups").replay { event in
///       print(event.record.sequence, event.record.at, event.record.event)
///     }
public struct EventStream {
  private let storage: any JournalStorage
  private let limits: ReplayLimits

  /// A stream of the journal in `storage`. Reading changes nothing, and a writer may be at work.
  public init(_ storage: any JournalStorage, limits: ReplayLimits = ReplayLimits()) {
    (self.storage, self.limits) = (storage, limits)
  }

  /// A stream of the journal of the cache in a directory.
  /// - Throws: `DamageError.storage` where there is no such directory, or it can't be read.
  public init(directory: String, limits: ReplayLimits = ReplayLimits()) throws(DamageError) {
    let storage = try DamageError.wrap { () throws(StorageError) in
      try PosixStorage(reading: directory)
    }
    self.init(storage, limits: limits)
  }

  /// Calls `body` with every event from the oldest that is left in the journal up to the first damage.
  ///
  /// It blocks the calling thread until it is done: call it from a thread of your own, not from a task.
  /// - Returns: where it ended. The history is whole if `tail` is `.end`; events of its oldest segments that no
  ///   checkpoint leads to, as may be where retention stopped, are `unreached`. With `.bad`, what stands behind
  ///   `last` is no event: beside a writer at work that is its next frame, after a crash a torn one, and else
  ///   damage, which `Verifier` tells apart.
  /// - Throws: `DamageError` where a segment is missing, an event can't be what its journal says, or something
  ///   can't be read.
  public func replay(_ body: (ResolvedEvent) -> Void) throws(DamageError) -> ReplayEnd {
    try withoutActuallyEscaping(body) { (body) throws(DamageError) in
      try replay(while: { event in
        body(event)
        return true
      })
    }
  }

  private func replay(
    while body: @escaping (ResolvedEvent) -> Bool
  ) throws(DamageError) -> ReplayEnd {
    for _ in 1..<JournalDirectory.readingAttempts {
      let directory = try JournalDirectory(reading: storage)
      let sink = ResolvingSink(limits, .init(event: body))
      do throws(DamageError) {
        return try JournalReplay(directory).run(from: .oldest, into: sink)
      } catch {
        // Retention removed the checkpoints to begin with: there are newer ones.
        let isOutdated = try DamageError.wrap { () throws(StorageError) in
          try directory.isOutdated()
        }
        guard isOutdated, !sink.hasTold else { throw error }
      }
    }
    return try JournalReplay(JournalDirectory(reading: storage))
      .run(from: .oldest, into: ResolvingSink(limits, .init(event: body)))
  }

  /// Calls `body` with every event that is left, those behind damage, too, as far as a whole
  /// checkpoint leads there.
  /// - Parameters:
  ///   - hole: is told what is wrong where events are missing, before what comes behind it.
  ///   - unreached: is told which events of the oldest segments no checkpoint leads to.
  ///   - restored: is given the state of each checkpoint that stands in for what comes before it: where the
  ///     history doesn't begin with event 1, and behind holes and gaps. It comes before the events that follow.
  /// - Returns: what is wrong with checkpoints that were passed over: events before those that were
  ///   taken in their place are missing.
  /// - Throws: `DamageError` where something can't be read, or nothing can be replayed; what `body` throws,
  ///   which ends the replay.
  package func replay<Failure: Error>(
    hole: (Verification.Problem) -> Void,
    unreached: (ClosedRange<SequenceNumber>) -> Void = { _ in },
    restored: @escaping (borrowing CacheState) -> Void = { _ in },
    _ body: (ResolvedEvent) throws(Failure) -> Void
  ) throws -> [Verification.Problem] {
    try stoppable(body) { (body) throws(DamageError) in
      try crossing(hole, unreached, .init(event: body, restored: restored))
    }
  }

  private func crossing(
    _ hole: (Verification.Problem) -> Void, _ unreached: (ClosedRange<SequenceNumber>) -> Void,
    _ reader: ResolvingSink.Reader
  ) throws(DamageError) -> [Verification.Problem] {
    let isLive = try DamageError.wrap { () throws(StorageError) in try storage.isLocked() }
    for _ in 1..<JournalDirectory.readingAttempts {
      let replay = try CrossingReplay(storage, isLive: isLive)
      if let passedOver = try pass(replay, mayBeginAgain: true, hole, unreached, reader) {
        return passedOver
      }
    }
    let replay = try CrossingReplay(storage, isLive: isLive)
    return try pass(replay, mayBeginAgain: false, hole, unreached, reader) ?? []
  }

  /// - Returns: `nil` where retention removed what there was to begin with.
  private func pass(
    _ replay: CrossingReplay, mayBeginAgain: Bool, _ hole: (Verification.Problem) -> Void,
    _ unreached: (ClosedRange<SequenceNumber>) -> Void, _ reader: ResolvingSink.Reader
  ) throws(DamageError) -> [Verification.Problem]? {
    let sink = ResolvingSink(limits, reader)
    func isOutdated() throws(DamageError) -> Bool {
      guard mayBeginAgain, !sink.hasTold, replay.directoryDamage.isEmpty else {
        return false
      }
      return try DamageError.wrap { () throws(StorageError) in
        try replay.directory.isOutdated()
      }
    }
    var damage = replay.directoryDamage
    var passedOver: [DamageError] = []
    var beginsAgain = false
    do throws(DamageError) {
      try replay.run(into: sink) { (end, problem) throws(DamageError) in
        if sink.isStopped { return false }
        if problem != nil { beginsAgain = try isOutdated() }
        if beginsAgain { return false }
        sink.tellRestored()
        passedOver += end.damagedCheckpoints
        if let range = end.unreached { unreached(range) }
        let torn = try replay.torn(end)
        if let problem = problem ?? torn {
          for error in damage { hole(Verification.Problem(error)) }
          damage = []
          hole(problem)
        }
        return !end.isBeyondLimits
      }
    } catch {
      guard try isOutdated() else { throw error }
      beginsAgain = true
    }
    if beginsAgain { return nil }
    for error in damage { hole(Verification.Problem(error)) }
    if let failure = passedOver.compactMap(\.storageFailure).first { throw .storage(failure) }
    return passedOver.filter(\.isOfContents).map { Verification.Problem($0) }
  }
}

extension EventStream {
  /// `replay(_:)` with a `body` that can end the replay: what it throws is thrown, and it isn't called again.
  /// - Throws: what `body` throws; `DamageError` as the other one.
  public func replay<Failure: Error>(
    _ body: (ResolvedEvent) throws(Failure) -> Void
  ) throws -> ReplayEnd {
    try stoppable(body) { (body) throws(DamageError) in try replay(while: body) }
  }

  /// Calls `run` with a body that says whether to go on, which it does until `body` throws.
  private func stoppable<R, Failure: Error>(
    _ body: (ResolvedEvent) throws(Failure) -> Void,
    _ run: (@escaping (ResolvedEvent) -> Bool) throws(DamageError) -> R
  ) throws -> R {
    try withoutActuallyEscaping(body) { (body) throws -> R in
      var failure: Failure?
      let result = Result { () throws(DamageError) in
        try run { event in
          do throws(Failure) {
            try body(event)
            return true
          } catch {
            failure = error
            return false
          }
        }
      }
      if let failure { throw failure }
      return try result.get()
    }
  }
}

extension DamageError {
  /// Whether the journal asks for more than its reader takes on.
  var isBeyondLimits: Bool {
    if case .state(_, _, .beyondLimits) = self { return true }
    return false
  }
}

extension ReplayEnd {
  var isBeyondLimits: Bool { damage?.isBeyondLimits ?? false }
}

extension JournalDirectory {
  /// How often a reader begins again since files went away under it. A slow one may be outrun many times
  /// in a row.
  static let readingAttempts = 100

  /// Opens for reading, beside a writer that may remove files meanwhile.
  init(reading storage: any JournalStorage) throws(DamageError) {
    self = try Self.patiently { () throws(DamageError) in
      try JournalDirectory(storage, forWriting: false)
    }
  }

  /// Likewise, what is whole of it.
  init(
    reading storage: any JournalStorage, damage: inout [DamageError]
  ) throws(DamageError) {
    let (directory, found) = try Self.patiently { () throws(DamageError) in
      var damage: [DamageError] = []
      return (try JournalDirectory(wholeSegmentsOf: storage, damage: &damage), damage)
    }
    (self, damage) = (directory, found)
  }

  private static func patiently<R>(_ open: () throws(DamageError) -> R) throws(DamageError) -> R {
    for _ in 1..<readingAttempts {
      do throws(DamageError) {
        return try open()
      } catch {
        guard case .storage(let failure) = error, failure.code == .noSuchFileOrDirectory else {
          throw error
        }
      }
    }
    return try open()
  }
}
