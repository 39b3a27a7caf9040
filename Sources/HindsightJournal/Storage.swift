public import SystemPackage

/// The journal's directory: the seam at which tests and a simulator replace the file system.
public protocol JournalStorage: Sendable {
  /// The names of everything in it. What is no regular file is refused when it is opened.
  func list() throws(StorageError) -> [String]
  /// Opens an existing regular file.
  func open(_ name: String, forWriting: Bool) throws(StorageError) -> any JournalFile
  /// Creates a file that must not exist yet, readable by the owner only.
  func create(_ name: String) throws(StorageError) -> any JournalFile
  /// Renames atomically, replacing what was there.
  func rename(_ name: String, to other: String) throws(StorageError)
  func remove(_ name: String) throws(StorageError)
  /// Makes creations, renames and removals durable.
  func syncDirectory() throws(StorageError)
  /// Takes the directory for this process.
  /// - Throws: `StorageError` whose `holder` is the process id of who has it.
  func lock() throws(StorageError) -> any DirectoryLock
  /// Whether somebody holds the lock at present: a writer is at work beside a reader.
  func isLocked() throws(StorageError) -> Bool
}

extension JournalStorage {
  /// Removes what was begun under this name and has failed. Where that fails, too, the next opening does it.
  package func removeUnfinished(_ name: String) {
    do throws(StorageError) { try remove(name) } catch {}
  }
}

/// An open file. Offsets and counts are in bytes. Writing and syncing may run at the same time.
public protocol JournalFile: AnyObject, Sendable {
  /// Reads up to `count` bytes; fewer only at the end of the file.
  func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8]
  /// Writes all bytes, or throws.
  func write(_ bytes: [UInt8], at offset: UInt64) throws(StorageError)
  /// Makes the file this long, with space set aside where the file system can.
  func allocate(_ byteCount: UInt64) throws(StorageError)
  func truncate(to byteCount: UInt64) throws(StorageError)
  /// fdatasync(2). After a failure, never call it again on the same file: the kernel has dropped
  /// the pages, and the next call would lie.
  func sync() throws(StorageError)
  func size() throws(StorageError) -> UInt64
  /// A place at `offset` or behind it, from which on there are only zeros up to the file's end, or nothing: as
  /// close to what was written last as the storage can tell. To be asked before anything near it is read.
  func dataEnd(from offset: UInt64) throws(StorageError) -> UInt64
  func close() throws(StorageError)
}

extension JournalFile {
  /// Whatever the file has may be other than zeros.
  public func dataEnd(from offset: UInt64) throws(StorageError) -> UInt64 {
    max(offset, try size())
  }
}

/// A directory held for this process.
public protocol DirectoryLock: AnyObject, Sendable {
  func unlock()
}

/// A failed operation of the storage: what, where, and why.
public struct StorageError: Error, Equatable, Sendable, CustomStringConvertible {
  public var operation: String
  /// The file's name, or a directory's path.
  public var file: String
  /// Where the file is; `nil` for a directory, and where the storage has no paths.
  public var directory: String?
  public var code: Errno
  /// Who holds the lock, where that is what failed.
  public var holder: Int32?
  /// What is wrong, where the code alone doesn't say it, and what to do about it.
  public var detail: String?

  public init(
    _ operation: String, _ file: String, in directory: String? = nil, _ code: Errno,
    holder: Int32? = nil, detail: String? = nil
  ) {
    self.operation = operation
    self.file = file
    self.directory = directory
    self.code = code
    self.holder = holder
    self.detail = detail
  }

  /// Whether space or quota has run out, or the limit on a file's size (RLIMIT_FSIZE) is reached.
  public var isOutOfSpace: Bool {
    code == .noSpace || code == .diskQuotaExceeded || code == .fileTooLarge
  }

  public var description: String {
    let path = directory.map { $0 == "/" ? "/\(file)" : "\($0)/\(file)" } ?? file
    return "\(operation) \(path): \(detail ?? "\(code)")"
  }

  /// With what a person can do about it.
  package var advised: String {
    guard detail == nil else { return "\(self)" }
    let advice =
      switch code {
      case .permissionDenied, .notPermitted:
        "look at the owner and the permissions of the file and its directory"
      case .readOnlyFileSystem: "have its file system mounted writable, or use another directory"
      case .tooManyOpenFiles, .tooManyOpenFilesInSystem:
        "close some files, or raise the limit on open ones (ulimit -n)"
      case .noSuchFileOrDirectory: "it was there before: see who moved it, and try again"
      default: "look at the disk and its mount, and try again"
      }
    return "\(self); \(advice)"
  }
}
