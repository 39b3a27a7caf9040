public import HindsightJournal
import SystemPackage

/// A storage whose operations pass failpoints.
public struct FailpointStorage: JournalStorage {
  private let storage: any JournalStorage
  private let failpoints: Failpoints

  public init(_ storage: any JournalStorage, _ failpoints: Failpoints) {
    self.storage = storage
    self.failpoints = failpoints
  }

  public func list() throws(StorageError) -> [String] {
    try failpoints.around("directory", "list", "directory") { () throws(StorageError) in
      try storage.list()
    }
  }

  public func open(_ name: String, forWriting: Bool) throws(StorageError) -> any JournalFile {
    try file(name, "open") { () throws(StorageError) in
      try storage.open(name, forWriting: forWriting)
    }
  }

  public func create(_ name: String) throws(StorageError) -> any JournalFile {
    try file(name, "create") { () throws(StorageError) in try storage.create(name) }
  }

  private func file(
    _ name: String, _ operation: String, _ body: () throws(StorageError) -> any JournalFile
  ) throws(StorageError) -> any JournalFile {
    let subject = Failpoints.subject(of: name)
    let file = try failpoints.around(subject, operation, name, body)
    return subject.map { FailpointFile(file, failpoints, subject: $0, name: name) } ?? file
  }

  public func rename(_ name: String, to other: String) throws(StorageError) {
    try failpoints.around(Failpoints.subject(of: name), "rename", name) { () throws(StorageError) in
      try storage.rename(name, to: other)
    }
  }

  public func remove(_ name: String) throws(StorageError) {
    try failpoints.around(Failpoints.subject(of: name), "remove", name) { () throws(StorageError) in
      try storage.remove(name)
    }
  }

  public func syncDirectory() throws(StorageError) {
    try failpoints.around("directory", "sync", "directory") { () throws(StorageError) in
      try storage.syncDirectory()
    }
  }

  public func lock() throws(StorageError) -> any DirectoryLock {
    try failpoints.around("directory", "lock", "lock") { () throws(StorageError) in
      try storage.lock()
    }
  }

  public func isLocked() throws(StorageError) -> Bool { try storage.isLocked() }
}

private final class FailpointFile: JournalFile {
  private let file: any JournalFile
  private let failpoints: Failpoints
  private let subject: String
  private let name: String

  init(_ file: any JournalFile, _ failpoints: Failpoints, subject: String, name: String) {
    self.file = file
    self.failpoints = failpoints
    self.subject = subject
    self.name = name
  }

  func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
    guard subject != "quarantine" else { return try file.read(at: offset, count: count) }
    return try failpoints.around(subject, "read", name) { () throws(StorageError) in
      try file.read(at: offset, count: count)
    }
  }

  func write(_ bytes: [UInt8], at offset: UInt64) throws(StorageError) {
    try failpoints.around(subject, "write", name) { () throws(StorageError) in
      let half = bytes.count / 2
      try file.write([UInt8](bytes[..<half]), at: offset)
      try failpoints.pass(subject, "write", "middle", name)
      try file.write([UInt8](bytes[half...]), at: offset + UInt64(half))
    }
  }

  func allocate(_ byteCount: UInt64) throws(StorageError) {
    guard subject == "segment" else { return try file.allocate(byteCount) }
    try failpoints.around(subject, "allocate", name) { () throws(StorageError) in
      try file.allocate(byteCount)
    }
  }

  func truncate(to byteCount: UInt64) throws(StorageError) {
    guard subject == "segment" else { return try file.truncate(to: byteCount) }
    try failpoints.around(subject, "truncate", name) { () throws(StorageError) in
      try file.truncate(to: byteCount)
    }
  }

  func sync() throws(StorageError) {
    try failpoints.around(subject, "sync", name) { () throws(StorageError) in try file.sync() }
  }

  func size() throws(StorageError) -> UInt64 {
    guard subject == "segment" else { return try file.size() }
    return try failpoints.around(subject, "size", name) { () throws(StorageError) in
      try file.size()
    }
  }

  func dataEnd(from offset: UInt64) throws(StorageError) -> UInt64 {
    try file.dataEnd(from: offset)
  }

  func close() throws(StorageError) {
    try failpoints.around(subject, "close", name) { () throws(StorageError) in try file.close() }
  }
}

extension Failpoints {
  fileprivate func around<R>(
    _ subject: String?, _ operation: String, _ file: String,
    _ body: () throws(StorageError) -> R
  ) throws(StorageError) -> R {
    guard let subject else { return try body() }
    try pass(subject, operation, "before", file)
    let result = try body()
    try pass(subject, operation, "after", file)
    return result
  }

  fileprivate func pass(
    _ subject: String, _ operation: String, _ place: String, _ file: String
  ) throws(StorageError) {
    if let code = pass("\(subject).\(operation).\(place)") {
      throw StorageError(operation, file, code)
    }
  }
}
