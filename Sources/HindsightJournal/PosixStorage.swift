import Synchronization
import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A real directory. Files are 0600 and the directory 0700 whatever the umask; what may stand in
/// their places is told by `FileGuard`.
public struct PosixStorage: JournalStorage {
  /// Absolute and without symbolic links: what another part of the process makes its working directory
  /// doesn't matter.
  public let path: String
  private let places: FileGuard

  /// Uses the directory at `path`, creating it (its parent must exist).
  /// - Throws: `StorageError` where it can't be created, or is no directory, or a symbolic link.
  public init(path given: String) throws(StorageError) {
    let path = try Self.checked(given)
    if mkdir(path, 0o700) == 0 {
      // mkdir(2) subtracts the umask; the mode is part of our promise.
      guard chmod(path, 0o700) == 0 else { throw Self.failure("set mode of", path) }
    } else if errno != EEXIST {
      var failure = Self.failure("create directory", path)
      if failure.code == .noSuchFileOrDirectory {
        failure.detail = "the directory that it is to be in doesn't exist; make that first"
      }
      throw failure
    }
    try self.init(reading: path)
  }

  /// Uses the directory at `path`, which must be there.
  /// - Throws: `StorageError` where it isn't, or is no directory, or a symbolic link.
  public init(reading given: String) throws(StorageError) {
    let path = try Self.checked(given)
    // The path as it was given: a symbolic link in its place is refused, not followed.
    _ = try FileGuard(directory: path)
    guard let resolved = realpath(path, nil) else { throw Self.failure("resolve", path) }
    defer { free(resolved) }
    self.path = String(cString: resolved)
    places = try FileGuard(directory: self.path)
  }

  /// The path without slashes at its end: they would have the system follow a symbolic link in the directory's
  /// place.
  /// - Throws: `StorageError` where it holds a zero byte: the system would use what stands before that.
  private static func checked(_ given: String) throws(StorageError) -> String {
    var path = given
    guard !path.utf8.contains(0) else {
      throw StorageError(
        "use as directory", path, .invalidArgument,
        detail: "the path holds a zero byte; use another")
    }
    while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") { path.removeLast() }
    return path
  }

  /// Has the directory itself stay where it is, whoever has made it: else a loss of power could take it away, and
  /// all that is durable in it.
  private func syncName() throws(StorageError) {
    guard let slash = path.lastIndex(of: "/"), path != "/" else { return }
    do throws(StorageError) {
      try Self.syncDirectory(slash == path.startIndex ? "/" : String(path[..<slash]))
    } catch {
      // Who may use what is in the parent and not read it can't sync it. And the parent of a mount point has
      // nothing to keep: its file system may be one that can't be synced so.
      switch error.code {
      case .permissionDenied, .invalidArgument, .readOnlyFileSystem, .notSupported: break
      default: throw error
      }
    }
  }

