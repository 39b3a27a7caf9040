public import HindsightCore
import HindsightJournal

/// When a write is acknowledged.
///
/// Without a journal all three are as `enqueued`.
public enum Acknowledgement: String, Sendable, Hashable, Comparable, CaseIterable {
  /// It is in force in this process. A killed process usually loses the last 10 ms or 64 KiB; while disk or
  /// processor are behind, up to `QueueLimits.unwrittenByteCountMax`.
  case enqueued
  /// The operating system has it: a killed process loses nothing acknowledged; a power loss may lose what
  /// no sync has covered: usually the last second (`syncInterval`), at most
  /// `QueueLimits.unsyncedByteCountMax`. After a sync that failed, and with `continueInMemory` while the
  /// journal can't be written, it holds only as long as the process lives.
  case written
  /// fdatasync(2) covers it: a power loss loses nothing acknowledged.
  case durable

  public static func < (a: Self, b: Self) -> Bool { a.rank < b.rank }

  private var rank: Int {
    switch self {
    case .enqueued: 0
    case .written: 1
    case .durable: 2
    }
  }
}

/// What happens to damage that would lose durable history.
public enum CorruptionPolicy: String, Sendable, Hashable {
  /// Refuse to open, name segment and offset, leave the journal as it is.
  case refuse
  /// Keep the valid prefix, keep the damaged bytes aside, record the gap. What newer software wrote is
  /// refused all the same.
  case salvage
}

/// What happens to writes while the journal can't be written.
public enum JournalFailurePolicy: String, Sendable, Hashable {
  /// They are refused before anything happens. Reads go on.
  case refuseWrites
  /// They go on in memory: `.written` then promises no more than `.enqueued`, while `.durable`
  /// waits, and fails where the journal stays broken. The events of up to `unwrittenByteCountMax`
  /// are kept and journaled later. What comes after them has no history: when the journal can be
  /// written again, a checkpoint stands in for it, and a `gap` says which events are missing.
  ///
  /// With a store, which takes only what is durable, they go on until `QueueLimits.pinnedByteCountMax` or
  /// `pendingRowCountMax` is reached; then they are refused with the journal's error.
  case continueInMemory
}

/// What happens to a write when a queue is at its limit (`QueueLimits`).
public enum BackpressurePolicy: String, Sendable, Hashable {
  /// It waits for room. A task that is cancelled meanwhile gets `.cancelled`.
  case wait
  /// It throws `.backpressure`, and nothing has happened; of a set that evicts thousands, see there.
  case fail
}

/// How much history is kept. What recovery or the store still needs is kept in any case.
///
/// Whole segments are dropped, oldest first, after each checkpoint and when the cache closes.
public struct Retention: Sendable, Hashable {
  /// Bytes of all segments as they are stored; checkpoints, the store and what was put aside don't count.
  /// 1 GiB by default; `nil`: unlimited.
  public var byteCountMax: UInt64?
  /// A segment whose last event is older goes. `nil`, the default: unlimited.
  public var ageMax: Duration?

  public init(byteCountMax: UInt64? = 1 << 30, ageMax: Duration? = nil) {
    self.byteCountMax = byteCountMax
    self.ageMax = ageMax
  }

  public static let unlimited = Retention(byteCountMax: nil, ageMax: nil)
}

/// How long queues may become. At a limit, writes wait or fail (`BackpressurePolicy`); a write that
/// was let in may exceed it once. Hits never wait.
public struct QueueLimits: Sendable, Hashable {
  /// Bytes of events that are decided but not written: 8 MiB; at most 32 MiB. Hits, which never wait, may
  /// add 8 MiB that tell the order of use. Four times as many while a checkpoint is written that ends a gap
  /// (`JournalFailurePolicy.continueInMemory`).
  public var unwrittenByteCountMax = 8 << 20
  /// Bytes of events, before compression, that are written but not yet durable, kept in memory until they
  /// are, in case they must be written again: 64 MiB. A sync begins by itself at half of it, or at
  /// 32 MiB, whichever is less.
  public var unsyncedByteCountMax = 64 << 20
  /// Bytes of values that the store doesn't have yet, kept in memory until then: 64 MiB.
  public var pinnedByteCountMax = 64 << 20
  /// Rows, of whatever size, that the store doesn't have yet: 200,000.
  public var pendingRowCountMax = 200_000

  public init() {}
}

