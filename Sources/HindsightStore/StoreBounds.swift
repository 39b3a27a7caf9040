import HindsightCore

/// Every bound and every name that the store tier fixes.
public enum StoreBounds {
  /// The database's name in the cache's directory.
  public static let fileName = "store.sqlite"
  /// What SQLite appends to that name for the files beside it.
  static let sidecarSuffixes = ["-wal", "-shm", "-journal"]
  /// `PRAGMA application_id`: "HDST".
  static let applicationID: Int64 = 0x4844_5354
  /// `PRAGMA user_version`: the version of the schema.
  static let schemaVersion: Int64 = 1

  /// The highest sequence number that a row or the mark may have: what follows must still fit
  /// SQLite's 63 bits and the journal's 62.
  static let sequenceMax: UInt64 = 1 << 61
  /// The longest value of any column, as SQLite enforces it: ours are shorter. A hostile database of
  /// a few pages can otherwise claim a gigabyte.
  static let columnByteCountMax = Bounds.valueByteCountMax + (64 << 10)

  /// Bytes a database page has.
  static let pageByteCount = 4_096
  /// Bytes a page takes in the write-ahead log: its header of 24 bytes, then the page.
  static let walFrameByteCount = UInt64(24 + pageByteCount)
  /// Bytes of SQLite's own page cache, for each connection. The writer and the readers of one
  /// `StoreReaders` make four connections: 256 MiB at most, and never more than the file has.
  public static let cacheByteCountMax = 64 << 20
  /// A reset log's file is cut down to this.
  static let walFileByteCountMax = 64 << 20

  /// How long a call that may block waits for another process's lock.
  static let busyTimeoutMilliseconds: Int32 = 5_000
  /// Connections that answer reads in place: one for each thread that reads at the same time;
  /// what finds none idle goes to the reader thread.
  public static let inPlaceReaderCount = 2
  /// Rows that one page of a scan holds at most.
  public static let rowsPerPage = 1_000
  /// A page of a scan ends after the row with which its values exceed this.
  static let valueByteCountPerPage = 4 << 20
  /// Findings that a check reports at most.
  static let findingCountMax = 20
  /// Quarantined databases that may lie in one directory.
  static let quarantineCountMax = 10_000
}
