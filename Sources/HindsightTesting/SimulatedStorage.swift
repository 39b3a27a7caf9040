public import HindsightJournal
import Synchronization
public import SystemPackage

/// A directory in memory that can lose power and fail on request: deterministic, for tests.
///
/// A file's bytes survive `crash` as of its last sync, a name as of the last directory sync.
public final class SimulatedStorage: JournalStorage {
  /// What is about to be done.
  public enum Operation: String, Sendable, CaseIterable {
    case list, open, create, rename, remove, syncDirectory, lock
    case read, write, allocate, truncate, sync, size, close
  }

  /// Asked before every operation; an error it gives is thrown instead.
  public typealias Fault = @Sendable (_ operation: Operation, _ file: String) -> Errno?

  fileprivate struct Contents {
    var data: [UInt8] = []
    /// At least the data's; the rest reads as zeros.
    var size = 0
  }

  fileprivate final class Node: Sendable {
    let contents = Mutex((current: Contents(), synced: Contents()))
  }

  private struct Directory {
    var entries: [String: Node] = [:]
    var synced: [String: Node] = [:]
    var lockGeneration: Int?
    var generation = 0
    var fault: Fault?
    var operationCount = 0
  }

  private let directory = Mutex(Directory())

  public init() {}

  // MARK: What happens to it

  /// Power is lost: only what was synced is left. Files that are open belong to the past.
  public func crash() {
    directory.withLock { directory in
      directory.entries = directory.synced.mapValues { old in
        let node = Node()
        let synced = old.contents.withLock { $0.synced }
        node.contents.withLock { $0 = (synced, synced) }
        return node
      }
      directory.synced = directory.entries
      directory.lockGeneration = nil
      directory.generation += 1
    }
  }

  /// The process is killed: everything written is left.
  public func killProcess() {
    directory.withLock { directory in
      directory.lockGeneration = nil
      directory.generation += 1
    }
  }

  /// Fails operations from now on as `fault` says; `nil`: none.
  public func inject(_ fault: Fault?) { directory.withLock { $0.fault = fault } }

  /// How many operations there were.
  public var operationCount: Int { directory.withLock { $0.operationCount } }

  /// A copy as it is now, unlocked.
  public func copy() -> SimulatedStorage {
    let copy = SimulatedStorage()
    for name in names { copy.setBytes(bytes(of: name) ?? [], of: name) }
    return copy
  }

  /// What a loss of power at this moment could leave behind, as another directory.
  /// - Parameter survives: whether a sector of 512 bytes that was not synced has reached the disk
  ///   all the same; with sector -1, whether an unsynced creation, renaming or removal of the file
  ///   has. Devices and kernels write back in any order.
  public func crashImage(survives: (_ file: String, _ sector: Int) -> Bool) -> SimulatedStorage {
    let (current, synced) = directory.withLock { ($0.entries, $0.synced) }
    let image = SimulatedStorage()
    for name in Set(current.keys).union(synced.keys).sorted() {
      let isUnsure = current[name] !== synced[name]
      let entries = isUnsure && survives(name, -1) ? current : synced
      guard let node = entries[name] else { continue }
      let (new, old) = node.contents.withLock { ($0.current, $0.synced) }
      image.setBytes(new.mixed(with: old) { survives(name, $0) }, of: name)
    }
    return image
  }

  public var names: [String] { directory.withLock { $0.entries.keys.sorted() } }

  /// A file's bytes, space allocated ahead included; `nil` if there is no such file.
  public func bytes(of name: String) -> [UInt8]? {
    directory.withLock { $0.entries[name] }.map { node in
      node.contents.withLock { $0.current.bytes(at: 0, count: $0.current.size) }
    }
  }

  /// Replaces a file's bytes, or makes it; synced.
  public func setBytes(_ bytes: [UInt8], of name: String) {
    let node = Node()
    let contents = Contents(data: bytes, size: bytes.count)
    node.contents.withLock { $0 = (contents, contents) }
    directory.withLock { directory in
      directory.entries[name] = node
      directory.synced[name] = node
    }
  }

  /// Deletes a file, durably.
  public func delete(_ name: String) {
    directory.withLock { directory in
      directory.entries[name] = nil
      directory.synced[name] = nil
    }
  }

  // MARK: JournalStorage

  public func list() throws(StorageError) -> [String] {
    try check(.list, "directory")
    return names
  }

  public func open(_ name: String, forWriting: Bool) throws(StorageError) -> any JournalFile {
    try check(.open, name)
    guard let node = directory.withLock({ $0.entries[name] }) else {
      throw StorageError("open", name, .noSuchFileOrDirectory)
    }
    return SimulatedFile(self, node, name)
  }

  public func create(_ name: String) throws(StorageError) -> any JournalFile {
    try check(.create, name)
    let node = Node()
    let isNew = directory.withLock { directory in
      guard directory.entries[name] == nil else { return false }
      directory.entries[name] = node
      return true
    }
    guard isNew else { throw StorageError("create", name, .fileExists) }
    return SimulatedFile(self, node, name)
  }

