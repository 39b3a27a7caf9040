import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What may stand in a file's place, and in the directory's (hostile neighbours).
///
/// - A file is a regular file. A symbolic link is not followed, and a FIFO, socket or device is not
///   opened: that alone can hang, or do something.
/// - What is written is our own: it belongs to this process's user, in a directory of that user's,
///   and has no second name under which others would see it change.
/// - What is only read may also be root's, or the directory owner's: somebody may verify a cache
///   that is another user's.
struct FileGuard: Sendable {
  let path: String
  /// The directory's.
  private let owner: uid_t

  /// - Throws: `StorageError` where the directory is none, or a symbolic link to one.
  init(directory path: String) throws(StorageError) {
    self.path = path
    owner = try Self.examineDirectory(path).st_uid
  }

  // MARK: Files

  /// Refuses what is no regular file before it is opened. What isn't there is left to open(2).
  func checkPlace(of name: String) throws(StorageError) {
    var status = stat()
    guard lstat(path + "/" + name, &status) == 0 else { return }
    guard let kind = Self.kindOfImpostor(status.st_mode) else { return }
    throw impostor(name, kind)
  }

  /// Refuses an open file that is no regular one, or not whose it should be.
  func check(_ descriptor: CInt, _ name: String, forWriting: Bool) throws(StorageError) {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw StorageError("examine", name, in: path, Errno(rawValue: errno))
    }
    if let kind = Self.kindOfImpostor(status.st_mode) { throw impostor(name, kind) }
    let me = geteuid()
    let isTrusted =
      status.st_uid == me || !forWriting && (status.st_uid == 0 || status.st_uid == owner)
    guard isTrusted else {
      throw StorageError(
        "open", name, in: path, .permissionDenied,
        detail: Self.stranger(status.st_uid, me))
    }
    guard !forWriting || status.st_nlink <= 1 else {
      throw StorageError(
        "open", name, in: path, .notPermitted,
        detail: "it has \(status.st_nlink) hard links, and writing would change the others too; "
          + "put a copy in its place")
    }
  }

  private func impostor(_ name: String, _ kind: String) -> StorageError {
    StorageError(
      "open", name, in: path, .invalidArgument,
      detail: "it is \(kind), not a regular file; move it away")
  }

  private static func stranger(_ owner: uid_t, _ me: uid_t) -> String {
    "it belongs to user \(owner), not to user \(me); open the cache as its owner"
  }

  // MARK: The directory

  /// Makes sure that nobody else can put files into the directory: it is this user's, and 0700
  /// where it is empty or holds nothing but a cache. One that holds other things, too, keeps its
  /// mode, and is refused where others may write to it.
  /// - Parameter names: of everything in it.
  func secureDirectory(holding names: [String]) throws(StorageError) {
    let status = try Self.examineDirectory(path)
    let me = geteuid()
    guard status.st_uid == me else {
      throw StorageError(
        "use as directory", path, .permissionDenied, detail: Self.stranger(status.st_uid, me))
    }
    if status.st_mode & 0o077 == 0 { return }
    if names.allSatisfy(Self.isOurs) {
      guard chmod(path, 0o700) == 0 else {
        throw StorageError("set mode of", path, Errno(rawValue: errno))
      }
    } else if status.st_mode & 0o022 != 0 {
      throw StorageError(
        "use as directory", path, .permissionDenied,
        detail: "others may write to it, and it holds more than a cache; use a directory of its own"
      )
    }
  }

  private static func examineDirectory(_ path: String) throws(StorageError) -> stat {
    var status = stat()
    guard lstat(path, &status) == 0 else {
      throw StorageError("examine", path, Errno(rawValue: errno))
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      let kind = kindOfImpostor(status.st_mode) ?? "a regular file"
      throw StorageError(
        "use as directory", path, .notDirectory,
        detail: "it is \(kind); give a directory's own path")
    }
    return status
  }

  // MARK: Kinds

  /// What a mode says that is no regular file's.
  private static func kindOfImpostor(_ mode: mode_t) -> String? {
    switch mode & S_IFMT {
    case S_IFREG: nil
    case S_IFLNK: "a symbolic link"
    case S_IFDIR: "a directory"
    case S_IFIFO: "a FIFO"
    case S_IFSOCK: "a socket"
    case S_IFCHR, S_IFBLK: "a device"
    default: "something unknown"
    }
  }

  /// Whether a cache gives its files such names; see Format.swift.
  private static func isOurs(_ name: String) -> Bool {
    name == "lock" || name.hasPrefix("store.sqlite")
      || [".journal", ".checkpoint", ".quarantine", ".tmp"].contains { name.hasSuffix($0) }
  }
}