  public func list() throws(StorageError) -> [String] {
    guard let directory = opendir(path) else { throw Self.failure("list", path) }
    defer { closedir(directory) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(directory) else {
        if errno != 0 { throw Self.failure("list", path) }
        return names.sorted()
      }
      // A record may be shorter than the array, but readdir(3) ends the name with a zero, and no more is read.
      let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
        name.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
  }

  public func open(_ name: String, forWriting: Bool) throws(StorageError) -> any JournalFile {
    // O_NONBLOCK: a FIFO in place of a file must not hang us.
    let flags = (forWriting ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
    return try file(name, flags)
  }

  public func create(_ name: String) throws(StorageError) -> any JournalFile {
    let file = try file(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_CREAT | O_EXCL)
    guard fchmod(file.descriptor, 0o600) == 0 else { throw failure("set mode of", name) }
    return file
  }

  public func rename(_ name: String, to other: String) throws(StorageError) {
    guard Glibc.rename(path + "/" + name, path + "/" + other) == 0 else {
      throw failure("rename", name)
    }
  }

  public func remove(_ name: String) throws(StorageError) {
    guard unlink(path + "/" + name) == 0 else { throw failure("remove", name) }
  }

  public func syncDirectory() throws(StorageError) { try Self.syncDirectory(path) }

  private static func syncDirectory(_ path: String) throws(StorageError) {
    var descriptor: Int32
    repeat {
      descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    } while descriptor < 0 && errno == EINTR
    guard descriptor >= 0 else { throw failure("open", path) }
    defer { Glibc.close(descriptor) }
    while fsync(descriptor) != 0 {
      guard errno == EINTR else { throw failure("sync", path) }
    }
  }

  public func lock() throws(StorageError) -> any DirectoryLock {
    try lock { usleep(2_000) }
  }

  private static let lockName = "lock"
  /// How often a lock is tried for: who looks whether it is held (`isLocked`) holds it for a moment.
  static let lockTryCount = 20

  /// - Parameter pause: between two tries.
  func lock(pause: () -> Void) throws(StorageError) -> any DirectoryLock {
    // Whoever writes, locks first.
    let names = try list()
    try places.secureDirectory(holding: names)
    // The lock's file stays: so who makes it is the first.
    if !names.contains(Self.lockName) { try syncName() }
    let file = try file(Self.lockName, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_CREAT | O_NONBLOCK)
    guard fchmod(file.descriptor, 0o600) == 0 else {
      throw failure("set mode of", Self.lockName)
    }
    var triesLeft = Self.lockTryCount - 1
    while flock(file.descriptor, LOCK_EX | LOCK_NB) != 0 {
      if errno == EINTR { continue }
      if errno == EWOULDBLOCK, triesLeft > 0 {
        triesLeft -= 1
        pause()
        continue
      }
      let code = Errno(rawValue: errno)
      let digits = try file.read(at: 0, count: 16).prefix { $0 >= 48 && $0 <= 57 }
      throw StorageError(
        "lock", path, code, holder: Int32(String(decoding: digits, as: UTF8.self)))
    }
    try file.truncate(to: 0)
    try file.write([UInt8]("\(getpid())\n".utf8), at: 0)
    return FileLock(file)
  }

  public func isLocked() throws(StorageError) -> Bool {
    guard try list().contains(Self.lockName) else { return false }
    let file = try file(Self.lockName, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    // Shared, and given back at once when the file closes: readers don't exclude each other.
    return flock(file.descriptor, LOCK_SH | LOCK_NB) != 0
  }

  private func file(_ name: String, _ flags: Int32) throws(StorageError) -> PosixFile {
    try places.checkPlace(of: name)
    var descriptor: Int32
    repeat {
      descriptor = Glibc.open(path + "/" + name, flags, 0o600)
    } while descriptor < 0 && errno == EINTR
    guard descriptor >= 0 else { throw failure("open", name) }
    let file = PosixFile(descriptor: descriptor, name: name, directory: path)
    try places.check(descriptor, name, forWriting: flags & O_ACCMODE == O_RDWR)
    return file
  }

  private func failure(_ operation: String, _ name: String) -> StorageError {
    StorageError(operation, name, in: path, Errno(rawValue: errno))
  }

  /// Of a directory.
  private static func failure(_ operation: String, _ path: String) -> StorageError {
    StorageError(operation, path, Errno(rawValue: errno))
  }
}

/// One wrapper a system call, retried on EINTR.
private final class PosixFile: JournalFile {
  /// -1 once it is closed, which its owner does after all other calls.
  private let held: Atomic<Int32>
  private let name: String
  private let directory: String

  init(descriptor: Int32, name: String, directory: String) {
    held = Atomic(descriptor)
    self.name = name
    self.directory = directory
  }

  var descriptor: Int32 { held.load(ordering: .relaxed) }

  deinit {
    if descriptor >= 0 { Glibc.close(descriptor) }
  }

  func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
    // An empty array's storage belongs to all threads, and the initializer below writes a count to it.
    guard count > 0 else { return [] }
    var failure: StorageError?
    // `initialized` counts what pread(2) has filled.
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      while initialized < count {
        let result = pread(
          descriptor, buffer.baseAddress! + initialized, count - initialized,
          Int(offset) + initialized)
        if result > 0 {
          initialized += result
        } else if result == 0 {
          return
        } else if errno != EINTR {
          failure = self.failure("read")
          return
        }
      }
    }
    if let failure { throw failure }
    return bytes
  }

  func write(_ bytes: [UInt8], at offset: UInt64) throws(StorageError) {
    var failure: StorageError?
    bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let result = pwrite(
          descriptor, buffer.baseAddress! + done, buffer.count - done, Int(offset) + done)
        if result > 0 {
          done += result
        } else if result == 0 || errno != EINTR {
          failure = self.failure("write")
          return
        }
      }
    }
    if let failure { throw failure }
  }

  func allocate(_ byteCount: UInt64) throws(StorageError) {
    var code: Int32
    repeat { code = posix_fallocate(descriptor, 0, Int(byteCount)) } while code == EINTR
    // Not every file system can; writing then allocates.
    if code == EOPNOTSUPP || code == EINVAL { return try truncate(to: byteCount) }
    guard code == 0 else {
      throw failure("allocate space for", code)
    }
  }

  func truncate(to byteCount: UInt64) throws(StorageError) {
    while ftruncate(descriptor, Int(byteCount)) != 0 {
      guard errno == EINTR else { throw failure("truncate") }
    }
  }

  func sync() throws(StorageError) {
    while fdatasync(descriptor) != 0 {
      guard errno == EINTR else { throw failure("sync") }
    }
  }

  func size() throws(StorageError) -> UInt64 {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw failure("examine") }
    return UInt64(status.st_size)
  }

  /// lseek(2): space that was set aside and never written needn't be read. Once it was read, or the kernel has
  /// read it ahead, it passes for data.
  func dataEnd(from offset: UInt64) throws(StorageError) -> UInt64 {
    // Linux's numbers, which glibc shows only to who defines _GNU_SOURCE.
    let (seekData, seekHole): (Int32, Int32) = (3, 4)
    var end = offset
    while let data = try place(from: end, seekData) {
      guard let hole = try place(from: data, seekHole), hole > data else {
        return max(offset, try size())
      }
      end = hole
    }
    return end
  }

  /// - Returns: `nil`: there is none up to the file's end.
  private func place(from offset: UInt64, _ kind: Int32) throws(StorageError) -> UInt64? {
    let found = lseek(descriptor, Int(offset), kind)
    if found >= 0 { return UInt64(found) }
    if errno == ENXIO { return nil }
    // Not every file system can tell.
    guard errno == EINVAL || errno == EOPNOTSUPP else {
      throw failure("examine")
    }
    return offset
  }

  func close() throws(StorageError) {
    let old = held.exchange(-1, ordering: .relaxed)
    guard old < 0 || Glibc.close(old) == 0 else { throw failure("close") }
  }

  private func failure(_ operation: String, _ code: Int32 = errno) -> StorageError {
    StorageError(operation, name, in: directory, Errno(rawValue: code))
  }
}

/// flock(2) is bound to the open file: it ends with it, also when the process is killed.
private final class FileLock: DirectoryLock {
  private let file: PosixFile

  init(_ file: PosixFile) { self.file = file }

  func unlock() {
    flock(file.descriptor, LOCK_UN)
    // An error of close(2) leaves nothing to do: the lock is given up already.
    do throws(StorageError) { try file.close() } catch {}
  }
}
