import Glibc

/// The database's files: where they are, what may stand in their places, moving them aside.
struct StoreFiles: Sendable {
  let directory: String
  private let name: String
  /// The directory's.
  private let owner: uid_t

  var path: String { directory + "/" + name }

  /// The directory without symbolic links, which SQLite then refuses anywhere in the path.
  ///
  /// - Parameter name: the database's in it.
  /// - Throws: `cantOpen` where it is none, or itself a symbolic link.
  init(
    directory given: String, name: String = StoreBounds.fileName,
    _ operation: StoreError.Operation
  ) throws(StoreError) {
    self.name = name
    var directory = given
    while directory.utf8.count > 1, directory.utf8.last == UInt8(ascii: "/") {
      directory.removeLast()
    }
    var status = stat()
    guard lstat(directory, &status) == 0 else {
      throw StoreError(errno: errno, operation, "stat", path: directory)
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw StoreError(
        code: .cantOpen, operation: operation, message: "not a directory", path: directory)
    }
    owner = status.st_uid
    guard let resolved = realpath(directory, nil) else {
      throw StoreError(errno: errno, operation, "resolve", path: directory)
    }
    defer { free(resolved) }
    self.directory = String(cString: resolved)
  }

  /// Checks what is there, and makes an empty file, readable and writable for its owner only,
  /// where nothing is.
  func prepareForWriting() throws(StoreError) {
    guard try isThere(path, forWriting: true) else { return try create() }
    // SQLite gives the files beside it the same mode when it makes them.
    for suffix in [""] + StoreBounds.sidecarSuffixes
    where try isThere(path + suffix, forWriting: true) {
      guard chmod(path + suffix, 0o600) == 0 else {
        throw StoreError(errno: errno, .open, "chmod", path: path + suffix)
      }
    }
  }

  /// Checks that the database is there, as a regular file.
  func checkForReading() throws(StoreError) {
    guard try isThere(path, forWriting: false) else {
      throw StoreError(errno: ENOENT, .open, "open", path: path)
    }
    for suffix in StoreBounds.sidecarSuffixes { _ = try isThere(path + suffix, forWriting: false) }
  }

  /// Whether anything is in the database's place.
  func isDatabaseThere() throws(StoreError) -> Bool { try status(path, .open) != nil }

  /// Whether the database is no longer than an opening leaves it that was stopped before it made the schema. A longer
  /// one has lost what was in it.
  func hasOnePageAtMost() throws(StoreError) -> Bool {
    try status(path, .open).map { $0.st_size <= StoreBounds.pageByteCount } ?? false
  }

  /// What identifies a database at rest: nobody has it open, and everything is in the one file.
  struct Rest: Equatable {
    private let values: [Int]

    fileprivate init(_ status: stat) {
      values = [
        Int(status.st_dev), Int(status.st_ino), Int(status.st_size), status.st_mtim.tv_sec,
        status.st_mtim.tv_nsec,
      ]
    }
  }

  /// `nil` where the database is not at rest, or not there.
  func rest() throws(StoreError) -> Rest? {
    guard let status = try status(path, .open) else { return nil }
    for suffix in StoreBounds.sidecarSuffixes where try self.status(path + suffix, .open) != nil {
      return nil
    }
    return Rest(status)
  }

  /// Moves the database and the files beside it to the first name that is free.
  ///
  /// The database goes first. If we are killed in between, what is left is a log without a
  /// database, which the next opening moves aside; the other way round a database would be left
  /// that lacks its log, and nothing would show it.
  func quarantine() throws(StoreError) -> String? {
    var newName: String?
    for suffix in [""] + StoreBounds.sidecarSuffixes {
      guard try exists(path + suffix) else { continue }
      let name = if let newName { newName } else { try freeName() }
      newName = name
      guard rename(path + suffix, directory + "/" + name + suffix) == 0 else {
        throw StoreError(errno: errno, .quarantine, "rename", path: path + suffix)
      }
    }
    if newName != nil { try syncDirectory(.quarantine) }
    return newName
  }

