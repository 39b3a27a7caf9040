import Hindsight

actor Packages {
  private let cache: Cache<Package?>

  init(directory: String) async throws {
    var configuration = CacheConfiguration()
    configuration.memoryTTL = .seconds(600)
    cache = try await Cache.open(at: directory, configuration: configuration)
  }

  func package(_ name: String) async throws -> Package? {
    let key = try CacheKey(registry: "pypi", package: name)
    if case .hit(let hit) = try await cache.lookup(key) { return hit.value }
    let answer = try await askRegistry(name)
    do {
      try await cache.set(answer, for: key)
    } catch {
      print("not cached: \(error)")  // the disk is full, say: the answer is as good
    }
    return answer
  }

  func close() async throws { try await cache.close() }
}
