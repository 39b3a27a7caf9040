import Foundation
import HindsightStore
import HindsightTesting
import Testing

@testable import Hindsight

/// Refusals and rarely taken ways of the public interface.
@Suite("S040 the public interface's edges")
struct PublicEdgeTests {
  @Test("a prefix to clear has at most 1,024 bytes")
  func longPrefix() async throws {
    let cache = try await Cache<Int>.open(at: nil, configuration: configuration())
    let key = String(repeating: "k:", count: 512)
    try await cache.set(1, for: try CacheKey(key))
    let refused = await failure { try await cache.clear(prefix: key + "k") }
    #expect(refused?.code == .invalidKey)
    #expect(cache.count.memory == 1)
    #expect(try await cache.clear(prefix: key).memory == 1)
    try await cache.close()
  }

  @Test("a value that doesn't encode is refused, and the old one stays")
  func unencodable() async throws {
    let cache = try await Cache<Double>.open(at: nil, configuration: configuration())
    let key = try pypi("flask")
    try await cache.set(1, for: key)
    let refused = await failure { try await cache.set(.nan, for: key) }
    #expect(refused?.code == .invalidValue)
    #expect(try await cache.get(key) == 1)
    try await cache.close()
  }

  @Test("a reason has at most 256 bytes, whatever it is given for")
  func longReason() async throws {
    let cache = try await Cache<Int>.open(at: nil, configuration: configuration())
    let key = try pypi("flask")
    let reason = String(repeating: "r", count: 257)
    try await cache.set(1, for: key, reason: String(reason.dropLast()))
    for refused in [
      await failure { try await cache.set(2, for: key, reason: reason) },
      await failure { _ = try await cache.invalidate(key, reason: reason) },
      await failure { try await cache.clear(reason: reason) },
      await failure { try await cache.clear(registry: "pypi", reason: reason) },
    ] { #expect(refused?.code == .invalidReason) }
    #expect(try await cache.get(key) == 1)
    try await cache.close()
  }

  @Test("a flush to enqueued waits for nothing, and tells the last event")
  func flushEnqueued() async throws {
    let directory = try TemporaryDirectory()
    let cache = try await Cache<Int>.open(at: directory.cache, configuration: configuration())
    let origin = try await cache.set(1, for: try pypi("flask"), acknowledgement: .enqueued)
    #expect(try await cache.flush(to: .enqueued) == origin)
    try await cache.close()
  }

  @Test("journal and store are in one directory, though the working directory changes meanwhile")
  func changedWorkingDirectory() async {
    // In a process of its own, since that is the whole process's.
    await #expect(processExitsWith: .success) {
      let scratch = try TemporaryDirectory()
      try #require(chdir(scratch.path) == 0)
      let (storage, store) = try #require(try Place.directory("cache").open())
      try #require(chdir("/") == 0)
      try storage.lock().unlock()
      try #require(store).openWriter().close()
      let names = try FileManager.default.contentsOfDirectory(atPath: scratch.cache)
      #expect(names.contains("lock") && names.contains("store.sqlite"), "\(names)")
    }
  }

  private struct OwnError: Error {}

  @Test("where its body and the close fail, withCache throws the body's error and logs the other")
  func twoFailures() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.cache
    let log = CapturedLog()
    let configuration = configuration {
      $0.usesStore = false
      $0.segmentByteCount = 64 << 10
    }
    await #expect(throws: OwnError.self) {
      try await withCache(
        at: path, coder: .bytes, configuration: configuration, logger: log.logger
      ) { cache in
        // The next segment can't be made.
        try FileManager.default.removeItem(atPath: path)
        var random = SplitMix64(seed: 1)
        for number in 0..<10 {
          let value = (0..<40_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
          _ = await failure { try await cache.set(value, for: try pypi("p\(number)")) }
        }
        throw OwnError()
      }
    }
    #expect(log.texts(.error).contains { $0.hasPrefix("the cache can't be closed") })
  }

  @Test("INV017 bytes in the store stay within its limit, on the disk as in the index")
  func storeBytes() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration {
      $0.memoryLimit = TierLimit(entryCountMax: 1_000, byteCountMax: 1_000)
      $0.storeLimit = TierLimit(entryCountMax: 100_000, byteCountMax: 10_000)
    }
    let cache = try await Cache.open(
      at: directory.cache, coder: .bytes, configuration: configuration)
    // Keys of 8 bytes, values of 92.
    for number in 100..<300 {
      try await cache.set([UInt8](repeating: 7, count: 92), for: try pypi("\(number)"))
    }
    #expect(cache.count == TierCounts(memory: 10, store: 100))
    #expect(try await cache.get(try pypi("199")) == nil)
    #expect(try await cache.get(try pypi("200"))?.count == 92)
    try await cache.settle()
    #expect(try StoreInspector(directory: directory.cache).rowCount() == 100)
    // One that is as large as all of them together leaves room for no other, and memory as it is.
    try await cache.set([UInt8](repeating: 7, count: 9_992), for: try pypi("300"))
    try await cache.settle()
    #expect(cache.count == TierCounts(memory: 10, store: 1))
    #expect(try StoreInspector(directory: directory.cache).rowCount() == 1)
    try await cache.close()
  }
}
