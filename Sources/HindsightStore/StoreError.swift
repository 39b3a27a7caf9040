/// Why the store could not do what it was asked, where, and what to do about it.
public struct StoreError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What happened, closed so that handlers are exhaustive.
  public enum Code: String, Sendable, CaseIterable {
    /// Another connection holds a lock.
    case busy
    /// The disk, a quota or the page limit leaves no room.
    case full
    /// The system failed a read, a write or a sync.
    case ioError
    /// The database is damaged.
    case corrupt
    /// The file is something else than a SQLite database.
    case notADatabase
    /// A SQLite database, but not one of this cache's (or of another schema version).
    case foreign
    /// The file or its file system can't be written.
    case readOnly
    /// The file can't be opened, or something else than a regular file stands in its place.
    case cantOpen
    /// A row that was to be inserted is there already: the rows are not what the mark says.
    case conflict
    /// The connection was closed before the call.
    case closed
    /// Anything else, out of memory among it.
    case other
  }

  /// What the store was doing.
  public enum Operation: String, Sendable, CaseIterable {
    case open
    case readMark
    case apply
    case checkpoint
    case read
    case scan
    case check
    case quarantine
  }

  /// What the owner of the store does next.
  public enum Remedy: String, Sendable, CaseIterable {
    /// The same call may succeed later.
    case retry
    /// The same call may succeed once there is room.
    case makeRoom
    /// Compare the rows with the index and put right what differs.
    case reconcile
    /// Quarantine the database and build it again from the journal.
    case rebuild
    /// A person has to look at permissions, the mount or the disk.
    case report
  }

  public var code: Code
  /// SQLite's extended result code, or `errno` negated, or 0.
  public var extendedCode: Int32
  public var operation: Operation
  public var message: String
  public var path: String

  public init(
    code: Code, extendedCode: Int32 = 0, operation: Operation, message: String, path: String
  ) {
    self.code = code
    self.extendedCode = extendedCode
    self.operation = operation
    self.message = message
    self.path = path
  }

  /// What to do about it.
  public var remedy: Remedy {
    switch code {
    case .busy: .retry
    case .full: .makeRoom
    case .conflict: .reconcile
    case .corrupt, .notADatabase, .foreign: .rebuild
    case .ioError, .readOnly, .cantOpen, .closed, .other: .report
    }
  }

  public var description: String {
    "\(operation.rawValue) failed (\(code.rawValue), \(extendedCode)): \(message)"
      + (path.isEmpty ? "" : " [\(path)]")
  }
}
