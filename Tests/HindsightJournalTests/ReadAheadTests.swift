import Glibc
import HindsightCore
import HindsightTesting
import Synchronization
import Testing

@testable import HindsightJournal

/// Where the system gives no thread to read ahead with, what is read is the same.
@Suite("S040 reading ahead")
struct ReadAheadTests {
  private let storage = SimulatedStorage()
  private let eventCount = 400
  private let options = JournalOptions(segmentByteCount: 1 << 20) { Timestamp(microseconds: 1) }

  private func key(_ number: Int, _ random: inout SplitMix64) -> Bytes {
    (0..<1_000).map { _ in UInt8.random(in: 0...255, using: &random) }[...]
  }

  /// A segment and a checkpoint, each long enough to be read ahead.
  private func write() throws {
    var random = SplitMix64(seed: 5)
    let opened = try JournalRecovery(storage, options, store: nil)
      .open(from: .newest, salvages: false, into: CountingSink())
    for number in 1...eventCount {
      var frame = OpenFrame()
      let subject = LookupSubject.key(key(number, &random))
      frame.append(
        Record(
          sequence: SequenceNumber(UInt64(number)), at: Timestamp(microseconds: 1),
          event: .invalidated(Invalidated(subject: subject, reason: nil))))
      try opened.writer.append(
        frame.takeAll(bootTime: Microseconds(rawValue: 0)), durable: .zero, endsRun: false)
    }
    try opened.writer.close()
    let last = SequenceNumber(UInt64(eventCount))
    let header = CheckpointHeader(
      number: 1, journalID: opened.writer.journalID,
      head: StateHead(
        sequence: last, at: Timestamp(microseconds: 1), opened: nil, isClosed: false),
      digest: 0, entryCount: UInt64(eventCount), position: opened.writer.position, bootTime: 0,
      gapFirst: nil)
    let checkpoint = try CheckpointWriter(storage, header)
    for number in 1...eventCount {
      let numbers = EntryNumbers(
        origin: SequenceNumber(UInt64(number)), setAt: Timestamp(microseconds: 1), coder: 1,
        valueByteCount: 0, valueHash: 0, memoryExpiry: nil, storeExpiry: nil)
      try key(number, &random).withUnsafeBytes { key in
        try checkpoint.append(key: key, numbers, value: nil)
      }
    }
    _ = try checkpoint.finish(digest: 0)
  }

  /// How many events and entries there are.
  private func read() throws -> (events: Int, entries: Int) {
    let sink = CountingSink()
    let directory = try JournalDirectory(storage, forWriting: false)
    _ = try JournalReplay(directory).run(from: .oldest, into: sink)
    var entries = 0
    try CheckpointReader(storage, number: 1).forEachEntry(hashSeed: 0) { _, _ in entries += 1 }
    return (sink.count, entries)
  }

  @Test("refused threads: segments and checkpoints are read in place")
  func refused() throws {
    try write()
    for isRefused in [false, true] {
      let found = try JoinableThread.$isRefused.withValue(isRefused) { try read() }
      #expect(found == (eventCount, eventCount))
      let readAhead = JoinableThread.$isRefused.withValue(isRefused) {
        ReadAhead(costMax: 1) { _ in (element: 1, cost: 1, isLast: true) }
      }
      #expect((readAhead == nil) == isRefused)
      readAhead?.stop()
    }
  }

  @Test("what nobody has asked for yet isn't awaited")
  func awaited() throws {
    let count = Atomic(0)
    let awaited = Atomic(0)
    let readAhead = try #require(
      ReadAhead<Int>(costMax: 10) { readAhead in
        if readAhead?.isAwaited ?? true { awaited.add(1, ordering: .relaxed) }
        let number = count.add(1, ordering: .relaxed).newValue
        return (element: number, cost: 1, isLast: number == 3)
      })
    defer { readAhead.stop() }
    while count.load(ordering: .relaxed) < 3 { sched_yield() }
    #expect(awaited.load(ordering: .relaxed) == 1, "the first")
    #expect([readAhead.next(), readAhead.next(), readAhead.next()] == [1, 2, 3])
    #expect(readAhead.isAwaited)
  }
}
