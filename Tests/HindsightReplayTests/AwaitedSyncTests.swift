import Hindsight
import HindsightTesting
import Synchronization
import Testing

/// Whoever waits for the disk has zeros written ahead of the next frames; nobody else does.
@Suite("S042 syncs that somebody waits for")
struct AwaitedSyncTests {
  @Test(
    "zeros are written ahead of durable sets only",
    arguments: [Acknowledgement.enqueued, .written, .durable])
  func ahead(_ level: Acknowledgement) async throws {
    let lab = Lab {
      $0.acknowledgement = level
      $0.segmentByteCount = 4 << 20
    }
    try await lab.open()
    try await lab.sync()
    let counter = Counter()
    lab.storage.inject { operation, file in
      if operation == .write, file.contains(".journal") { counter.count.add(1, ordering: .relaxed) }
      return nil
    }
    for number in 0..<10 { try await lab.set("k:\(number)", [1]) }
    #expect(counter.count.load(ordering: .relaxed) == (level == .durable ? 11 : 10))
    try await lab.close()
    try await lab.open()
    #expect(try await lab.get("k:9") == [1])
    try await lab.close()
  }

  private final class Counter: Sendable {
    let count = Atomic(0)
  }
}