/// Everything that can be said when a cache is opened. The defaults are what most want.
public struct CacheConfiguration: Sendable {
  /// 1,000 entries; 1 to 2,147,483,646 are possible. Bytes, of which there is no limit by default, count keys
  /// and encoded values; at least 1. Else opening throws `.invalidConfiguration`.
  public var memoryLimit = TierLimit(entryCountMax: 1_000)
  /// 100,000 entries; ranges as of the memory limit, and in entries and bytes at least that.
  public var storeLimit = TierLimit(entryCountMax: 100_000)
  /// 1 hour. 0, which is past at once, to 2^53 µs (285 years); else opening throws `.invalidTTL`. Parts of a
  /// microsecond are rounded up.
  public var memoryTTL = Duration.seconds(3_600)
  /// 24 hours; range as of the memory TTL.
  public var storeTTL = Duration.seconds(86_400)
  /// Whether there is a store tier. Without a directory there is none. Where it is turned off, values that only
  /// the store has are gone, also from memory. Not where there is a store and no journal: nothing would tell it
  /// what happens meanwhile.
  public var usesStore = true
  /// Whether there is a journal. Without a directory there is none. A directory that has one is opened with
  /// it only: what happened without it would be undone by the next opening that reads it. One whose store was
  /// made without a journal is opened without only: a new one knows nothing of its rows. Nothing but
  /// the journal tells how long a cache was closed: without it, a wall clock that is set back between two
  /// openings lengthens lives by as much.
  public var usesJournal = true
  /// What the journal records of reads: by default the order of use, but no lookup. `.lookups` records
  /// every lookup, and what it was answered, but for those that a journal which is behind can't take
  /// (`CacheStatistics.lookupsNotLogged`).
  public var accessLog = AccessLog.recency
  /// What `set`, `invalidate` and `clear` wait for unless told otherwise.
  public var acknowledgement = Acknowledgement.written
  /// Whether the journal's own thread writes what a caller of `.written` waits for, instead of the caller. A write
  /// goes to the page cache and takes microseconds; but where much is written on the machine, the kernel may have
  /// who writes wait for the disk, and with it the thread that the caller's tasks share with others. What isn't
  /// waited for, what is to be durable, and every sync are that thread's in any case. Off by default: waking it
  /// takes longer than the write itself.
  public var usesWriterThread = false
  /// What an opening does with damage to what had been durable.
  public var corruption = CorruptionPolicy.refuse
  /// What writes do while the journal can't be written.
  public var journalFailure = JournalFailurePolicy.refuseWrites
  /// What a write does when a queue is full.
  public var backpressure = BackpressurePolicy.wait
  /// How much may wait for journal, disk and store.
  public var queues = QueueLimits()
  /// How much history is kept: 1 GiB of segments, of any age.
  public var retention = Retention()
  /// Segments are cut at this size. 64 KiB to 1 GiB; 16 MiB by default. Beside each lies a checkpoint as long as it
  /// is there: some 30 bytes an entry, and the values that memory has, compressed. With millions of entries, larger
  /// segments take less of the disk.
  public var segmentByteCount: UInt64 = 16 << 20
  /// How often what has expired without being read is looked for, a millisecond or more; `nil`: never.
  public var sweepInterval: Duration? = .seconds(1)
  /// How often what is written is made durable, a millisecond or more; `nil`: only on request, for a
  /// checkpoint, and where 32 MiB or half of a queue wait (`QueueLimits`).
  public var syncInterval: Duration? = .seconds(1)
  /// Where time comes from: a seam for tests.
  public var clock: any CacheClock = SystemClock()
  /// Who runs the background work, opening included: a seam for tests. One thread an activity by default.
  public var scheduler: any BackgroundScheduler = ThreadScheduler()
  /// Gives journal ids, salts and hash seeds. A seam, so that a simulator can decide them.
  package var random: @Sendable () -> UInt64 = { .random(in: 0 ... .max) }
  /// Below the public minimum only where a simulator wants many segments of few events.
  package var segmentByteCountMin: UInt64 = 64 << 10
  /// Where the store lacks more than so much of the journal, stored bytes, what it lacks is gathered
  /// after opening. Less only where a simulator wants that with few events.
  package var backlogByteCountMin: UInt64 = 1 << 20
  /// Whether the store's rows are compared with the journal though its mark fits: for a repair.
  package var comparesRows = false
  /// Rows in one transaction of the projector. Fewer only where a test or a simulator wants many of them.
  package var transactionRowCountMax = EngineBounds.transactionRowCount
  /// So much of the journal comes between two checkpoints at least, and before one at the end. Less only where a
  /// simulator wants many of them with few events.
  package var checkpointByteCountMin = EngineBounds.checkpointByteCountMin
  package var closingCheckpointByteCountMin = EngineBounds.closingCheckpointByteCountMin
  /// Entries whose order of use an opening tells in one event. Fewer only where a test wants many of them.
  package var originsPerEventMax = Bounds.originsPerEvent

  public init() {}
}

