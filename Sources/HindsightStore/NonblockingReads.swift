import CHindsightSQLite
import Glibc

// Why this exists: a store hit should be answered where it was asked, but the threads that ask
// are few and must not wait for the disk. SQLite knows no reads that refuse to block.
// Linux does: preadv2(2) with RWF_NOWAIT serves what is in the page cache and refuses the rest.
// So SQLite's one read call is replaced by ours (`SystemCalls`). Ours asks a thread-specific flag: outside
// of `NonblockingReads.run` it passes every call straight on, so other users of SQLite in the
// process see no difference. A refused read fails SQLite's step, and the reader thread repeats it.
//
// What is exempt: the -shm file (mapped, and in memory while in use) and locks (never waited for).
// A second descriptor of our own is no alternative: closing it would drop SQLite's POSIX locks.

/// Runs SQLite calls on this thread so that none of them waits for the disk.
enum NonblockingReads {
  /// Runs `body` with reads that refuse to block.
  ///
  /// - Returns: what `body` returns, and whether a read was refused: `body` then failed.
  @inline(__always)
  static func run<Result>(_ body: () -> Result) -> (result: Result, isRefused: Bool) {
    // The key is the process's own and the values are no addresses: neither call can fail.
    pthread_setspecific(key, Flag.refuse)
    let result = body()
    let isRefused = pthread_getspecific(key) != Flag.refuse
    pthread_setspecific(key, nil)
    return (result, isRefused)
  }

  /// Whether reads in place are possible at all in this process.
  static var isSupported: Bool { SystemCalls.replacesReads && preadv2 != nil }

  /// Whether the file system of `directory` knows such reads, as tmpfs and overlayfs of some kernels don't:
  /// there, each would be an attempt in vain. Asked of a file without a name, since closing a descriptor of the
  /// database's would drop SQLite's locks; where none can be made, this says yes.
  static func areSupported(in directory: String) -> Bool {
    guard isSupported, let preadv2 else { return false }
    let unnamed: CInt = 0o20_000_000 | O_DIRECTORY  // O_TMPFILE, which the importer doesn't see
    let descriptor = open(directory, unnamed | O_RDWR | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return true }
    defer { close(descriptor) }
    var byte: UInt8 = 0
    guard pwrite(descriptor, &byte, 1, 0) == 1 else { return true }
    return withUnsafeMutablePointer(to: &byte) { byte in
      var part = iovec(iov_base: byte, iov_len: 1)
      return preadv2(descriptor, &part, 1, 0, refuseToWait) >= 0 || errno != EOPNOTSUPP
    }
  }

  // MARK: Reading

  private typealias Preadv2 =
    @convention(c) (CInt, UnsafePointer<iovec>?, CInt, off_t, CInt) -> Int

  /// Values of the thread-specific flag; none of them is followed as an address.
  private enum Flag {
    static var refuse: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 1) }
    static var refused: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 2) }
  }

  /// linux/fs.h; the importer doesn't see it.
  private static let refuseToWait: CInt = 0x8

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let code = pthread_key_create(&key, nil)
    precondition(code == 0, "no thread-specific key is left")
    return key
  }()

  /// glibc declares it only under _GNU_SOURCE, which the importer doesn't set. `Preadv2` is the type of preadv2(2).
  private static let preadv2: Preadv2? = dlsym(nil, "preadv2").map {
    unsafeBitCast($0, to: Preadv2.self)
  }

  /// Reads as `run` has it; `nil` outside of that.
  /// - Returns: as pread(2).
  @inline(__always)
  static func read(
    _ descriptor: CInt, _ buffer: UnsafeMutableRawPointer?, _ count: Int, _ offset: off_t
  ) -> Int? {
    guard pthread_getspecific(key) != nil else { return nil }
    var part = iovec(iov_base: buffer, iov_len: count)
    let got = preadv2?(descriptor, &part, 1, offset, refuseToWait) ?? -1
    // 0 means the end of the file, but some kernels also say it for what is not cached. EOPNOTSUPP
    // (a file system that can't) and every other error: let the reader thread find out.
    if got > 0 { return got }
    if got < 0 && errno == EINTR { return got }
    pthread_setspecific(key, Flag.refused)
    errno = EAGAIN
    return -1
  }
}
