import SystemPackage
import Testing

@testable import HindsightJournal

@Suite("A storage's error names the file and says what to do")
struct StorageErrorTests {
  @Test("where the file is, also at the root and without a path")
  func path() {
    let code = Errno.ioError
    #expect(
      "\(StorageError("read", "lock", in: "/var/cache", code))".hasPrefix("read /var/cache/lock: "))
    #expect("\(StorageError("read", "lock", in: "/", code))".hasPrefix("read /lock: "))
    #expect("\(StorageError("open", "/var/cache", code))".hasPrefix("open /var/cache: "))
  }

  @Test(
    "advice by what the system says",
    arguments: [
      (Errno.permissionDenied, "owner"), (.notPermitted, "owner"),
      (.readOnlyFileSystem, "mounted writable"),
      (.tooManyOpenFiles, "ulimit -n"), (.tooManyOpenFilesInSystem, "ulimit -n"),
      (.noSuchFileOrDirectory, "who moved it"), (.ioError, "the disk and its mount"),
    ])
  func advice(_ code: Errno, _ advice: String) {
    let error = StorageError("sync", "00000001.journal", in: "/var/cache", code)
    #expect(error.advised.hasPrefix("sync /var/cache/00000001.journal: \(code); "))
    #expect(error.advised.contains(advice))
  }

  @Test("none beside a detail, which says it already")
  func detail() {
    let error = StorageError("open", "lock", in: "/var/cache", .ioError, detail: "a symbolic link")
    #expect(error.advised == "open /var/cache/lock: a symbolic link")
  }

  @Test("out of space are a full disk, a full quota, and a limit on files")
  func space() {
    for code in [Errno.noSpace, .diskQuotaExceeded, .fileTooLarge] {
      #expect(StorageError("write", "00000001.journal", code).isOutOfSpace)
    }
    #expect(!StorageError("write", "00000001.journal", .ioError).isOutOfSpace)
  }
}
