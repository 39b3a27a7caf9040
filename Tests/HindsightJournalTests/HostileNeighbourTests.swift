import Foundation
import Glibc
import HindsightTesting
import Testing

@testable import HindsightJournal

/// Others on the same machine who got at the directory, or prepared it.
@Suite("S040 hostile neighbours of the journal", .serialized)
struct HostileNeighbourTests {
  private final class Place {
    private let directory: TemporaryDirectory
    var parent: String { directory.path }
    var path: String { directory.cache }

    init() throws { directory = try TemporaryDirectory() }

    func status(_ name: String = "") -> stat {
      var status = stat()
      #expect(lstat(path + "/" + name, &status) == 0, "\(name)")
      return status
    }

    func mode(_ name: String = "") -> mode_t { status(name).st_mode & 0o7777 }
  }

  /// What an operation is refused with.
  private func refusal(_ body: () throws(StorageError) -> Void) -> String? {
    do throws(StorageError) {
      try body()
      return nil
    } catch {
      return error.description
    }
  }

  @Test("files are 0600 and the directory 0700, also without a umask")
  func umasks() async {
    // In a process of its own, since a umask is the whole process's.
    await #expect(processExitsWith: .success) { try HostileNeighbourTests.checkModes() }
  }

  private static func checkModes() throws {
    umask(0)
    let place = try Place()
    let storage = try PosixStorage(path: place.path)
    let lock = try storage.lock()
    defer { lock.unlock() }
    try storage.create("00000001.journal.tmp").close()
    try storage.rename("00000001.journal.tmp", to: "00000001.journal")
    let file = try storage.open("00000001.journal", forWriting: true)
    try file.write([1, 2], at: 0)
    _ = try Quarantine.copy(file, of: "00000001.journal", from: 0, storage)
    for name in try storage.list() { #expect(place.mode(name) == 0o600, "\(name)") }
    #expect(place.mode() == 0o700)
    #expect(try storage.list().count == 3)
  }

  @Test(
    "what is no regular file is refused and named, for every file and the directory",
    arguments: ["a symbolic link", "a FIFO", "a directory", "a socket", "a device"])
  func impostors(kind: String) throws {
    let place = try Place()
    let storage = try PosixStorage(path: place.path)
    let victim = place.parent + "/victim"
    try Data("victim".utf8).write(to: URL(fileURLWithPath: victim))
    func put(_ path: String) -> Bool {
      switch kind {
      case "a symbolic link": symlink(victim, path) == 0
      case "a FIFO": mkfifo(path, 0o600) == 0
      case "a directory": mkdir(path, 0o700) == 0
      case "a socket": mknod(path, S_IFSOCK | 0o600, 0) == 0
      default: mknod(path, S_IFCHR | 0o600, makedev(1, 3)) == 0  // null(4)
      }
    }
    guard put(place.path + "/00000001.journal") else {
      // Only root makes devices.
      #expect(kind == "a device" && geteuid() != 0, "errno \(errno)")
      return
    }
    #expect(put(place.path + "/lock"))
    for forWriting in [false, true] {
      let refused = refusal { () throws(StorageError) in
        _ = try storage.open("00000001.journal", forWriting: forWriting)
      }
      #expect(
        refused
          == "open \(storage.path)/00000001.journal: it is \(kind), not a regular file; move it away"
      )
    }
    #expect(
      refusal { () throws(StorageError) in _ = try storage.lock() }
        == "open \(storage.path)/lock: it is \(kind), not a regular file; move it away")
    #expect(refusal { () throws(StorageError) in _ = try storage.isLocked() } != nil)
    #expect(
      refusal { () throws(StorageError) in _ = try storage.create("00000001.journal") } != nil)
    if kind != "a directory" {
      #expect(put(place.parent + "/other"))
      for slash in ["", "/"] {
        let refused = refusal { () throws(StorageError) in
          _ = try PosixStorage(path: place.parent + "/other" + slash)
        }
        #expect(
          refused
            == "use as directory \(place.parent)/other: it is \(kind); give a directory's own path")
      }
    }
    #expect(try String(contentsOfFile: victim, encoding: .utf8) == "victim")
  }

  @Test("a link to a directory is not followed")
  func linkedDirectory() throws {
    let place = try Place()
    _ = try PosixStorage(path: place.path)
    let link = place.parent + "/link"
    #expect(symlink(place.path, link) == 0)
    for path in [link, link + "/", link + "//"] {
      #expect(refusal { () throws(StorageError) in _ = try PosixStorage(path: path) } != nil)
    }
  }

  @Test("a file with a second name is read, and not written")
  func hardLinks() throws {
    let place = try Place()
    let storage = try PosixStorage(path: place.path)
    let victim = place.parent + "/victim"
    try Data("victim".utf8).write(to: URL(fileURLWithPath: victim))
    for name in ["00000001.journal", "lock"] { #expect(link(victim, place.path + "/" + name) == 0) }
    _ = try storage.open("00000001.journal", forWriting: false)
    let written = refusal { () throws(StorageError) in
      _ = try storage.open("00000001.journal", forWriting: true)
    }
    #expect(written?.contains("3 hard links") == true, "\(written ?? "taken")")
    #expect(refusal { () throws(StorageError) in _ = try storage.lock() } != nil)
    #expect(try String(contentsOfFile: victim, encoding: .utf8) == "victim")
  }

  @Test("another user's files and directory", .enabled(if: geteuid() == 0, "only root gives away"))
  func owners() throws {
    let place = try Place()
    let storage = try PosixStorage(path: place.path)
    try storage.lock().unlock()
    try storage.create("00000001.journal").close()
    #expect(chown(place.path + "/00000001.journal", 12_345, 12_345) == 0)
    for forWriting in [false, true] {
      let refused = refusal { () throws(StorageError) in
        _ = try storage.open("00000001.journal", forWriting: forWriting)
      }
      #expect(
        refused
          == "open \(storage.path)/00000001.journal: it belongs to user 12345, not to user 0; open the "
          + "cache as its owner")
    }
    // The whole cache is another user's: it may be read, as by a verification.
    #expect(chown(place.path, 12_345, 12_345) == 0)
    let theirs = try PosixStorage(path: place.path)
    _ = try theirs.open("00000001.journal", forWriting: false)
    #expect(
      refusal { () throws(StorageError) in _ = try theirs.lock() }?.contains("user 12345") == true)
  }

  @Test("a directory that others may write to: made private, or refused where that would hurt")
  func wideDirectories() throws {
    let place = try Place()
    let storage = try PosixStorage(path: place.path)
    #expect(chmod(place.path, 0o777) == 0)
    try storage.lock().unlock()
    #expect(place.mode() == 0o700)
    // Other things in it, too: its mode is somebody's intent.
    try Data().write(to: URL(fileURLWithPath: place.path + "/notes.txt"))
    #expect(chmod(place.path, 0o755) == 0)
    try storage.lock().unlock()
    #expect(place.mode() == 0o755)
    #expect(chmod(place.path, 0o1777) == 0)
    let refused = refusal { () throws(StorageError) in _ = try storage.lock() }
    #expect(refused?.contains("others may write to it") == true, "\(refused ?? "taken")")
    #expect(place.mode() == 0o1777)
  }
}

/// makedev(3), which is a macro.
private func makedev(_ major: dev_t, _ minor: dev_t) -> dev_t { major << 8 | minor }
