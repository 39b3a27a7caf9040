public import HindsightCore
import Synchronization

/// The connections that a cache reads with: some for reads in place, one for its reader thread.
public final class StoreReaders: Sendable {
  private struct Pool {
    var idle: [any StoreReader]
    var isClosed = false
  }

  /// Held only to take and to return a reader.
  private let inPlace: Mutex<Pool>
  private let blocking: any StoreReader
  private let count = Atomic<UInt64>(0)

  /// Opens the connections; may block.
  ///
  /// - Parameter inPlaceReaderCount: how many threads can read in place at the same time, where the store
  ///   can do that at all; 0: every read goes to the reader thread.
  /// - Throws: as `StoreBackend.openReader()`.
  public init(
    backend: any StoreBackend, inPlaceReaderCount: Int = StoreBounds.inPlaceReaderCount
  ) throws(StoreError) {
    blocking = try backend.openReader()
    var idle: [any StoreReader] = []
    for _ in 0..<(backend.canReadInPlace ? inPlaceReaderCount : 0) {
      idle.append(try backend.openReader())
    }
    inPlace = Mutex(Pool(idle: idle))
  }

  /// The reads so far, refused ones included.
  public var queryCount: UInt64 { count.load(ordering: .relaxed) }

  /// Reads one row on this thread, if that needs no waiting: neither for the disk nor for a lock
  /// nor for a connection.
  ///
  /// - Throws: `ioError`, `corrupt`, `closed`.
  public func readInPlace(origin: SequenceNumber) throws(StoreError) -> StoreReadResult {
    guard let reader = inPlace.withLock({ $0.idle.popLast() }) else { return .wouldBlock }
    defer { giveBack(reader) }
    count.add(1, ordering: .relaxed)
    return try reader.read(origin: origin, mode: .inPlace)
  }

  /// Reads rows, waiting for the disk: for the reader thread. Every row is read in a snapshot that
  /// is younger than the call, so a batch is closed before its snapshot is taken.
  ///
  /// - Returns: a result for each origin, in their order; none of them `wouldBlock`.
  public func readBlocking(
    origins: [SequenceNumber]
  ) -> [Result<StoreReadResult, StoreError>] {
    count.add(UInt64(origins.count), ordering: .relaxed)
    return origins.map { origin in
      Result { () throws(StoreError) in try blocking.read(origin: origin, mode: .mayBlock) }
    }
  }

  /// Closes the connections; one that is in use right now, when it is given back.
  public func close() {
    let idle = inPlace.withLock { pool in
      pool.isClosed = true
      defer { pool.idle = [] }
      return pool.idle
    }
    for reader in idle { reader.close() }
    blocking.close()
  }

  private func giveBack(_ reader: any StoreReader) {
    let isClosed = inPlace.withLock { pool in
      if !pool.isClosed { pool.idle.append(reader) }
      return pool.isClosed
    }
    if isClosed { reader.close() }
  }
}
