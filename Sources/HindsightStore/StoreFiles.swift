import Glibc

/// The database's files: where they are, what may stand in their places, moving them aside.
struct StoreFiles: Sendable {
  let directory: String

  var path: String { directory + "/" + StoreBounds.fileName }

  /// The directory without symbolic links, which SQLite then refuses anywhere in the path.
  init(directory: String, _ operation: StoreError.Operation) throws(StoreError) {
    guard let resolved = realpath(directory, nil) else {
      throw StoreError(errno: errno, operation, "resolve", path: directory)
    }
    defer { free(resolved) }
    self.directory = String(cString: resolved)
  }

  /// Checks what is there, and makes an empty file, readable and writable for its owner only,
  /// where nothing is.
  func prepareForWriting() throws(StoreError) {
    guard try isRegularFile(path, .open) else { return try create() }
    for suffix in StoreBounds.sidecarSuffixes { _ = try isRegularFile(path + suffix, .open) }
    // SQLite gives the files beside it the same mode.
    guard chmod(path, 0o600) == 0 else {
      throw StoreError(errno: errno, .open, "chmod", path: path)
    }
  }

  /// Checks that the database is there, as a regular file.
  func checkForReading() throws(StoreError) {
    guard try isRegularFile(path, .open) else {
      throw StoreError(errno: ENOENT, .open, "open", path: path)
    }
    for suffix in StoreBounds.sidecarSuffixes { _ = try isRegularFile(path + suffix, .open) }
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

  // MARK: Parts

  private func create() throws(StoreError) {
    // A log without its database: see `quarantine()`.
    _ = try quarantine()
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
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
      let name = "\(StoreBounds.fileName).quarantine-\(number)"
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
    try mode(path, .quarantine) != nil
  }

  /// Whether a regular file is there; false if nothing is.
  ///
  /// - Throws: `cantOpen` if something else is.
  private func isRegularFile(
    _ path: String, _ operation: StoreError.Operation
  ) throws(StoreError) -> Bool {
    guard let mode = try mode(path, operation) else { return false }
    guard mode & S_IFMT == S_IFREG else {
      throw StoreError(
        code: .cantOpen, operation: operation, message: "not a regular file", path: path)
    }
    return true
  }

  private func mode(
    _ path: String, _ operation: StoreError.Operation
  ) throws(StoreError) -> mode_t? {
    var status = stat()
    if lstat(path, &status) == 0 { return status.st_mode }
    if errno == ENOENT { return nil }
    throw StoreError(errno: errno, operation, "stat", path: path)
  }

  private func syncDirectory(_ operation: StoreError.Operation) throws(StoreError) {
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw StoreError(errno: errno, operation, "open", path: directory)
    }
    let code = fsync(descriptor)
    let failure = errno
    close(descriptor)
    guard code == 0 else { throw StoreError(errno: failure, operation, "sync", path: directory) }
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
