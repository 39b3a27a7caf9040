import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting
import Testing

/// One writes, any number read beside it.
@Suite("S040 readers beside a writer")
struct LiveReaderTests {
  @Test("while a cache is written, rotated and trimmed, its journal and its rows verify")
  func verifyWhileWriting() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.cache
    let cache = try await Cache.open(
      at: path, coder: .bytes,
      configuration: configuration(memory: 20, store: 50) {
        $0.clock = SystemClock()
        $0.segmentByteCount = 64 << 10
        $0.retention = Retention(byteCountMax: 256 << 10)
        $0.syncInterval = .milliseconds(5)
      })
    let writing = Task {
      var random = SplitMix64(seed: 28)
      var number = 0
      while !Task.isCancelled {
        // Another one each time: what repeats within a run of frames takes next to no space.
        let noise = (0..<2_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        try await cache.set(noise, for: try CacheKey("k:\(number % 90)"), acknowledgement: .durable)
        number += 1
      }
    }
    var lastSequence: UInt64 = 0
    var rows = 0
    var isTrimmed = false
    // Rounds, not time: the writer may get a thread late.
    for _ in 0..<4_000 where !isTrimmed || lastSequence < 300 {
      let verified = try Verifier(directory: path).run()
      #expect(verified.isSound, "\(verified.problems)")
      #expect(verified.lastSequence >= lastSequence)
      lastSequence = verified.lastSequence
      rows += verified.rows
      isTrimmed = isTrimmed || verified.firstSequence > 1
      let end = try EventStream(try PosixStorage(path: path)).replay { _ in }
      #expect(end.last.rawValue >= lastSequence)
      // Nothing above suspends: give the writer a thread where other tests keep theirs busy.
      try await Task.sleep(for: .milliseconds(5))
    }
    writing.cancel()
    _ = await writing.result
    #expect(isTrimmed && lastSequence >= 300 && rows > 0)
    try await cache.close()
  }
}
