import HindsightCore
import HindsightTesting
import Synchronization
import SystemPackage
import Testing

@testable import HindsightJournal

/// Frames that are synced one by one stand where zeros were written before.
@Suite("S042 writing ahead")
struct WritingAheadTests {
  private let storage = SimulatedStorage()
  private let options = JournalOptions(segmentByteCount: 1 << 20) { Timestamp(microseconds: 1) }
  private let writes = Writes()

  /// Writes to segments since they were opened, and which of them fails.
  private final class Writes: Sendable {
    let count = Atomic(0)
    let failing = Atomic(0)
  }

  private func open() throws -> JournalWriter {
    let writer = try JournalRecovery(storage, options, store: nil)
      .open(from: .newest, salvages: false, into: CountingSink()).writer
    let writes = writes
    storage.inject { operation, file in
      guard operation == .write, file.contains(".journal") else { return nil }
      let number = writes.count.add(1, ordering: .relaxed).newValue
      return writes.failing.load(ordering: .relaxed) == number ? .ioError : nil
    }
    return writer
  }

  /// A frame of about a kilobyte that can't be compressed.
  private func append(_ number: UInt64, to writer: JournalWriter, ahead: Bool) throws {
    var random = SplitMix64(seed: number)
    let key: Bytes = (0..<1_000).map { _ in UInt8.random(in: 0...255, using: &random) }[...]
    var frame = OpenFrame()
    frame.append(
      Record(
        sequence: SequenceNumber(number), at: Timestamp(microseconds: 1),
        event: .invalidated(Invalidated(subject: .key(key), reason: nil))))
    try writer.append(
      frame.takeAll(bootTime: Microseconds(rawValue: 0)), durable: writer.durable, endsRun: false,
      writesAhead: ahead)
  }

  @Test("the zeros come once in many frames, and end with the segment", arguments: [false, true])
  func seldom(ahead: Bool) throws {
    let writer = try open()
    for number in 1...900 {
      try append(UInt64(number), to: writer, ahead: ahead)
      try writer.sync()
    }
    // Each is of 192 KiB but the first, of 256, and the last, which ends with the segment.
    #expect(writes.count.load(ordering: .relaxed) == 900 + (ahead ? 5 : 0))
    let file = try storage.open(FileName.segment(1), forWriting: false)
    #expect(try file.size() == options.segmentByteCount)
    try writer.close()
    let sink = CountingSink()
    _ = try JournalReplay(try JournalDirectory(storage, forWriting: false))
      .run(from: .oldest, into: sink)
    #expect(sink.count == 900)
  }

  @Test("zeros that can't be written lose nothing, and aren't tried again")
  func failing() throws {
    let writer = try open()
    writes.failing.store(2, ordering: .relaxed)
    for number in 1...300 {
      try append(UInt64(number), to: writer, ahead: true)
      try writer.sync()
    }
    #expect(writes.count.load(ordering: .relaxed) == 301)
    #expect(writer.durable == SequenceNumber(300))
    storage.crash()
    let sink = CountingSink()
    _ = try JournalReplay(try JournalDirectory(storage, forWriting: false))
      .run(from: .oldest, into: sink)
    #expect(sink.count == 300)
  }
}