  public func rename(_ name: String, to other: String) throws(StorageError) {
    try check(.rename, name)
    let isThere = directory.withLock { directory in
      guard let node = directory.entries.removeValue(forKey: name) else { return false }
      directory.entries[other] = node
      return true
    }
    guard isThere else { throw StorageError("rename", name, .noSuchFileOrDirectory) }
  }

  public func remove(_ name: String) throws(StorageError) {
    try check(.remove, name)
    guard directory.withLock({ $0.entries.removeValue(forKey: name) }) != nil else {
      throw StorageError("remove", name, .noSuchFileOrDirectory)
    }
  }

  public func syncDirectory() throws(StorageError) {
    try check(.syncDirectory, "directory")
    directory.withLock { $0.synced = $0.entries }
  }

  public func lock() throws(StorageError) -> any DirectoryLock {
    try check(.lock, "lock")
    let generation = directory.withLock { directory -> Int? in
      guard directory.lockGeneration == nil else { return nil }
      directory.lockGeneration = directory.generation
      return directory.generation
    }
    guard let generation else { throw StorageError("lock", "directory", .wouldBlock, holder: 1) }
    return Lock(self, generation)
  }

  public func isLocked() throws(StorageError) -> Bool {
    directory.withLock { $0.lockGeneration != nil }
  }

  fileprivate func unlock(_ generation: Int) {
    directory.withLock { directory in
      if directory.lockGeneration == generation { directory.lockGeneration = nil }
    }
  }

  fileprivate func check(_ operation: Operation, _ file: String) throws(StorageError) {
    let fault = directory.withLock { directory in
      directory.operationCount += 1
      return directory.fault
    }
    if let code = fault?(operation, file) {
      throw StorageError(operation.rawValue, file, code)
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

extension SimulatedStorage.Contents {
  fileprivate func bytes(at offset: Int, count: Int) -> [UInt8] {
    let end = min(size, offset + count)
    guard offset < end else { return [] }
    let stored = offset < data.count ? Array(data[offset..<min(end, data.count)]) : []
    return stored + Array(repeating: 0, count: end - offset - stored.count)
  }

  /// Sectors of this where they are chosen, else of what was there before.
  fileprivate func mixed(with old: Self, _ isChosen: (Int) -> Bool) -> [UInt8] {
    var bytes = old.bytes(at: 0, count: old.size)
    let isLonger = size > old.size
    if isLonger { bytes.append(contentsOf: repeatElement(0, count: size - old.size)) }
    for start in stride(from: 0, to: max(data.count, old.data.count), by: 512) {
      let end = min(start + 512, bytes.count)
      guard start < end else { break }
      let mine = self.bytes(at: start, count: end - start)
      let isSame = bytes[start..<end].elementsEqual(mine)
      guard !isSame, isChosen(start / 512) else { continue }
      bytes.replaceSubrange(start..<start + mine.count, with: mine)
    }
    return bytes
  }

  fileprivate mutating func write(_ bytes: [UInt8], at offset: Int) {
    if data.count < offset + bytes.count {
      data.append(contentsOf: repeatElement(0, count: offset + bytes.count - data.count))
    }
    data.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    size = max(size, data.count)
  }

  fileprivate mutating func truncate(to count: Int) {
    if data.count > count { data.removeLast(data.count - count) }
    size = count
  }
}

private final class SimulatedFile: JournalFile {
  private let storage: SimulatedStorage
  private let node: SimulatedStorage.Node
  private let name: String

  init(_ storage: SimulatedStorage, _ node: SimulatedStorage.Node, _ name: String) {
    self.storage = storage
    self.node = node
    self.name = name
  }

  func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
    try storage.check(.read, name)
    return node.contents.withLock { $0.current.bytes(at: Int(offset), count: count) }
  }

  func write(_ bytes: [UInt8], at offset: UInt64) throws(StorageError) {
    try storage.check(.write, name)
    node.contents.withLock { $0.current.write(bytes, at: Int(offset)) }
  }

  func allocate(_ byteCount: UInt64) throws(StorageError) {
    try storage.check(.allocate, name)
    node.contents.withLock { $0.current.size = max($0.current.size, Int(byteCount)) }
  }

  func truncate(to byteCount: UInt64) throws(StorageError) {
    try storage.check(.truncate, name)
    node.contents.withLock { $0.current.truncate(to: Int(byteCount)) }
  }

  func sync() throws(StorageError) {
    do throws(StorageError) {
      try storage.check(.sync, name)
    } catch {
      // A failed fsync drops the dirty pages: they read as they were before (fsync(2), errors).
      node.contents.withLock { $0.current = $0.synced }
      throw error
    }
    node.contents.withLock { $0.synced = $0.current }
  }

  func size() throws(StorageError) -> UInt64 {
    try storage.check(.size, name)
    return UInt64(node.contents.withLock { $0.current.size })
  }

  func close() throws(StorageError) { try storage.check(.close, name) }
}
