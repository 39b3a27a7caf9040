import Glibc
import HindsightCore
import HindsightTesting
import Testing

@testable import HindsightStore

/// Runs `body` with a directory of its own, which goes afterwards.
func withDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
  let directory = try TemporaryDirectory()
  return try withExtendedLifetime(directory) { try body(directory.path) }
}

/// Runs `body` with a store of its own, its writer and its readers, which are closed afterwards.
/// - Parameter parent: where its directory is made; `nil`: where temporary files are.
func withOpenStore<Result>(
  in parent: String? = nil, inPlaceReaderCount: Int = StoreBounds.inPlaceReaderCount,
  _ body: (SQLiteStore, any StoreWriter, StoreReaders) throws -> Result
) throws -> Result {
  let directory = try TemporaryDirectory(in: parent)
  let store = SQLiteStore(directory: directory.path)
  let writer = try store.openWriter()
  let readers = try StoreReaders(backend: store, inPlaceReaderCount: inPlaceReaderCount)
  defer {
    readers.close()
    writer.close()
  }
  return try body(store, writer, readers)
}

/// A row whose bytes follow from its origin.
func row(_ origin: UInt64, valueByteCount: Int = 20) -> StoredRow {
  let value = (0..<valueByteCount).map { UInt8(truncatingIfNeeded: UInt64($0) &* 7 &+ origin) }
  return StoredRow(
    origin: SequenceNumber(origin), key: Array("pypi:package-\(origin)".utf8)[...],
    value: value[...], coder: 2, createdAt: Timestamp(microseconds: 1_000_000 * Int64(origin)),
    expiry: Timestamp(microseconds: 1_000_000 * Int64(origin) + 60_000_000))
}

func inserts(_ origins: ClosedRange<UInt64>, valueByteCount: Int = 20) -> [RowOperation] {
  origins.map { .insert(row($0, valueByteCount: valueByteCount)) }
}

func mark(_ applied: UInt64) -> StoreMark {
  StoreMark(
    journalID: JournalID(high: 0x0123_4567_89AB_CDEF, low: 42), applied: SequenceNumber(applied))
}

/// What a read of `row(origin)` answers.
func answer(_ origin: UInt64, valueByteCount: Int = 20) -> StoreReadResult {
  .row(value: [UInt8](row(origin, valueByteCount: valueByteCount).value))
}

/// The origins of all rows.
func origins(_ writer: any StoreWriter) throws -> [UInt64] {
  var origins: [UInt64] = []
  try writer.forEachRow(detail: .lengths) { origins.append($0.origin.rawValue) }
  return origins
}

extension StoreWriter {
  func rowCount() throws(StoreError) -> Int {
    var count = 0
    try forEachRow(detail: .lengths) { _ in count += 1 }
    return count
  }
}

/// What SQLite's own check finds.
func findings(_ directory: String) throws(StoreError) -> [String] {
  try StoreInspector(directory: directory).quickCheck()
}

func path(_ directory: String, _ suffix: String = "") -> String {
  directory + "/" + StoreBounds.fileName + suffix
}

/// The error code that `body` throws; `nil` if it throws none.
func code(_ body: () throws(StoreError) -> Void) -> StoreError.Code? {
  do {
    try body()
    return nil
  } catch {
    return error.code
  }
}

func fileMode(_ path: String) throws -> mode_t {
  var status = stat()
  try #require(lstat(path, &status) == 0, "no file \(path)")
  return status.st_mode & 0o7777
}

/// Drops the file from the page cache, as far as the file system does that.
func evict(_ path: String) throws {
  let descriptor = open(path, O_RDWR)
  try #require(descriptor >= 0)
  defer { close(descriptor) }
  try #require(fsync(descriptor) == 0)
  try #require(posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0)
}
