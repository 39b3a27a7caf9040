import HindsightCore
import HindsightTesting
import Synchronization
import Testing

@testable import HindsightJournal

/// What a recovery needs not read again.
@Suite("S040 frames kept for a recovery")
struct KeptFramesTests {
  private func frame(
    _ number: UInt64, _ encoding: BodyEncoding, byteCount: Int = 100
  ) -> FrameReader.Frame {
    FrameReader.Frame(
      header: FrameHeader(
        encoding: encoding, storedByteCount: UInt32(byteCount), rawByteCount: UInt32(byteCount),
        count: 1, bodyChecksum: 0, first: SequenceNumber(number), durable: .zero, bootTime: 0,
        salt: 0, previousChecksum: 0),
      headerChecksum: UInt32(number), offset: number * 1_000,
      stored: [UInt8](repeating: 0, count: byteCount))
  }

  @Test("they begin with the run of the first frame that nothing proves to be durable")
  func beginning() {
    var kept = KeptFrames(byteCountMax: 32 << 20)
    for number in 1...9 as ClosedRange<UInt64> {
      kept.append(frame(number, number % 3 == 1 ? .begins : .continues), proven: .zero)
    }
    #expect(kept.count == 9)
    // 5 is the first that isn't proven, and its run begins with 4.
    kept.append(frame(10, .begins), proven: SequenceNumber(4))
    #expect(kept.count == 7)
    #expect((0..<7).map { kept[$0].header.first.rawValue } == Array(4...10))
    kept.append(frame(11, .continues), proven: SequenceNumber(10))
    #expect(kept.count == 8)
    kept.append(frame(12, .begins), proven: SequenceNumber(11))
    #expect(kept.count == 1 && kept[0].headerChecksum == 12)
  }

  @Test("beyond 32 MiB none are")
  func tooMany() {
    var kept = KeptFrames(byteCountMax: 32 << 20)
    for number in 1...33 as ClosedRange<UInt64> {
      #expect(kept.count == number - 1)
      kept.append(frame(number, .begins, byteCount: 1 << 20), proven: .zero)
    }
    #expect(kept.count == 0)
    kept.append(frame(34, .begins), proven: .zero)
    #expect(kept.count == 0)
    // What is proven doesn't count.
    var proven = KeptFrames(byteCountMax: 32 << 20)
    for number in 1...100 as ClosedRange<UInt64> {
      proven.append(
        frame(number, .begins, byteCount: 1 << 20), proven: SequenceNumber(number - 1))
    }
    #expect(proven.count == 1)
  }

  /// The journal of a killed process: frames of one event each, the first ones of them proven to be durable, and
  /// runs begun at some of them. Every event takes a kilobyte that can't be compressed.
  private func record(_ storage: SimulatedStorage, _ options: JournalOptions) throws {
    let writer = try JournalRecovery(storage, options, store: nil)
      .open(from: .newest, salvages: false, into: CountingSink()).writer
    var random = SplitMix64(seed: 3)
    for number in 1...40 as ClosedRange<UInt64> {
      let key: Bytes = (0..<1_000).map { _ in UInt8.random(in: 0...255, using: &random) }[...]
      var frame = OpenFrame()
      frame.append(
        Record(
          sequence: SequenceNumber(number), at: Timestamp(microseconds: Int64(number)),
          event: .invalidated(Invalidated(subject: .key(key), reason: nil))))
      try writer.append(
        frame.takeAll(bootTime: Microseconds(rawValue: 0)), durable: writer.durable,
        endsRun: number % 7 == 0, writesAhead: false)
      if number == 17 { try writer.sync() }
    }
  }

  @Test("what was kept is written again as what is read again")
  func sameRecovery() throws {
    var recovered: [(reads: Int, segment: [UInt8])] = []
    for keptByteCountMax in [0, 5_000, 32 << 20] {
      let storage = SimulatedStorage()
      var options = JournalOptions(
        segmentByteCount: 1 << 20, random: { 5 }, now: { Timestamp(microseconds: 1) })
      try record(storage, options)
      options.keptByteCountMax = keptByteCountMax
      let reads = Atomic(0)
      storage.inject { operation, file in
        if operation == .read, file == FileName.segment(1) { reads.add(1, ordering: .relaxed) }
        return nil
      }
      let sink = CountingSink()
      try JournalRecovery(storage, options, store: nil)
        .open(from: .newest, salvages: false, into: sink).writer.close()
      #expect(sink.count == 40)
      let again = CountingSink()
      _ = try JournalReplay(try JournalDirectory(storage, forWriting: false))
        .run(from: .oldest, into: again)
      #expect(again.count == 40)
      let file = try storage.open(FileName.segment(2), forWriting: false)
      recovered.append(
        (reads.load(ordering: .relaxed), try file.read(at: 0, count: Int(try file.size()))))
    }
    // The frames from 18 on, each of a kilobyte and more.
    #expect(recovered[2].segment.count > 23_000)
    #expect(recovered[0].segment == recovered[2].segment)
    #expect(recovered[1].segment == recovered[2].segment)
    #expect(recovered[0].reads == recovered[1].reads && recovered[1].reads > recovered[2].reads)
  }
}
