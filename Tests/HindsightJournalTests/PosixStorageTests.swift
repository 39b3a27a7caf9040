import Foundation
import Glibc
import HindsightCore
import HindsightTesting
import Testing

@testable import HindsightJournal

/// The one shell around the file system.
@Suite("S040 files")
struct PosixStorageTests {
  private func mode(_ path: String) -> mode_t {
    var status = stat()
    #expect(stat(path, &status) == 0)
    return status.st_mode & 0o777
  }

  @Test("the directory is 0700 and files are 0600")
  func modes() throws {
    let scratch = try TemporaryDirectory()
    let path = scratch.path + "/cache"
    let storage = try PosixStorage(path: path)
    try storage.create("00000001.journal").close()
    let lock = try storage.lock()
    #expect(mode(path) == 0o700)
    #expect(mode(path + "/00000001.journal") == 0o600)
    #expect(mode(path + "/lock") == 0o600)
    lock.unlock()
  }

  @Test("the working directory may change meanwhile")
  func changedWorkingDirectory() async {
    // In a process of its own, since that is the whole process's.
    await #expect(processExitsWith: .success) { try PosixStorageTests.changeWorkingDirectory() }
  }

  private static func changeWorkingDirectory() throws {
    let scratch = try TemporaryDirectory()
    for name in ["a", "b"] {
      try FileManager.default.createDirectory(
        atPath: scratch.path + "/" + name, withIntermediateDirectories: true)
      try #require(chdir(scratch.path + "/" + name) == 0)
      _ = try PosixStorage(path: "cache")
    }
    let storage = try PosixStorage(path: "../a/cache/")
    let reading = try PosixStorage(reading: "../a/cache")
    try #require(chdir(scratch.path + "/a") == 0)
    try #require(chdir("/") == 0)
    try storage.create("1").close()
    try storage.rename("1", to: "2")
    try storage.syncDirectory()
    #expect(try reading.list() == ["2"])
    #expect(try PosixStorage(path: scratch.path + "/a/cache").list() == ["2"])
    #expect(try PosixStorage(path: scratch.path + "/b/cache").list() == [])
    try storage.remove("2")
    #expect(try reading.list() == [])
  }

  @Test("who first uses a directory looks after its name, too, whoever has made it")
  func nameOfDirectory() throws {
    let scratch = try TemporaryDirectory()
    let path = scratch.path + "/cache"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let watch = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
    try #require(watch >= 0)
    defer { close(watch) }
    try #require(inotify_add_watch(watch, scratch.path, UInt32(IN_OPEN)) >= 0)
    /// Whether the directory in which it is was opened, as a sync of that takes.
    func parentWasOpened() -> Bool {
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      let count = max(0, read(watch, &bytes, bytes.count))
      var (offset, isOpened) = (0, false)
      while offset < count {
        // Of something in it, the event has a name: an `inotify_event` ends with its length.
        let length = bytes[offset + 12..<offset + 16].reversed().reduce(0) { $0 << 8 | Int($1) }
        if length == 0 { isOpened = true }
        offset += 16 + length
      }
      return isOpened
    }
    try PosixStorage(path: path).lock().unlock()
    #expect(parentWasOpened())
    try PosixStorage(path: path).lock().unlock()
    #expect(!parentWasOpened())
  }

  @Test("a path with a zero byte, where the system's ends, is refused")
  func zeroByte() throws {
    let scratch = try TemporaryDirectory()
    let path = scratch.path + "/cache"
    #expect(throws: StorageError.self) { try PosixStorage(path: path + "\0x") }
    #expect(access(path, F_OK) != 0)
    _ = try PosixStorage(path: path)
    #expect(throws: StorageError.self) { try PosixStorage(path: path + "\0x") }
    #expect(throws: StorageError.self) { try PosixStorage(reading: path + "\0x") }
  }

