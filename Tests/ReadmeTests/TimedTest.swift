import Hindsight
import HindsightTesting
import Testing

@Test func memoryForgetsAfterAnHour() async throws {
  let clock = ManualClock()
  var configuration = CacheConfiguration()
  configuration.clock = clock
  try await withCache(at: nil, of: Int.self, configuration: configuration) { cache in
    let key = try CacheKey("pypi:flask")
    try await cache.set(1, for: key)
    clock.advance(by: .seconds(3_600))
    #expect(try await cache.get(key) == nil)
  }
}
