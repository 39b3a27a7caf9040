import HindsightCore
import HindsightJournal
import HindsightTesting
import Testing

/// A replay whose sink takes a part at a time.
@Suite("S040 a replay that stops in between")
struct StoppedReplayTests {
  @Test("it goes on with the next frame, within a run and behind a segment's end, too")
  func goesOn() async throws {
    let lab = Lab(memory: 100) { $0.segmentByteCount = 64 << 10 }
    try await lab.open()
    var random = SplitMix64(seed: 7)
    for number in 0..<300 {
      // Half of it compresses.
      let noise = (0..<400).map { _ in UInt8.random(in: 0 ... .max, using: &random) }
      try await lab.set("k:\(number % 120)", noise + [UInt8](repeating: 7, count: 400))
    }
    try await lab.close()
    let directory = try JournalDirectory(lab.storage, forWriting: false)
    #expect(directory.segmentNumbers.count > 1)
    let replay = JournalReplay(directory)
    let whole = NotingSink(stops: false)
    let end = try replay.run(from: .oldest, into: whole)
    let stopping = NotingSink(stops: true)
    var reached = try replay.run(from: .oldest, into: stopping)
    while reached.last < end.last {
      let before = reached.frameCount
      reached = try replay.run(on: reached, into: stopping)
      try #require(reached.frameCount == before + 1)
    }
    #expect(stopping.records == whole.records && whole.records.count > 300)
    #expect(reached.frameCount == end.frameCount && reached.position == end.position)
  }
}

/// Keeps what it is given.
private final class NotingSink: ReplaySink {
  let hashSeed: UInt64 = 0
  let takesMore: Bool
  private(set) var records: [Record] = []

  init(stops: Bool) { takesMore = !stops }

  func begin() {}
  func restore(_ head: StateHead) {}
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) {}
  func finishRestore(digest: UInt64) {}
  func apply(_ record: Record) { records.append(record) }
  func endFrame(at position: JournalPosition) {}
}
