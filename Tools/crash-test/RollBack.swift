import Foundation
import HindsightTesting

/// What a process did to its directory, as powerloss.c logged it, and how to take back what was not
/// synced.
///
/// Names that were changed after the last sync of the directory are changed back, latest first; a
/// disk may have kept the first few of them. Of a file, what was written after its last sync is
/// undone; a disk may have kept any of the sectors, and either size. What was cut off comes back as
/// a whole or not at all: cutting changes the size, not the sectors beyond it.
struct RollBack {
  private(set) var writesUndone = 0
  private(set) var sectorsKept = 0
  private let saved: String
  private var names: [Record] = []
  private var changes: [UInt64: [Record]] = [:]
  /// Where the last record is: it is written before its change is made, and a kill may come between.
  private var lastAt: UInt64 = 0

  private struct Record {
    var kind: UInt32
    var at: UInt64
    var inode: UInt64
    var offset: UInt64
    var sizeBefore: UInt64
    var payload: Data

    /// Zero-terminated texts.
    var texts: [String] {
      payload.split(separator: 0, omittingEmptySubsequences: false)
        .map { String(decoding: $0, as: UTF8.self) }
    }
  }

  private enum Kind {
    static let write: UInt32 = 1
    static let resize: UInt32 = 2
    static let syncEnd: UInt32 = 4
    static let create: UInt32 = 5
    static let rename: UInt32 = 6
    static let unlink: UInt32 = 7
    static let directorySyncEnd: UInt32 = 9
    static let headerByteCount = 40
    static let magic: UInt32 = 0x5752_5650
  }

  /// Reads the log. A record at its end that is cut off belongs to a change that wasn't made.
  init(log: String, saved: String) throws {
    self.saved = saved
    guard FileManager.default.fileExists(atPath: log) else { return }
    let bytes = try Data(contentsOf: URL(fileURLWithPath: log))
    var at = 0
    while let record = try Self.record(bytes, at) {
      lastAt = record.at
      at += Kind.headerByteCount + record.payload.count
      switch record.kind {
      case Kind.write, Kind.resize: changes[record.inode, default: []].append(record)
      case Kind.create, Kind.rename, Kind.unlink: names.append(record)
      case Kind.syncEnd: changes[record.inode]?.removeAll { $0.at < record.offset }
      case Kind.directorySyncEnd: names.removeAll { $0.at < record.offset }
      default: break
      }
    }
  }

  private static func record(_ bytes: Data, _ at: Int) throws -> Record? {
    guard at + Kind.headerByteCount <= bytes.count else { return nil }
    func field<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
      bytes[(at + offset)..<(at + offset + MemoryLayout<T>.size)].reversed()
        .reduce(0) { $0 << 8 | T($1) }
    }
    guard field(0, UInt32.self) == Kind.magic else {
      throw CrashTestError("the shim's log is damaged at \(at)")
    }
    let count = Int(field(32, UInt64.self))
    let begin = at + Kind.headerByteCount
    guard begin + count <= bytes.count else { return nil }
    return Record(
      kind: field(4, UInt32.self), at: UInt64(at), inode: field(8, UInt64.self),
      offset: field(16, UInt64.self), sizeBefore: field(24, UInt64.self),
      payload: bytes[begin..<begin + count])
  }

  /// Makes of the directory what a loss of power at the end of the log may leave.
  /// - Parameter keeping: how probable it is that a sector has reached the disk unasked; 0: none
  ///   has, and no name either.
  mutating func run(
    _ directory: String, keeping: Double, using random: inout SplitMix64
  ) throws {
    let kept = keeping > 0 ? Int.random(in: 0...names.count, using: &random) : 0
    for record in names.dropFirst(kept).reversed() { try undo(record, directory) }
    let paths = try inodes(directory)
    // In a fixed order, for the sake of the seed.
    for inode in changes.keys.sorted() {
      guard let records = changes[inode], !records.isEmpty, let path = paths[inode] else {
        continue
      }
      try undo(records, path, keeping, &random)
    }
  }

  private func undo(_ record: Record, _ directory: String) throws {
    let texts = record.texts
    let path = directory + "/" + texts[0]
    switch record.kind {
    case Kind.create: unlink(path)
    case Kind.rename:
      let target = directory + "/" + texts[1]
      guard rename(target, path) == 0 else {
        let isUnmade = record.at == lastAt && errno == ENOENT
        guard isUnmade, FileManager.default.fileExists(atPath: path) else {
          throw Self.failure("rename", target)
        }
        return
      }
      if !texts[2].isEmpty { try restore(texts[2], target) }
    default: try restore(texts[1], path)
    }
  }

  private func restore(_ name: String, _ path: String) throws {
    unlink(path)
    guard link(saved + "/" + name, path) == 0 else { throw Self.failure("link", path) }
  }

  private func inodes(_ directory: String) throws -> [UInt64: String] {
    var paths: [UInt64: String] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
      var status = stat()
      guard lstat(directory + "/" + name, &status) == 0 else { continue }
      paths[UInt64(status.st_ino)] = directory + "/" + name
    }
    return paths
  }

  private mutating func undo(
    _ records: [Record], _ path: String, _ keeping: Double, _ random: inout SplitMix64
  ) throws {
    let url = URL(fileURLWithPath: path)
    let now = [UInt8](try Data(contentsOf: url))
    var old = now
    for record in records.reversed() {
      let size = Int(record.sizeBefore)
      if old.count > size { old.removeLast(old.count - size) }
      if old.count < size { old.append(contentsOf: repeatElement(0, count: size - old.count)) }
      if record.payload.isEmpty { continue }
      let begin = Int(record.offset)
      old.replaceSubrange(begin..<begin + record.payload.count, with: record.payload)
    }
    writesUndone += records.count
    let image = keeping > 0 ? mixed(now, old, keeping, &random) : old
    // In place: the inode stays, and with it the mode.
    let handle = try FileHandle(forWritingTo: url)
    try handle.truncate(atOffset: 0)
    try handle.write(contentsOf: image)
    try handle.close()
  }

  private mutating func mixed(
    _ now: [UInt8], _ old: [UInt8], _ keeping: Double, _ random: inout SplitMix64
  ) -> [UInt8] {
    let size = Bool.random(using: &random) ? now.count : old.count
    var image = Array(old.prefix(size))
    image.append(contentsOf: repeatElement(0, count: size - image.count))
    for begin in stride(from: 0, to: min(size, now.count), by: 512)
    where Double.random(in: 0..<1, using: &random) < keeping {
      let range = begin..<min(begin + 512, size, now.count)
      if image[range] == now[range] { continue }
      image.replaceSubrange(range, with: now[range])
      sectorsKept += 1
    }
    return image
  }

  private static func failure(_ call: String, _ path: String) -> CrashTestError {
    CrashTestError("\(call) \(path): \(String(cString: strerror(errno)))")
  }
}