/// The bounds of every queue, pin and retry of the live cache.
enum EngineBounds {
  /// A frame is cut at this size where nobody waits for it.
  static let frameByteCount = 64 << 10
  /// … or at this age.
  static let frameAge = Microseconds(rawValue: 10_000)
  /// So much more may a full open frame grow by tellings of the order of use, two or three bytes for each
  /// entry that was touched.
  static let tellingByteCountMax = 8 << 20
  /// A caller that leads is late after this time: then the journal's thread writes for those who wait.
  static let leaderTime = Microseconds(rawValue: 2_000)
  /// So many callers whom one sync answers are waited for before the next one.
  static let gatheringCountMin = 3
  /// Bytes of events written but not yet durable, which are kept in memory: beyond it, or half of what
  /// `QueueLimits` says, a sync is forced.
  static let unsyncedByteCountMax = 32 << 20
  /// So many bytes of frames are written before a sync that is due, and no more.
  static let bytesBeforeSyncMax = 256 << 10
  /// Rows and bytes in one transaction of the projector: the more, the more of them come and go within
  /// it and are never written.
  static let transactionRowCount = 131_072
  static let transactionByteCount: UInt64 = 64 << 20
  /// A transaction of fewer rows than these begins so long after the one before it at the earliest, unless
  /// somebody waits for it.
  static let longProjectionRowCount = 32_768
  static let transactionInterval = Microseconds(rawValue: 500_000)
  /// The journal's thread is behind where so much waits for it: it begins at half of that.
  static let longFrameByteCount = 128 << 10
  /// Rows in one transaction of an opening that compares row by row, and bytes of their values.
  static let reconciliationRowCount = 2_000
  static let reconciliationByteCount = 8 << 20
  /// A WAL of this size is checkpointed into the database …
  static let walByteCount: UInt64 = 16 << 20
  /// … or after this time: retention drops only what the store has synced.
  static let walAge = Microseconds.seconds(2)
  /// How often a failed journal or store is tried again.
  static let retryInterval = Microseconds.seconds(1)
  /// Lookups of one key whose row can't be found are repeated this often, each in a new snapshot.
  static let missingRowReadCountMax = 3
  /// So many of the stores that were put aside, the last ones, are asked for values that are found nowhere else.
  static let quarantinedStoreCountMax = 4
  /// Checkpoints come at every segment's start, and after this much journal or as much as the last
  /// checkpoint was worth, whichever is more: they at most double what is written.
  static let checkpointByteCountMin: UInt64 = 2 << 20
  /// … and at the end, where there is this much journal after the last one.
  static let closingCheckpointByteCountMin: UInt64 = 64 << 10
  /// Entries that a checkpoint takes at once, under the lock: about a quarter of a millisecond.
  static let captureSliceCount = 512
  /// Values that an opening left for later come so many at a time, under the lock.
  static let pinSliceCount = 512
  /// So many indexes that clears have replaced wait for upkeep to let them go; clears do it beyond that.
  static let remainsCountMax = 2
  /// A slice of the sweep under the lock.
  static let sweepSliceCount = 256
  /// Values that are unpinned at a time, some 100 ns each.
  static let unpinSliceCount = 64
  /// How many operations of a transaction that is over are let go of at a time.
  static let letGoCount = 64
}

extension CacheConfiguration {
  /// - Throws: as the opening of a directory would, before it looks at it.
  package func check() throws(CacheError) {
    _ = try opened(hasDirectory: true, softwareVersion: "")
  }

  /// The configuration in the form of the journal.
  /// - Throws: `CacheError.Code.invalidConfiguration`, `.invalidTTL`.
  func opened(hasDirectory: Bool, softwareVersion: String) throws(CacheError) -> Opened {
    try check(memoryLimit, "memory")
    let hasStore = usesStore && hasDirectory
    if hasStore {
      try check(storeLimit, "store")
      try check(storeLimit.entryCountMax, holds: memoryLimit.entryCountMax, "entries")
      try check(storeLimit.byteCountMax ?? .max, holds: memoryLimit.byteCountMax ?? 0, "bytes")
    }
    let segmentByteCounts = segmentByteCountMin...1 << 30
    guard segmentByteCounts.contains(segmentByteCount) else {
      throw CacheError(
        .invalidConfiguration,
        "segmentByteCount is \(segmentByteCount); it must be \(segmentByteCounts.lowerBound) to "
          + "\(segmentByteCounts.upperBound) bytes")
    }
    try check(queues)
    for (name, interval) in [("sweepInterval", sweepInterval), ("syncInterval", syncInterval)] {
      guard let interval, interval < .milliseconds(1) else { continue }
      throw CacheError(
        .invalidConfiguration, "\(name) is \(interval); it must be a millisecond or more, or nil")
    }
    if let age = retention.ageMax, age < .zero {
      throw CacheError(
        .invalidConfiguration, "retention.ageMax is \(age); it must not be negative, or nil")
    }
    let boot = clock.reading().boot.rawValue
    guard boot >= 0 else {
      throw CacheError(
        .invalidConfiguration,
        "the clock says that the machine booted in \(boot) µs; its boot reading counts from 0")
    }
    return Opened(
      memoryLimit: memoryLimit, storeLimit: hasStore ? storeLimit : nil,
      memoryTTL: try memoryTTL.asTTL(), storeTTL: try storeTTL.asTTL(), accessLog: accessLog,
      formatVersion: journalFormatVersion, softwareVersion: softwareVersion, bootID: clock.bootID)
  }

