import Dispatch
import Hindsight
import HindsightTesting
import Synchronization
import Testing

@Suite("S041 from an actor")
struct ActorTests {
  /// Counts how often the actor's work is taken up.
  private final class CountingExecutor: SerialExecutor {
    private let queue = DispatchQueue(label: "actor")
    private let enqueued = Atomic<Int>(0)

    var count: Int { enqueued.load(ordering: .relaxed) }

    func enqueue(_ job: consuming ExecutorJob) {
      enqueued.add(1, ordering: .relaxed)
      let job = UnownedJob(job)
      queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
  }

  private actor Caller {
    private let executor = CountingExecutor()
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    func call(_ cache: Cache<[UInt8]>) async throws {
      let (key, none) = (try CacheKey("k:1"), try CacheKey("k:none"))
      try await cache.set([1], for: key, acknowledgement: .enqueued)
      let before = executor.count
      for _ in 0..<300 {
        #expect(try await cache.get(key) == [1])
        #expect(try await cache.lookup(key).value == [1])
        #expect(try await cache.get(none) == nil)
        try await cache.set([1], for: key, acknowledgement: .enqueued)
      }
      #expect(executor.count == before)
      // What waits does come back by the executor.
      await Task.yield()
      #expect(executor.count > before)
    }
  }

  @Test("a hit, a miss and an enqueued set stay on the actor: nothing hops")
  func stays() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await Cache<[UInt8]>.open(
      at: directory.cache, coder: .bytes, configuration: configuration())
    try await Caller().call(cache)
    try await cache.close()
  }
}
