import HindsightCore
public import HindsightStore
import SystemPackage

/// A store whose operations pass failpoints.
public struct FailpointStore: StoreBackend {
  private let store: any StoreBackend
  private let failpoints: Failpoints

  public init(_ store: any StoreBackend, _ failpoints: Failpoints) {
    self.store = store
    self.failpoints = failpoints
  }

  public func openWriter() throws(StoreError) -> any StoreWriter {
    try failpoints.around("open", .open) { () throws(StoreError) in
      FailpointWriter(try store.openWriter(), failpoints)
    }
  }

  public func openReader() throws(StoreError) -> any StoreReader {
    try failpoints.around("reader", .open) { () throws(StoreError) in
      FailpointReader(try store.openReader(), failpoints)
    }
  }

  public func markAtRest() throws(StoreError) -> StoreMark? {
    try failpoints.around("mark", .readMark) { () throws(StoreError) in try store.markAtRest() }
  }

  public var canReadInPlace: Bool { store.canReadInPlace }

  public func quarantine() throws(StoreError) -> String? {
    try failpoints.around("quarantine", .quarantine) { () throws(StoreError) in
      try store.quarantine()
    }
  }

  public func openQuarantined(_ number: Int) throws(StoreError) -> (any StoreReader)? {
    try store.openQuarantined(number)
  }
}

private final class FailpointWriter: StoreWriter {
  private let writer: any StoreWriter
  private let failpoints: Failpoints

  init(_ writer: any StoreWriter, _ failpoints: Failpoints) {
    self.writer = writer
    self.failpoints = failpoints
  }

  func mark() throws(StoreError) -> StoreMark? {
    try failpoints.around("mark", .readMark) { () throws(StoreError) in try writer.mark() }
  }

  func apply(_ operations: [RowOperation], mark: StoreMark) throws(StoreError) {
    try failpoints.around("apply", .apply) { () throws(StoreError) in
      try writer.apply(operations, mark: mark)
    }
  }

  func checkpoint(_ kind: CheckpointKind) throws(StoreError) -> CheckpointOutcome {
    try failpoints.around("checkpoint", .checkpoint) { () throws(StoreError) in
      try writer.checkpoint(kind)
    }
  }

  func rows(
    after origin: SequenceNumber, limit: Int, detail: RowDetail
  ) throws(StoreError) -> [RowImage] {
    try failpoints.around("rows", .scan) { () throws(StoreError) in
      try writer.rows(after: origin, limit: limit, detail: detail)
    }
  }

  var walByteCount: UInt64 { writer.walByteCount }

  func close() {
    // Closing can't fail: an error asked for here has no effect.
    _ = failpoints.pass("store.close.before")
    writer.close()
    _ = failpoints.pass("store.close.after")
  }
}

private final class FailpointReader: StoreReader {
  private let reader: any StoreReader
  private let failpoints: Failpoints

  init(_ reader: any StoreReader, _ failpoints: Failpoints) {
    self.reader = reader
    self.failpoints = failpoints
  }

  func read(origin: SequenceNumber, mode: ReadMode) throws(StoreError) -> StoreReadResult {
    try failpoints.around("read", .read) { () throws(StoreError) in
      try reader.read(origin: origin, mode: mode)
    }
  }

  func close() { reader.close() }
}

extension Failpoints {
  fileprivate func around<R>(
    _ name: String, _ operation: StoreError.Operation, _ body: () throws(StoreError) -> R
  ) throws(StoreError) -> R {
    try pass("\(name).before", operation)
    let result = try body()
    try pass("\(name).after", operation)
    return result
  }

  private func pass(_ name: String, _ operation: StoreError.Operation) throws(StoreError) {
    guard let code = pass("store." + name) else { return }
    throw StoreError(
      code: code == .noSpace || code == .diskQuotaExceeded ? .full : .ioError,
      operation: operation, message: "failpoint store.\(name): \(code)", path: StoreBounds.fileName)
  }
}
