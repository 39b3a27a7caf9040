public import HindsightJournal
import Synchronization
public import SystemPackage

/// A directory in memory that can lose power and fail on request: deterministic, for tests.
///
/// A file's bytes survive `crash` as of its last sync, a name as of the last directory sync. What
/// else may happen is decided by a `FaultInjector`, or by a closure of the test's own (`inject`).
public final class SimulatedStorage: JournalStorage {
  /// What is about to be done.
  public enum Operation: String, Sendable, CaseIterable {
    case list, open, create, rename, remove, syncDirectory, lock
    case read, write, allocate, truncate, sync, size, close
  }

  /// Asked before every operation; an error it gives is thrown instead.
  public typealias Fault = @Sendable (_ operation: Operation, _ file: String) -> Errno?

  final class Node: Sendable {
    let contents: Mutex<SimulatedContents>
    init(_ contents: SimulatedContents = SimulatedContents()) { self.contents = Mutex(contents) }
  }

  struct Directory {
    var entries: [String: Node] = [:]
    var synced: [String: Node] = [:]
    /// When the directory sync began that `synced` comes from, in operations.
    var syncBegan = 0
    /// Files that are gone: their blocks may come up again in others.
    var graveyard: [[UInt8]] = []
    var lockGeneration: Int?
    var generation = 0
    /// Somebody has deleted the directory.
    var isRemoved = false
    var fault: Fault?
    var operationCount = 0
    var openFileCount = 0
  }

  let directory = Mutex(Directory())
  let injector: FaultInjector?

  /// - Parameter injector: is asked at every operation.
  public init(_ injector: FaultInjector? = nil) { self.injector = injector }

  // MARK: JournalStorage

  public func list() throws(StorageError) -> [String] {
    try perform(.list, "directory") { _ in names }
  }

  public func open(_ name: String, forWriting: Bool) throws(StorageError) -> any JournalFile {
    try perform(.open, name) { (_) throws(StorageError) in
      guard let node = directory.withLock({ $0.entries[name] }) else {
        throw StorageError("open", name, .noSuchFileOrDirectory)
      }
      return SimulatedFile(self, node, name, forWriting: forWriting)
    }
  }

  public func create(_ name: String) throws(StorageError) -> any JournalFile {
    try perform(.create, name) { (_) throws(StorageError) in
      let node = Node()
      let code = directory.withLock { directory -> Errno? in
        if directory.isRemoved { return .noSuchFileOrDirectory }
        guard directory.entries[name] == nil else { return .fileExists }
        directory.entries[name] = node
        return nil
      }
      if let code { throw StorageError("create", name, code) }
      return SimulatedFile(self, node, name, forWriting: true)
    }
  }

  public func rename(_ name: String, to other: String) throws(StorageError) {
    try perform(.rename, name) { (_) throws(StorageError) in
      let isThere = directory.withLock { directory in
        guard let node = directory.entries.removeValue(forKey: name) else { return false }
        directory.entries[other] = node
        return true
      }
      guard isThere else { throw StorageError("rename", name, .noSuchFileOrDirectory) }
    }
  }

  public func remove(_ name: String) throws(StorageError) {
    try perform(.remove, name) { (_) throws(StorageError) in
      let isThere = directory.withLock { directory in
        guard let node = directory.entries.removeValue(forKey: name) else { return false }
        directory.bury(node)
        return true
      }
      guard isThere else { throw StorageError("remove", name, .noSuchFileOrDirectory) }
    }
  }

  public func syncDirectory() throws(StorageError) {
    // Others may change names before it ends.
    let (entries, began) = directory.withLock { ($0.entries, $0.operationCount) }
    try perform(.syncDirectory, "directory") { (_) throws(StorageError) in
      let isRemoved = directory.withLock { directory in
        if !directory.isRemoved { directory.noteSynced(entries, began: began) }
        return directory.isRemoved
      }
      if isRemoved { throw StorageError("sync", "directory", .noSuchFileOrDirectory) }
    }
  }

  public func lock() throws(StorageError) -> any DirectoryLock {
    try perform(.lock, "lock") { (_) throws(StorageError) in
      let generation = directory.withLock { directory -> Int? in
        guard directory.lockGeneration == nil else { return nil }
        // Whoever opens it makes it anew, as `PosixStorage` does.
        directory.isRemoved = false
        directory.lockGeneration = directory.generation
        return directory.generation
      }
      guard let generation else { throw StorageError("lock", "directory", .wouldBlock, holder: 1) }
      return Lock(self, generation)
    }
  }

  public func isLocked() throws(StorageError) -> Bool {
    directory.withLock { $0.lockGeneration != nil }
  }

  // MARK: Parts

  /// Does one operation, or what a fault makes of it. What `body` gets it has to see to itself.
  func perform<R>(
    _ operation: Operation, _ file: String,
    _ body: (StorageFault?) throws(StorageError) -> R
  ) throws(StorageError) -> R {
    func failure(_ code: Errno) -> StorageError { StorageError(operation.rawValue, file, code) }
    let fault = directory.withLock { directory in
      directory.operationCount += 1
      return directory.fault
    }
    if let code = fault?(operation, file) { throw failure(code) }
    switch injector?.storageFault(operation, file) {
    case nil: return try body(nil)
    case .error(let code): throw failure(code)
    case .doneThenError(let code):
      _ = try body(nil)
      throw failure(code)
    case .powerLoss(let isBefore):
      if !isBefore { _ = try body(nil) }
      throw failure(.ioError)
    case .directoryRemoved:
      removeDirectory()
      return try body(nil)
    case .some(let other): return try body(other)
    }
  }

  fileprivate func unlock(_ generation: Int) {
    directory.withLock { directory in
      if directory.lockGeneration == generation { directory.lockGeneration = nil }
    }
  }

  private final class Lock: DirectoryLock {
    private let storage: SimulatedStorage
    private let generation: Int

    init(_ storage: SimulatedStorage, _ generation: Int) {
      self.storage = storage
      self.generation = generation
    }

    func unlock() { storage.unlock(generation) }
  }
}

extension SimulatedStorage.Directory {
  /// Whoever had files open is gone, and the lock with them.
  mutating func endProcess() {
    lockGeneration = nil
    generation += 1
    openFileCount = 0
  }

  /// A directory sync has ended. One that began later, and ended before it, has covered more.
  mutating func noteSynced(_ entries: [String: SimulatedStorage.Node], began: Int) {
    guard began >= syncBegan else { return }
    synced = entries
    syncBegan = began
  }

  /// Remembers the blocks of a file that is gone; the last few are enough.
  mutating func bury(_ node: SimulatedStorage.Node) {
    let data = node.contents.withLock { $0.current.data }
    guard !data.isEmpty else { return }
    graveyard.append(data)
    if graveyard.count > 4 { graveyard.removeFirst() }
  }
}
