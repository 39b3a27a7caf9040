import Foundation
import HindsightCore
import HindsightStore
import Synchronization

/// A SQLite store whose reads and transactions a test can hold up and count. Reads always go to
/// the reader thread.
final class GatedStore: StoreBackend {
  struct Gate {
    var isReadHeld = false
    var isWriteHeld = false
    var readsBegun = 0
    var transactions = 0
    /// So many of them; the next one waits.
    var transactionsMax = Int.max
    var rows = 0
    /// Bytes of values in the transaction that had the most.
    var byteCountMax = 0
  }

  private let store: SQLiteStore
  let gate = Mutex(Gate())

  init(directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    store = SQLiteStore(directory: directory)
  }

  func openWriter() throws(StoreError) -> any StoreWriter {
    Writer(try store.openWriter(), self)
  }

  func openReader() throws(StoreError) -> any StoreReader {
    Reader(try store.openReader(), self)
  }

  func markAtRest() throws(StoreError) -> StoreMark? { try store.markAtRest() }

  func quarantine() throws(StoreError) -> String? { try store.quarantine() }

  func holdReads(_ isHeld: Bool) { gate.withLock { $0.isReadHeld = isHeld } }
  func holdWrites(_ isHeld: Bool) { gate.withLock { $0.isWriteHeld = isHeld } }
  /// Lets so many further transactions through; `nil`: all.
  func allowTransactions(_ count: Int?) {
    gate.withLock { gate in
      gate.transactionsMax = count.map { gate.transactions + $0 } ?? .max
    }
  }
  var transactions: Int { gate.withLock { $0.transactions } }
  var readsBegun: Int { gate.withLock { $0.readsBegun } }

  fileprivate func wait(while isHeld: (Gate) -> Bool) {
    while gate.withLock({ isHeld($0) }) { usleep(200) }
  }

  private final class Reader: StoreReader {
    private let reader: any StoreReader
    private let owner: GatedStore

    init(_ reader: any StoreReader, _ owner: GatedStore) {
      self.reader = reader
      self.owner = owner
    }

    func read(origin: SequenceNumber, mode: ReadMode) throws(StoreError) -> StoreReadResult {
      if mode == .inPlace { return .wouldBlock }
      // The row is read before the gate: what was read is old when it gets through.
      let result = try reader.read(origin: origin, mode: mode)
      owner.gate.withLock { $0.readsBegun += 1 }
      owner.wait { $0.isReadHeld }
      return result
    }

    func close() { reader.close() }
  }

  private final class Writer: StoreWriter {
    private let writer: any StoreWriter
    private let owner: GatedStore

    init(_ writer: any StoreWriter, _ owner: GatedStore) {
      self.writer = writer
      self.owner = owner
    }

    func mark() throws(StoreError) -> StoreMark? { try writer.mark() }

    func apply(_ operations: [RowOperation], mark: StoreMark) throws(StoreError) {
      owner.wait { $0.isWriteHeld || $0.transactions >= $0.transactionsMax }
      try writer.apply(operations, mark: mark)
      owner.gate.withLock { gate in
        gate.transactions += 1
        gate.rows += operations.count
        gate.byteCountMax = max(gate.byteCountMax, operations.reduce(0) { $0 + $1.valueByteCount })
      }
    }

    func checkpoint(_ kind: CheckpointKind) throws(StoreError) -> CheckpointOutcome {
      try writer.checkpoint(kind)
    }
    var walByteCount: UInt64 { writer.walByteCount }
    func rows(
      after origin: SequenceNumber, limit: Int, detail: RowDetail
    ) throws(StoreError) -> [RowImage] {
      try writer.rows(after: origin, limit: limit, detail: detail)
    }
    func close() { writer.close() }
  }
}

extension RowOperation {
  fileprivate var valueByteCount: Int {
    if case .insert(let row) = self { row.value.count } else { 0 }
  }
}
