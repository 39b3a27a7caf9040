import HindsightJournal
import Synchronization
import SystemPackage

/// An open file of a `SimulatedStorage`. It belongs to the process that opened it: once that is
/// gone, its operations do nothing.
final class SimulatedFile: JournalFile {
  private let storage: SimulatedStorage
  private let node: SimulatedStorage.Node
  private let name: String
  private let generation: Int
  private let isWritable: Bool
  private let isOpen = Atomic<Bool>(true)

  init(
    _ storage: SimulatedStorage, _ node: SimulatedStorage.Node, _ name: String, forWriting: Bool
  ) {
    self.storage = storage
    isWritable = forWriting
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
    // Others may write before it ends.
    let begun = node.contents.withLock { $0.changeCount }
    do throws(StorageError) {
      try perform(.sync) { (fault) throws(StorageError) in
        isPerformed = true
        switch fault {
        case .syncLies: break
        case .syncError(let isReverted):
          failSync(isReverted: isReverted)
          throw StorageError("sync", name, .ioError)
        default: node.contents.withLock { $0.sync(through: begun) }
        }
      }
    } catch {
      // A failed fsync drops the dirty pages. Where the power went, the crash sees to them; EINTR
      // and a file of the past have not begun.
      let isHarmless = error.code == .interrupted || error.code == .badFileDescriptor
      if !isPerformed, !isHarmless, storage.injector?.isPowerOut != true {
        failSync(isReverted: true)
      }
      throw error
    }
  }

  /// Without an injector no page was written back; with one, none or some.
  private func failSync(isReverted: Bool) {
    guard var dice = storage.injector?.dice(), dice.next() % 2 == 0 else {
      return node.contents.withLock { $0.failSync(isReverted: isReverted) }
    }
    node.contents.withLock {
      $0.failSync(isReverted: isReverted) { _ in dice.next() % 2 == 0 }
    }
  }

  func size() throws(StorageError) -> UInt64 {
    try perform(.size) { _ in UInt64(node.contents.withLock { $0.current.size }) }
  }

  func close() throws(StorageError) {
    try perform(.close) { _ in }
    isOpen.store(false, ordering: .relaxed)
  }

  /// What a descriptor for reading doesn't do.
  private static let writes: Set<SimulatedStorage.Operation> = [.write, .allocate, .truncate]

  private func perform<R>(
    _ operation: SimulatedStorage.Operation, _ body: (StorageFault?) throws(StorageError) -> R
  ) throws(StorageError) -> R {
    let isPermitted =
      isOpen.load(ordering: .relaxed) && (isWritable || !Self.writes.contains(operation))
    guard isPermitted, storage.directory.withLock({ $0.generation }) == generation else {
      throw StorageError(operation.rawValue, name, .badFileDescriptor)
    }
    return try storage.perform(operation, name, body)
  }
}