  /// The names of the databases that `quarantine()` has moved away, the last one first: moving changes a file's
  /// `ctime`.
  func quarantined() throws(StoreError) -> [String] {
    guard let stream = opendir(directory) else {
      throw StoreError(errno: errno, .open, "list", path: directory)
    }
    defer { closedir(stream) }
    var found: [(time: timespec, name: String)] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        // d_name ends with a zero within its array (readdir(3)).
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard name.hasPrefix(Self.quarantinePrefix),
        Int(name.dropFirst(Self.quarantinePrefix.count)) != nil,
        let status = try status(directory + "/" + name, .open)
      else { continue }
      found.append((status.st_ctim, name))
    }
    return found.sorted {
      ($0.time.tv_sec, $0.time.tv_nsec, $0.name) > ($1.time.tv_sec, $1.time.tv_nsec, $1.name)
    }.map(\.name)
  }

  // MARK: Parts

  private static let quarantinePrefix = "\(StoreBounds.fileName).quarantine-"

  private func create() throws(StoreError) {
    // A log without its database: see `quarantine()`.
    _ = try quarantine()
    let descriptor = retrying {
      open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    }
    guard descriptor >= 0 else { throw StoreError(errno: errno, .open, "create", path: path) }
    // Whatever the umask. Closing drops no lock: nobody else can have opened the new file yet.
    let code = fchmod(descriptor, 0o600)
    let failure = errno
    close(descriptor)
    guard code == 0 else { throw StoreError(errno: failure, .open, "chmod", path: path) }
    try syncDirectory(.open)
  }

  private func freeName() throws(StoreError) -> String {
    for number in 1...StoreBounds.quarantineCountMax {
      let name = "\(Self.quarantinePrefix)\(number)"
      var isFree = true
      for suffix in [""] + StoreBounds.sidecarSuffixes where isFree {
        isFree = try !exists(directory + "/" + name + suffix)
      }
      if isFree { return name }
    }
    throw StoreError(
      code: .other, operation: .quarantine, message: "too many quarantined stores", path: path)
  }

  private func exists(_ path: String) throws(StoreError) -> Bool {
    try status(path, .quarantine) != nil
  }

  /// Whether a regular file is there that may be used; false if nothing is.
  ///
  /// What is written is this user's and has no other name; what is only read may also be root's or
  /// the directory owner's.
  ///
  /// - Throws: `cantOpen` if something else is.
  private func isThere(_ path: String, forWriting: Bool) throws(StoreError) -> Bool {
    guard let status = try status(path, .open) else { return false }
    func refusal(_ message: String) -> StoreError {
      StoreError(code: .cantOpen, operation: .open, message: message, path: path)
    }
    guard status.st_mode & S_IFMT == S_IFREG else { throw refusal("not a regular file") }
    let isTrusted =
      status.st_uid == geteuid() || !forWriting && (status.st_uid == 0 || status.st_uid == owner)
    guard isTrusted else { throw refusal("it belongs to user \(status.st_uid)") }
    guard !forWriting || status.st_nlink <= 1 else {
      throw refusal("it has \(status.st_nlink) hard links; put a copy in its place")
    }
    return true
  }

  private func status(
    _ path: String, _ operation: StoreError.Operation
  ) throws(StoreError) -> stat? {
    var status = stat()
    if lstat(path, &status) == 0 { return status }
    if errno == ENOENT { return nil }
    throw StoreError(errno: errno, operation, "stat", path: path)
  }

  private func syncDirectory(_ operation: StoreError.Operation) throws(StoreError) {
    let descriptor = retrying { open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    guard descriptor >= 0 else {
      throw StoreError(errno: errno, operation, "open", path: directory)
    }
    let code = retrying { fsync(descriptor) }
    let failure = errno
    close(descriptor)
    guard code == 0 else { throw StoreError(errno: failure, operation, "sync", path: directory) }
  }

  /// Makes a call again while signals interrupt it.
  private func retrying(_ call: () -> CInt) -> CInt {
    while true {
      let result = call()
      if result >= 0 || errno != EINTR { return result }
    }
  }
}

extension StoreError {
  /// What a failed system call said, in our terms.
  fileprivate init(errno: CInt, _ operation: Operation, _ call: String, path: String) {
    let code: Code =
      switch errno {
      case ENOSPC, EDQUOT: .full
      case EROFS: .readOnly
      case EIO: .ioError
      default: .cantOpen
      }
    self.init(
      code: code, extendedCode: -errno, operation: operation,
      message: "\(call): \(String(cString: strerror(errno)))", path: path)
  }
}
