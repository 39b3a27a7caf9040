/// A file that is open only during each operation: a journal may have more segments than a process
/// may have descriptors.
final class ReopenedFile: JournalFile {
  private let storage: any JournalStorage
  private let name: String
  private let forWriting: Bool

  init(_ storage: any JournalStorage, _ name: String, forWriting: Bool) {
    self.storage = storage
    self.name = name
    self.forWriting = forWriting
  }

  func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
    try opened { (file) throws(StorageError) in try file.read(at: offset, count: count) }
  }

  func write(_ bytes: [UInt8], at offset: UInt64) throws(StorageError) {
    try opened { (file) throws(StorageError) in try file.write(bytes, at: offset) }
  }

  func allocate(_ byteCount: UInt64) throws(StorageError) {
    try opened { (file) throws(StorageError) in try file.allocate(byteCount) }
  }

  func truncate(to byteCount: UInt64) throws(StorageError) {
    try opened { (file) throws(StorageError) in try file.truncate(to: byteCount) }
  }

  func sync() throws(StorageError) {
    try opened { (file) throws(StorageError) in try file.sync() }
  }

  func size() throws(StorageError) -> UInt64 {
    try opened { (file) throws(StorageError) in try file.size() }
  }

  func dataEnd(from offset: UInt64) throws(StorageError) -> UInt64 {
    try opened { (file) throws(StorageError) in try file.dataEnd(from: offset) }
  }

  func close() throws(StorageError) {}

  private func opened<R>(
    _ body: (any JournalFile) throws(StorageError) -> R
  ) throws(StorageError) -> R {
    let file = try storage.open(name, forWriting: forWriting)
    let result = try body(file)
    try file.close()
    return result
  }
}
