import Foundation
import Hindsight
import HindsightTesting
import Synchronization
import Testing

/// Where the system gives no further thread, opening fails, and leaves nothing behind.
@Suite("A scheduler that can't start an activity")
struct SchedulerFailureTests {
  @Test("open says so, nothing leaks, and the directory is free", arguments: 0..<5)
  func everyActivity(limit: Int) async throws {
    let directory = try TemporaryDirectory()
    let key = try CacheKey("k:1")
    try await withCache(at: directory.cache, of: Int.self) { _ = try await $0.set(7, for: key) }
    let scheduler = ScantScheduler(limit)
    var configuration = CacheConfiguration()
    configuration.scheduler = scheduler
    let refused = configuration
    let error = await failure {
      _ = try await Cache<Int>.open(at: directory.cache, configuration: refused)
    }
    #expect(error?.code == .system)
    #expect(error?.message.contains("no thread for") == true)
    #expect(try openFiles(below: directory.path).isEmpty)
    // What did start ends without having done anything.
    try await eventually("no activity lives on") { scheduler.living == 0 }
    let cache = try await Cache<Int>.open(at: directory.cache)
    #expect(try await cache.get(key) == 7)
    try await cache.close()
  }

  @Test("a cache in memory alone says so, too")
  func memory() async throws {
    var configuration = CacheConfiguration()
    configuration.scheduler = ScantScheduler(1)
    let refused = configuration
    let error = await failure { _ = try await Cache<Int>.open(at: nil, configuration: refused) }
    #expect(error?.code == .system)
  }

  private func openFiles(below path: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap { name in
      do {
        let target = try FileManager.default
          .destinationOfSymbolicLink(atPath: "/proc/self/fd/\(name)")
        return target.hasPrefix(path) ? target : nil
      } catch {
        return nil  // closed meanwhile, by somebody else
      }
    }
  }
}

/// Starts so many activities, and no more.
private final class ScantScheduler: BackgroundScheduler {
  private let threads = ThreadScheduler()
  private let left: Mutex<Int>
  private let running = Mutex(0)

  init(_ count: Int) { left = Mutex(count) }

  var living: Int { running.withLock { $0 } }

  func start(
    _ name: String, step: @escaping @Sendable () -> BackgroundWait
  ) throws(CacheError) -> any BackgroundActivity {
    let isRefused = left.withLock { left in
      defer { left = max(0, left - 1) }
      return left == 0
    }
    if isRefused { throw CacheError(.system, "the system gives no thread for \(name)") }
    running.withLock { $0 += 1 }
    return try threads.start(name) { [self] in
      let wait = step()
      if case .finished = wait { running.withLock { $0 -= 1 } }
      return wait
    }
  }
}