  @Test("a symlink, a FIFO or a directory in place of a file is refused, without hanging")
  func impostors() throws {
    let scratch = try TemporaryDirectory()
    let path = scratch.path + "/cache"
    let storage = try PosixStorage(path: path)
    let secret = scratch.path + "/secret"
    try Data("secret".utf8).write(to: URL(fileURLWithPath: secret))
    #expect(symlink(secret, path + "/link") == 0)
    #expect(mkfifo(path + "/fifo", 0o600) == 0)
    #expect(mkdir(path + "/directory", 0o700) == 0)
    for name in ["link", "fifo", "directory"] {
      for forWriting in [false, true] {
        #expect(throws: StorageError.self, "\(name)") {
          _ = try storage.open(name, forWriting: forWriting)
        }
      }
      #expect(throws: StorageError.self, "\(name)") { _ = try storage.create(name) }
    }
    #expect(symlink(secret, path + "/lock") == 0)
    #expect(throws: StorageError.self) { _ = try storage.lock() }
    #expect(try String(contentsOfFile: secret, encoding: .utf8) == "secret")
    #expect(throws: StorageError.self) { _ = try PosixStorage(path: secret) }
  }

  @Test("one lock a directory, which names its holder and ends with it")
  func lock() throws {
    let scratch = try TemporaryDirectory()
    let storage = try PosixStorage(path: scratch.path + "/cache")
    #expect(try !storage.isLocked())
    let lock = try storage.lock()
    #expect(try storage.isLocked())
    do throws(StorageError) {
      _ = try storage.lock()
      Issue.record("locked twice")
    } catch {
      #expect(error.holder == getpid())
    }
    lock.unlock()
    #expect(try !storage.isLocked())
    try storage.lock().unlock()
  }

  @Test("who only looks whether it is locked keeps nobody from locking it")
  func look() throws {
    let scratch = try TemporaryDirectory()
    let storage = try PosixStorage(path: scratch.path + "/cache")
    try storage.lock().unlock()
    // As `isLocked` holds it, in the middle of it.
    let descriptor = open(scratch.path + "/cache/lock", O_RDONLY | O_CLOEXEC)
    #expect(flock(descriptor, LOCK_SH | LOCK_NB) == 0)
    var pauses = 0
    #expect(throws: StorageError.self) { _ = try storage.lock { pauses += 1 } }
    #expect(pauses == PosixStorage.lockTryCount - 1)
    pauses = 0
    let lock = try storage.lock {
      pauses += 1
      if pauses == 2 { flock(descriptor, LOCK_UN) }
    }
    #expect(pauses == 2)
    lock.unlock()
    close(descriptor)
  }

  @Test("reads end at the file's end; writes go where they are told, also beyond it")
  func files() throws {
    let scratch = try TemporaryDirectory()
    let storage = try PosixStorage(path: scratch.path + "/cache")
    let file = try storage.create("a")
    try file.write([1, 2, 3], at: 0)
    try file.write([9], at: 5)
    #expect(try file.read(at: 0, count: 100) == [1, 2, 3, 0, 0, 9])
    #expect(try file.read(at: 50, count: 4) == [])
    try file.truncate(to: 2)
    #expect(try file.size() == 2)
    try file.allocate(4_096)
    #expect(try file.read(at: 0, count: 8_000) == [1, 2] + [UInt8](repeating: 0, count: 4_094))
    try file.sync()
    try file.close()
    try storage.rename("a", to: "b")
    try storage.syncDirectory()
    #expect(try storage.list() == ["b"])
    #expect(throws: StorageError.self) { _ = try storage.create("b") }
    try storage.remove("b")
    do throws(StorageError) {
      _ = try storage.open("b", forWriting: false)
      Issue.record("a removed file opened")
    } catch {
      #expect(error.code == .noSuchFileOrDirectory && error.description.contains("b"))
    }
  }

  @Test("space that was never written is passed over, and nothing that stands behind it")
  func holes() throws {
    let scratch = try TemporaryDirectory()
    let storage = try PosixStorage(path: scratch.path + "/cache")
    let count: UInt64 = 8 << 20
    let offsets: [UInt64] = [0, 101, 200, 4_096, 3 << 20, 5 << 20, (5 << 20) + 3, count - 1]
    let places: [UInt64] = [102, 5 << 20, count - 1]
    for last in places {
      let file = try storage.create("last-\(last)")
      try file.allocate(count)
      try file.write([1, 2], at: 100)
      try file.write([3], at: last)
      for offset in offsets {
        let end = try file.dataEnd(from: offset)
        #expect(end >= offset && end <= count)
        #expect(end > last || offset > last)
        #expect(try file.dataEnd(from: end) == end)
      }
      #expect(try file.dataEnd(from: count) == count)
      #expect(try file.dataEnd(from: count + 1) == count + 1)
    }

    // A segment that ends in such space ends there only where nothing stands behind it.
    for (garbage, isEnd) in [(nil, true), (UInt64(6 << 20), false), (count - 1, false)] {
      let name = "\(garbage ?? 0)"
      let segment = try storage.create(name)
      try segment.allocate(count)
      let header = SegmentHeader(
        number: 1, journalID: JournalID(high: 1, low: 2), salt: 3, follows: .zero, createdAt: .zero)
      try segment.write(header.encoded().bytes, at: 0)
      if let garbage { try segment.write([7], at: garbage) }
      var reader = FrameReader(
        JournalDirectory.Segment(
          header: header, headerChecksum: header.encoded().checksum, file: segment))
      guard case .end = try reader.next() else {
        #expect(!isEnd, "\(name)")
        continue
      }
      #expect(isEnd, "\(name)")
    }
  }
}
