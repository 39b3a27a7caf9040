import Foundation
import Hindsight
import HindsightCore
import Testing

@Suite("S040 configurations that can't be")
struct ConfigurationTests {
  private static let wrong: [(String, @Sendable (inout CacheConfiguration) -> Void)] = [
    ("memory limit", { $0.memoryLimit = TierLimit(entryCountMax: 0) }),
    ("memory limit", { $0.memoryLimit = TierLimit(entryCountMax: .max) }),
    ("memory limit", { $0.memoryLimit = TierLimit(entryCountMax: 1, byteCountMax: 0) }),
    ("store's limit", { $0.storeLimit = TierLimit(entryCountMax: 999) }),
    ("segments", { $0.segmentByteCount = 1 }),
    ("segments", { $0.segmentByteCount = 2 << 30 }),
    ("unwrittenByteCountMax", { $0.queues.unwrittenByteCountMax = 0 }),
    ("unwrittenByteCountMax", { $0.queues.unwrittenByteCountMax = 64 << 20 }),
    ("unsyncedByteCountMax", { $0.queues.unsyncedByteCountMax = 0 }),
    ("pinnedByteCountMax", { $0.queues.pinnedByteCountMax = -1 }),
    ("pendingRowCountMax", { $0.queues.pendingRowCountMax = 0 }),
  ]

  @Test("are refused, by name, before anything is made", arguments: wrong.indices)
  func refused(index: Int) async throws {
    let (name, change) = Self.wrong[index]
    let directory = try TemporaryDirectory()
    var configuration = CacheConfiguration()
    change(&configuration)
    await #expect {
      _ = try await Cache<[UInt8]>.open(
        at: directory.cache, coder: .bytes, configuration: configuration)
    } throws: { error in
      (error as? CacheError)?.code == .invalidConfiguration && "\(error)".contains(name)
    }
    #expect(!FileManager.default.fileExists(atPath: directory.cache))
  }

  @Test("negative TTLs are refused as such", arguments: [true, false])
  func negativeTTL(isMemory: Bool) async throws {
    var configuration = CacheConfiguration()
    if isMemory {
      configuration.memoryTTL = .seconds(-1)
    } else {
      configuration.storeTTL = .seconds(-1)
    }
    await #expect {
      _ = try await Cache<[UInt8]>.open(at: nil, coder: .bytes, configuration: configuration)
    } throws: { ($0 as? CacheError)?.code == .invalidTTL }
  }
}
