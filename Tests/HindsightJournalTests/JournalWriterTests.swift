import HindsightCore
import HindsightTesting
import Synchronization
import Testing

@testable import HindsightJournal

/// What a sync proves, and what stays where something fails halfway.
@Suite("S042 the journal's writer")
struct JournalWriterTests {
  private let storage = SimulatedStorage()
  private let options = JournalOptions(segmentByteCount: 1 << 20) { Timestamp(microseconds: 1) }

  private func open() throws -> JournalWriter {
    try JournalRecovery(storage, options, store: nil)
      .open(from: .newest, salvages: false, into: CountingSink()).writer
  }

  private func append(_ number: UInt64, to writer: JournalWriter) throws {
    var frame = OpenFrame()
    frame.append(
      Record(
        sequence: SequenceNumber(number), at: Timestamp(microseconds: 1),
        event: .invalidated(Invalidated(subject: .key([1]), reason: nil))))
    try writer.append(
      frame.takeAll(bootTime: Microseconds(rawValue: 0)), durable: writer.durable, endsRun: false)
  }

  @Test("a frame that is written while a sync is on its way is kept, and isn't durable yet")
  func writtenMeanwhile() throws {
    let writer = try open()
    try append(1, to: writer)
    let each = writer.unsyncedByteCount
    let ticket = writer.beginSync()
    try ticket.perform()
    try append(2, to: writer)
    writer.completeSync(ticket)
    #expect(writer.durable == SequenceNumber(1))
    #expect(writer.unsyncedByteCount == each)
    try writer.sync()
    #expect(writer.durable == SequenceNumber(2))
    #expect(writer.unsyncedByteCount == 0)
    try writer.close()
  }

  @Test("a frame that is being written when a sync begins isn't proven by it")
  func beingWritten() throws {
    let writer = try open()
    try append(1, to: writer)
    let ticket = Mutex<JournalWriter.SyncTicket?>(nil)
    storage.inject { operation, _ in
      guard operation == .write else { return nil }
      let begun = writer.beginSync()
      ticket.withLock { $0 = begun }
      return nil
    }
    try append(2, to: writer)
    storage.inject(nil)
    let begun = try #require(ticket.withLock { $0 })
    writer.completeSync(begun)
    #expect(writer.durable == SequenceNumber(1))
    #expect(writer.unsyncedByteCount > 0)
    try writer.close()
  }

  @Test("after a rotation that failed with its segment there, the old one isn't gone on with")
  func failedRotation() throws {
    let writer = try open()
    try append(1, to: writer)
    let isFirst = Atomic(true)
    storage.inject { operation, _ in
      operation == .syncDirectory && isFirst.exchange(false, ordering: .relaxed) ? .ioError : nil
    }
    #expect(throws: StorageError.self) { try writer.rotate() }
    storage.inject(nil)
    try writer.rescue()
    try append(2, to: writer)
    try writer.sync()
    storage.killProcess()
    let sink = CountingSink()
    let recovered = try JournalRecovery(storage, options, store: nil)
      .open(from: .newest, salvages: false, into: sink)
    #expect(sink.count == 2)
    #expect(recovered.report.last == SequenceNumber(2))
    try recovered.writer.close()
  }

  @Test("a bridge over a gap is withdrawn only where nothing was begun behind it")
  func withdrawal() throws {
    let writer = try open()
    storage.setBytes([1], of: "00000007.checkpoint")
    writer.withdrawBridge(7, to: 1)
    #expect(try storage.list().contains("00000007.checkpoint"))
    writer.withdrawBridge(7, to: 2)
    #expect(try !storage.list().contains("00000007.checkpoint"))
    try writer.close()
  }

  @Test("a descriptor whose sync has failed is never synced again, even with nothing to rescue")
  func failedSync() throws {
    let writer = try open()
    let syncs = Atomic(0)
    storage.inject { operation, _ in
      guard operation == .sync else { return nil }
      return syncs.add(1, ordering: .relaxed).newValue == 1 ? .ioError : nil
    }
    #expect(throws: StorageError.self) { try writer.sync() }
    #expect(throws: StorageError.self) { try writer.sync() }
    #expect(syncs.load(ordering: .relaxed) == 1)
    // The rescue begins another segment, though it has no frame for it.
    try writer.rescue()
    try append(1, to: writer)
    try writer.sync()
    #expect(writer.position.segment == 2)
    #expect(writer.durable == SequenceNumber(1))
    try writer.close()
  }
}
