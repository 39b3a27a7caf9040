import HindsightCore
import HindsightJournal
import HindsightTesting

/// A journal whose frames have the right checksums, whatever its events are.
final class CraftedJournal {
  let storage = SimulatedStorage()
  let writer: JournalWriter
  private(set) var last = SequenceNumber.zero
  /// All events at once.
  private let at = Timestamp(microseconds: 1_000)

  init() throws {
    let options = JournalOptions { Timestamp(microseconds: 1) }
    writer = try JournalRecovery(storage, options, store: nil)
      .open(from: .newest, salvages: false, into: DeafSink()).writer
  }

  /// Appends a frame.
  func append(_ events: [Event]) throws {
    var frame = OpenFrame()
    for event in events {
      frame.append(Record(sequence: last.next, at: at, event: event))
      last = last.next
    }
    try writer.append(
      frame.takeAll(bootTime: Microseconds(rawValue: 0)), durable: .zero, endsRun: true)
  }

  /// Leaves numbers out.
  func skip(_ count: UInt64) { last = SequenceNumber(last.rawValue + count) }

  /// Appends a frame of so many events that change nothing.
  func appendNothing(count: Int) throws {
    let nothing = Invalidated(subject: .key(Array("k:none".utf8)[...]), reason: nil)
    try append([Event](repeating: .invalidated(nothing), count: count))
  }

  /// Writes a checkpoint of a state without entries.
  /// - Parameters:
  ///   - last: the state's last event.
  ///   - opened: how the cache was opened.
  ///   - position: where the journal goes on.
  ///   - journalID: whose it is; `nil`: this one's.
  ///   - gapFirst: the first event of the gap that it bridges.
  func checkpoint(
    number: UInt32, last: SequenceNumber, _ opened: Event, position: JournalPosition,
    previousChecksum: UInt32? = nil, journalID: JournalID? = nil, gapFirst: SequenceNumber? = nil
  ) throws {
    guard case .opened(let opened) = opened else { preconditionFailure("not how it was opened") }
    let head = StateHead(sequence: last, at: at, opened: opened, isClosed: false)
    var header = CheckpointHeader(
      number: number, journalID: journalID ?? writer.journalID, head: head, digest: 0,
      entryCount: 0, position: position, bootTime: 0)
    header.previousChecksum = previousChecksum
    header.gapFirst = gapFirst
    let digest = StateDigest(head, orderIsTold: true).value
    _ = try CheckpointWriter(storage, header).finish(digest: digest)
  }

  /// - Returns: the journal.
  func close() throws -> SimulatedStorage {
    try writer.close()
    return storage
  }

  /// A value that never expires, in memory unless `memory` says otherwise.
  func set(
    _ key: String, memory: Bool = true, store: Bool = false, reason: String? = nil
  ) -> Event {
    let never = Timestamp(microseconds: 1 << 60)
    return .set(
      ValueSet(
        key: Array(key.utf8)[...], value: [1], coder: 2, memoryExpiry: memory ? never : nil,
        storeExpiry: store ? never : nil, reason: reason))
  }

  func opened(memory: UInt64, store: UInt64? = nil) -> Event {
    let hour = Microseconds(rawValue: 3_600_000_000)
    return .opened(
      Opened(
        memoryLimit: TierLimit(entryCountMax: memory),
        storeLimit: store.map { TierLimit(entryCountMax: $0) }, memoryTTL: hour, storeTTL: hour,
        accessLog: .lookups, formatVersion: 2, softwareVersion: "test", bootID: 0))
  }
}

/// Takes nothing in.
final class DeafSink: ReplaySink {
  let hashSeed: UInt64 = 0
  func begin() {}
  func restore(_ head: StateHead) {}
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) {}
  func finishRestore(digest: UInt64) {}
  func apply(_ record: Record) {}
  func endFrame(at position: JournalPosition) {}
}
