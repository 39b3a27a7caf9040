import Hindsight

actor Packages {
  private let cache: Cache<Package?>

  init(directory: String) async throws {
    var configuration = CacheConfiguration()
    configuration.memoryTTL = .seconds(600)
    cache = try await Cache.open(at: directory, configuration: configuration)
  }

  func package(_ name: String) async throws -> Package? {
    do {
      return try await lookUp(name, in: cache)
    } catch let error as CacheError where error.code == .journalUnavailable {
      return try await askRegistry(name)  // the disk is full, say: go on without the cache
    }
  }

  func close() async throws { try await cache.close() }
}
