import Foundation
import Hindsight
import HindsightTesting
import Testing

/// Runs `body` on so many threads, all at once, and waits for them. Threads of its own:
/// `concurrentPerform` runs one after the other where other tests have taken its threads.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let group = DispatchGroup()
  for number in 0..<count {
    group.enter()
    Thread.detachNewThread {
      body(number)
      group.leave()
    }
  }
  group.wait()
}

/// What the tests cache: like the first user's metadata.
struct Package: Codable, Sendable, Equatable {
  var name: String
  var exists = true
}

typealias PackageCache = Cache<Package?>

func pypi(_ name: String) throws -> CacheKey { try CacheKey(registry: "pypi", package: name) }

/// Small limits and a clock that the test moves; nothing happens by itself but the projector.
func configuration(
  clock: ManualClock = ManualClock(), memory: UInt64 = 1_000, store: UInt64 = 100_000,
  _ change: (inout CacheConfiguration) -> Void = { _ in }
) -> CacheConfiguration {
  var configuration = CacheConfiguration()
  configuration.clock = clock
  configuration.memoryLimit = TierLimit(entryCountMax: memory)
  configuration.storeLimit = TierLimit(entryCountMax: store)
  configuration.sweepInterval = nil
  change(&configuration)
  return configuration
}

/// The tier that answers, and what; `nil` for a miss.
func answer<Value>(_ lookup: Lookup<Value>) -> (tier: Tier, value: Value)? {
  guard case .hit(let hit) = lookup else { return nil }
  return (hit.tier, hit.value)
}

func reason<Value>(_ lookup: Lookup<Value>) -> MissReason? {
  guard case .miss(let reason) = lookup else { return nil }
  return reason
}

/// The error that `body` ends with; `nil` where it ends well.
func failure(_ body: () async throws -> Void) async -> CacheError? {
  do {
    try await body()
    return nil
  } catch {
    return error as? CacheError
  }
}
