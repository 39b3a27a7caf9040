import HindsightJournal
import SystemPackage

/// An open file of a `SimulatedStorage`. It belongs to the process that opened it: once that is
/// gone, its operations do nothing.
final class SimulatedFile: JournalFile {
  private let storage: SimulatedStorage
  private let node: SimulatedStorage.Node
  private let name: String
  private let generation: Int

  init(_ storage: SimulatedStorage, _ node: SimulatedStorage.Node, _ name: String) {
    self.storage = storage
    self.node = node
    self.name = name
    generation = storage.directory.withLock { directory in
      directory.openFileCount += 1
      return directory.generation
    }
  }

  deinit {
    storage.directory.withLock { directory in
      // Those of a process that is gone went with it.
      if directory.generation == generation { directory.openFileCount -= 1 }
    }
  }

  func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
    try perform(.read) { _ in
      node.contents.withLock { $0.current.bytes(at: Int(offset), count: count) }
    }
  }

  func write(_ bytes: [UInt8], at offset: UInt64) throws(StorageError) {
    try perform(.write) { (fault) throws(StorageError) in
      let offset = Int(offset)
      let order = storage.operationCount
      switch fault {
      case .shortWrite(let code, let share):
        let count = bytes.count * share / 256
        node.contents.withLock {
          $0.change(.write(Array(bytes[..<count]), at: offset), order: order)
        }
        throw StorageError("write", name, code)
      case .lostWrite:
        node.contents.withLock { $0.change(.write(bytes, at: offset), onDisk: nil, order: order) }
      case .misdirectedWrite(let sectors):
        let elsewhere = max(0, offset + (sectors == 0 ? 1 : sectors) * 512)
        node.contents.withLock {
          $0.change(
            .write(bytes, at: offset), onDisk: .write(bytes, at: elsewhere), order: order)
        }
      default:
        node.contents.withLock { $0.change(.write(bytes, at: offset), order: order) }
      }
    }
  }

  func allocate(_ byteCount: UInt64) throws(StorageError) {
    try perform(.allocate) { _ in
      let order = storage.operationCount
      node.contents.withLock { $0.change(.allocate(Int(byteCount)), order: order) }
    }
  }

  func truncate(to byteCount: UInt64) throws(StorageError) {
    try perform(.truncate) { _ in
      let order = storage.operationCount
      node.contents.withLock { $0.change(.truncate(Int(byteCount)), order: order) }
    }
  }

  func sync() throws(StorageError) {
    var isPerformed = false
    do throws(StorageError) {
      try perform(.sync) { (fault) throws(StorageError) in
        isPerformed = true
        switch fault {
        case .syncLies: break
        case .syncError(let isReverted):
          node.contents.withLock { $0.failSync(isReverted: isReverted) }
          throw StorageError("sync", name, .ioError)
        default: node.contents.withLock { $0.sync() }
        }
      }
    } catch {
      // A failed fsync drops the dirty pages. Where the power went, the crash sees to them; EINTR
      // and a file of the past have not begun.
      let isHarmless = error.code == .interrupted || error.code == .badFileDescriptor
      if !isPerformed, !isHarmless, storage.injector?.isPowerOut != true {
        node.contents.withLock { $0.failSync(isReverted: true) }
      }
      throw error
    }
  }

  func size() throws(StorageError) -> UInt64 {
    try perform(.size) { _ in UInt64(node.contents.withLock { $0.current.size }) }
  }

  func close() throws(StorageError) { try perform(.close) { _ in } }

  private func perform<R>(
    _ operation: SimulatedStorage.Operation, _ body: (StorageFault?) throws(StorageError) -> R
  ) throws(StorageError) -> R {
    guard storage.directory.withLock({ $0.generation }) == generation else {
      throw StorageError(operation.rawValue, name, .badFileDescriptor)
    }
    return try storage.perform(operation, name, body)
  }
}