  private func check(
    _ most: UInt64, holds memory: UInt64, _ unit: String
  ) throws(CacheError) {
    guard most < memory else { return }
    throw CacheError(
      .invalidConfiguration,
      "the store's limit (\(most) \(unit)) must not be below the memory tier's (\(memory)); raise the "
        + "one or lower the other")
  }

  private func check(_ queues: QueueLimits) throws(CacheError) {
    guard (1...32 << 20).contains(queues.unwrittenByteCountMax) else {
      throw CacheError(
        .invalidConfiguration,
        "unwrittenByteCountMax is \(queues.unwrittenByteCountMax); it must be 1 to 33,554,432 bytes"
      )
    }
    for (name, limit) in [
      ("unsyncedByteCountMax", queues.unsyncedByteCountMax),
      ("pinnedByteCountMax", queues.pinnedByteCountMax),
      ("pendingRowCountMax", queues.pendingRowCountMax),
    ] where limit < 1 {
      throw CacheError(.invalidConfiguration, "\(name) is \(limit); it must be at least 1")
    }
  }

  private func check(_ limit: TierLimit, _ tier: String) throws(CacheError) {
    guard (1...Bounds.entryCountMax).contains(limit.entryCountMax), limit.byteCountMax != 0 else {
      throw CacheError(
        .invalidConfiguration,
        "the \(tier) limit must be 1 to \(Bounds.entryCountMax) entries, and at least 1 byte "
          + "where it has a limit by bytes")
    }
  }
}

extension Duration {
  /// A TTL of so many seconds, fractions allowed: as the nearest microsecond, and at least one unless it is zero.
  /// - Throws: `CacheError.Code.invalidTTL` if it is negative, not a number, or over 2^53 µs.
  public static func ttl(seconds: Double) throws(CacheError) -> Duration {
    guard seconds >= 0, seconds <= Bounds.ttlMax.seconds else {
      throw CacheError(
        .invalidTTL,
        "a TTL must be 0 to \(Int64(Bounds.ttlMax.seconds)) seconds; this one is \(seconds)")
    }
    let microseconds = Int64((seconds * 1_000_000).rounded())
    return .microseconds(seconds > 0 ? max(1, microseconds) : 0)
  }

  /// - Throws: `CacheError.Code.invalidTTL` if it is negative or over 2^53 µs.
  func asTTL() throws(CacheError) -> Microseconds {
    let microseconds = microseconds
    let secondsMax = Bounds.ttlMax.rawValue / 1_000_000
    guard attoseconds >= 0, microseconds < (secondsMax + 1) * 1_000_000 else {
      throw CacheError(
        .invalidTTL,
        "a TTL must be 0 to \(Int64(Bounds.ttlMax.seconds)) seconds; this one is \(self)")
    }
    return Microseconds(rawValue: min(microseconds, Bounds.ttlMax.rawValue))
  }

  /// In microseconds, rounded up: a TTL that isn't zero must not become zero.
  var microseconds: Int64 {
    let divisor: Int64 = 1_000_000_000_000
    let attoseconds = attoseconds
    let high = Int64(truncatingIfNeeded: attoseconds >> 64)
    guard 0 <= high, high < 1 << 29 else {
      let (whole, rest) = attoseconds.quotientAndRemainder(dividingBy: Int128(divisor))
      return Int64(clamping: rest > 0 ? whole + 1 : whole)
    }
    // Below 2^53 µs a quotient of floating point is hardly off, and is put right: dividing 128 bits is a call of
    // a function, or two divisions of 64 bits, which showed in each set.
    let low = UInt64(truncatingIfNeeded: attoseconds)
    let estimate = Double(high) * 0x1p64 + Double(Int64(bitPattern: low >> 11)) * 0x1p11
    var whole = Int64(estimate * 1e-12)
    var rest = Int64(bitPattern: low) &- whole &* divisor
    while rest > 0 {
      whole += 1
      rest -= divisor
    }
    while rest <= -divisor {
      whole -= 1
      rest += divisor
    }
    return whole
  }
}
