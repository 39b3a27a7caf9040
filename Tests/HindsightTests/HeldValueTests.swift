import Hindsight
import HindsightTesting
import Testing

/// What the index holds of a value is one reference, counted by hand.
@Suite("S041 values in memory")
struct HeldValueTests {
  @Test("a value is let go when it is replaced, evicted, invalidated, or dropped with the cache")
  func letGo() async throws {
    let directory = try TemporaryDirectory()
    let census = Census()
    let keys = try (0..<40).map { try CacheKey("k\($0)") }
    for path in [nil, directory.cache] {
      do {
        let cache = try await Cache<Census.Member>.open(
          at: path, coder: census.coder, configuration: configuration(memory: 10, store: 30))
        for _ in 0..<2 { for key in keys { try await cache.set(Census.Member(census), for: key) } }
        #expect(census.count == 10)
        if path != nil {
          try await cache.settle()
          // Promoted: decoded anew, and another one leaves.
          #expect(try await cache.get(keys[20]) != nil)
          #expect(census.count == 10)
        }
        try await cache.invalidate(keys[39])
        #expect(census.count == 9)
        #expect(cache.memoryValue(for: keys[38]) != nil)
      }
      // Whoever has the engine last lets go of the rest.
      try await census.wait(for: 0)
    }
  }

  @Test("arrays of bytes are held as they are, and changing one changes a copy")
  func plainBytes() async throws {
    let directory = try TemporaryDirectory()
    let key = try CacheKey("k")
    for path in [nil, directory.cache] {
      let cache = try await Cache<[UInt8]>.open(
        at: path, coder: .bytes, configuration: configuration())
      for value: [UInt8] in [[], [7], Array(repeating: 9, count: 10_000)] {
        var mine = value
        try await cache.set(mine, for: key)
        mine.append(1)
        var theirs = try #require(cache.memoryValue(for: key))
        #expect(theirs == value)
        theirs.append(2)
        #expect(try await cache.get(key) == value)
        guard path != nil else { continue }
        // Without the pin, too.
        try await cache.settle()
        #expect(cache.memoryValue(for: key) == value)
      }
      try await cache.close()
    }
    let again = try await Cache<[UInt8]>.open(
      at: directory.cache, coder: .bytes, configuration: configuration())
    #expect(again.memoryValue(for: key)?.count == 10_000)
    #expect(again.memoryValue(for: key)?.last == 9)
    try await again.close()
  }
}
