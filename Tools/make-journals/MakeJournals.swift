import ArgumentParser
import Foundation
import Hindsight
import HindsightTesting

/// Makes golden journals of the format that this software writes: for a new format version, never
/// to replace those that are there.
@main
struct MakeJournals: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "make-journals",
    abstract: "Make golden journals in a new directory.",
    discussion: "Example: swift run make-journals Fixtures/journals/v2")

  @Argument(help: "The directory to make; it must not be there yet.")
  var directory: String

  private let clock = ManualClock()

  private enum CodingKeys: String, CodingKey {
    case directory
  }

  func run() async throws {
    guard !FileManager.default.fileExists(atPath: directory) else {
      throw ValidationError("\(directory) is there already; golden journals are never replaced")
    }
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try await session("closed", access: .recency) { try await everyKindOfEvent($0) }
    try await session("lookups", access: .lookups) { try await everyKindOfEvent($0) }
    try await session("no-access-log", access: .off) { try await everyKindOfEvent($0) }
    try await session("promoted", access: .recency, usesStore: true) { try await promotions($0) }
    try await session("killed", copyingTo: "killed", access: .recency) {
      try await everyKindOfEvent($0)
    }
    try await session("segments", copyingTo: "segments", access: .recency) { cache in
      try await manySegments(cache)
    }
    try tear("killed", to: "torn") { $0.count - 5 }
    try flip("killed", to: "flipped", at: 400)
    try FileManager.default.copyItem(atPath: path("flipped"), toPath: path("salvaged"))
    try await session("salvaged", access: .recency, salvages: true) { cache in
      try await cache.set([9], for: try CacheKey("pypi:after"))
    }
    try await session("runs", copyingTo: "runs", access: .recency) { try await runs($0) }
  }

  // MARK: What happens in them

  private func everyKindOfEvent(_ cache: Cache<[UInt8]>) async throws {
    func key(_ name: String) throws -> CacheKey { try CacheKey(registry: "pypi", package: name) }
    for name in ["a", "b", "c"] {
      try await cache.set(Array("value of \(name)".utf8), for: try key(name), reason: "golden")
      try await cut(cache)
    }
    _ = try await cache.get(try key("a"))
    _ = try await cache.get(try key("nothing"))
    try await cache.set([], for: try key("d"), memoryTTL: .seconds(5))  // evicts b
    try await cut(cache)
    clock.advance(by: .seconds(6))
    _ = try await cache.get(try key("d"))  // expired
    try await cut(cache)
    try await cache.invalidate(try key("a"), reason: "typosquat")
    try await cache.invalidate(try key("nothing"))
    try await cut(cache)
    try await cache.set(Array(repeating: 0x61, count: 3_000), for: try CacheKey("npm:@é/ü"))
    try await cache.clear(registry: "pypi", reason: "golden")
    try await cache.set([0, 255], for: try key("e"))
    try await cut(cache)
  }

  private func promotions(_ cache: Cache<[UInt8]>) async throws {
    let key = try CacheKey("pypi:promoted")
    try await cache.set([1, 2], for: key, memoryTTL: .seconds(5), storeTTL: .seconds(60))
    for number in 0..<5 { try await cache.set([3], for: try CacheKey("pypi:\(number)")) }
    try await cache.settle()
    clock.advance(by: .seconds(10))
    _ = try await cache.get(key)
    try await cut(cache)
  }

  private func manySegments(_ cache: Cache<[UInt8]>) async throws {
    var state: UInt64 = 40
    for number in 0..<14 {
      let noise = (0..<12_000).map { _ -> UInt8 in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56)
      }
      try await cache.set(noise, for: try CacheKey("npm:package-\(number)"))
      try await cache.flush()
      try await Task.sleep(for: .milliseconds(50))  // for the checkpoint in the background
    }
  }

  /// Frames that refer back to those before them.
  private func runs(_ cache: Cache<[UInt8]>) async throws {
    for number in 0..<40 {
      let value = "{\"name\":\"package-\(number % 7)\",\"releases\":\(number * 31),\"exists\":true}"
      try await cache.set(Array(value.utf8), for: try CacheKey("pypi:package-\(number % 7)"))
      try await cut(cache)
    }
  }

  private func cut(_ cache: Cache<[UInt8]>) async throws {
    try await cache.flush()
    clock.advance(by: .seconds(1))
  }

  // MARK: Making them

  private func path(_ name: String) -> String { directory + "/" + name }

  /// Runs a session; the directory as it is before the end goes to `copyingTo`, where that is asked.
  private func session(
    _ name: String, copyingTo copy: String? = nil, access: AccessLog, usesStore: Bool = false,
    salvages: Bool = false, _ body: (Cache<[UInt8]>) async throws -> Void
  ) async throws {
    var configuration = CacheConfiguration()
    configuration.clock = clock
    configuration.memoryLimit = TierLimit(entryCountMax: 3)
    configuration.usesStore = usesStore
    configuration.accessLog = access
    configuration.acknowledgement = .enqueued
    configuration.sweepInterval = nil
    configuration.syncInterval = nil
    configuration.segmentByteCount = 64 << 10
    configuration.corruption = salvages ? .salvage : .refuse
    let place = copy == nil ? path(name) : path(name) + ".live"
    let cache = try await Cache.open(at: place, coder: .bytes, configuration: configuration)
    try await body(cache)
    if let copy { try FileManager.default.copyItem(atPath: place, toPath: path(copy)) }
    try await cache.close()
    if copy != nil { try FileManager.default.removeItem(atPath: place) }
    try tidy(path(name))
  }

  /// Removes lock, store and the space allocated ahead, of which a sector is left.
  private func tidy(_ place: String) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: place) {
      let url = URL(fileURLWithPath: place + "/" + name)
      if name == "lock" || name.hasPrefix("store.sqlite") {
        try FileManager.default.removeItem(at: url)
      }
      guard name.hasSuffix(".journal") else { continue }
      let bytes = try Data(contentsOf: url)
      let used = (bytes.lastIndex { $0 != 0 } ?? -1) + 1
      try bytes.prefix(used + 512).write(to: url)
    }
  }

  private func tear(_ name: String, to other: String, _ end: (Data) -> Int) throws {
    try FileManager.default.copyItem(atPath: path(name), toPath: path(other))
    let url = URL(fileURLWithPath: path(other) + "/00000001.journal")
    var bytes = try Data(contentsOf: url)
    let used = bytes.prefix((bytes.lastIndex { $0 != 0 } ?? -1) + 1)
    bytes = used.prefix(end(used))
    try bytes.write(to: url)
  }

  private func flip(_ name: String, to other: String, at offset: Int) throws {
    try FileManager.default.copyItem(atPath: path(name), toPath: path(other))
    let url = URL(fileURLWithPath: path(other) + "/00000001.journal")
    var bytes = try Data(contentsOf: url)
    bytes[offset] ^= 1
    try bytes.write(to: url)
  }
}
