import Foundation
import HindsightTesting
import Testing

@testable import crash_test

/// What crash-test makes of a file when the power goes.
@Suite("S040 power loss")
struct RollBackTests {
  private let old = (0..<40).flatMap { [UInt8](repeating: UInt8($0 + 1), count: 300) }

  @Test("what was cut off comes back whole or not at all", arguments: UInt64(0)..<40)
  func cut(seed: UInt64) throws {
    // As SQLite empties its log at a close: the cut isn't synced.
    let image = try afterLoss(seed: seed, now: Array(old[..<1_000])) { inode in
      Self.record(2, inode, offset: 1_000, sizeBefore: 12_000, payload: Array(old[1_000...]))
    }
    #expect(image == old || image == Array(old[..<1_000]))
  }

  @Test("of what was written, each sector is there or not", arguments: UInt64(0)..<40)
  func written(seed: UInt64) throws {
    let now = old + [UInt8](repeating: 99, count: 2_000)
    let image = try afterLoss(seed: seed, now: now) { inode in
      Self.record(1, inode, offset: 12_000, sizeBefore: 12_000, payload: [])
    }
    #expect(image.count == 12_000 || image.count == 14_000)
    #expect(Array(image[..<12_000]) == old)
    for begin in stride(from: 12_288, to: image.count, by: 512) {
      let sector = Set(image[begin..<min(begin + 512, image.count)])
      #expect(sector == [0] || sector == [99])
    }
  }

  @Test("a rename that a kill forestalled is no error", arguments: [true, false])
  func renamed(isLast: Bool) throws {
    let scratch = try TemporaryDirectory()
    let directory = scratch.path + "/cache"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Data(old).write(to: URL(fileURLWithPath: directory + "/1.journal.tmp"))
    let names = Array("1.journal.tmp\0".utf8) + Array("1.journal\0".utf8) + [0]
    var log = Self.record(6, 0, offset: 0, sizeBefore: 0, payload: names)
    if !isLast {
      log += Self.record(5, 0, offset: 0, sizeBefore: 0, payload: Array("2.journal\0".utf8))
    }
    try Data(log).write(to: URL(fileURLWithPath: scratch.path + "/shim.log"))
    var random = SplitMix64(seed: 1)
    var rollBack = try RollBack(log: scratch.path + "/shim.log", saved: scratch.path)
    if isLast {
      try rollBack.run(directory, keeping: 0, using: &random)
      let left = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(left == ["1.journal.tmp"])
    } else {
      #expect(throws: CrashTestError.self) {
        try rollBack.run(directory, keeping: 0, using: &random)
      }
    }
  }

  /// Rolls a file back, whose log ends with one record, and returns what it is then.
  private func afterLoss(
    seed: UInt64, now: [UInt8], _ record: (UInt64) -> [UInt8]
  ) throws -> [UInt8] {
    let scratch = try TemporaryDirectory()
    let directory = scratch.path + "/cache"
    let file = URL(fileURLWithPath: directory + "/store.sqlite-wal")
    let log = URL(fileURLWithPath: scratch.path + "/shim.log")
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: true)
    try Data(now).write(to: file)
    var status = stat()
    try #require(stat(file.path, &status) == 0)
    try Data(record(UInt64(status.st_ino))).write(to: log)
    var random = SplitMix64(seed: seed)
    var rollBack = try RollBack(log: log.path, saved: scratch.path)
    try rollBack.run(directory, keeping: 0.5, using: &random)
    return [UInt8](try Data(contentsOf: file))
  }

  /// A record as powerloss.c writes it.
  private static func record(
    _ kind: UInt32, _ inode: UInt64, offset: UInt64, sizeBefore: UInt64, payload: [UInt8]
  ) -> [UInt8] {
    func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
      withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
    return bytes(UInt32(0x5752_5650)) + bytes(kind) + bytes(inode) + bytes(offset)
      + bytes(sizeBefore) + bytes(UInt64(payload.count)) + payload
  }
}
