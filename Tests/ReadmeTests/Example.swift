import Hindsight

struct Package: Codable, Sendable { var name: String }

func lookUp(_ name: String, in cache: Cache<Package?>) async throws -> Package? {
  let key = try CacheKey(registry: "pypi", package: name)
  if case .hit(let hit) = try await cache.lookup(key) { return hit.value }
  let answer = try await askRegistry(name)  // yours; nil: there is no such package
  try await cache.set(answer, for: key, reason: "looked up")
  return answer
}

func run() async throws -> Package? {
  try await withCache(at: "/var/tmp/lookups", of: Package?.self) {
    try await lookUp("Flask", in: $0)
  }
}
