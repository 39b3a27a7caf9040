import CHindsightSQLite
import Glibc
import HindsightThreads

/// SQLite's calls that read and write files, with ours before them.
///
/// Its VFS has an entry for this (`sqlite3_vfs.xSetSystemCall`), for the whole process. Reads may have to refuse
/// to block (`NonblockingReads`). And background work stands back between two of them where it is asked to: moving
/// the log into the database, or committing a large transaction, is thousands of them within one call of SQLite's.
/// Other users of SQLite in the process see no difference.
enum SystemCalls {
  private typealias Pread = @convention(c) (CInt, UnsafeMutableRawPointer?, Int, off_t) -> Int
  private typealias Pwrite = @convention(c) (CInt, UnsafeRawPointer?, Int, off_t) -> Int

  /// Replaces them, once for the process. To be called before connections are opened.
  static func install() { _ = (pread, pwrite) }

  /// Whether reads are replaced; they aren't where SQLite's default VFS is another one than usual.
  static var replacesReads: Bool { pread != nil }

  // What SQLite called before; `nil` where it can't be replaced. `Pread` and `Pwrite` are the types with which SQLite
  // calls what it knows by these names (`osPread`, `osPwrite` and so on in os_unix.c).

  private static let pread: Pread? = {
    let ours: Pread = { descriptor, buffer, count, offset in
      if let got = NonblockingReads.read(descriptor, buffer, count, offset) { return got }
      StandingBack.ifAskedFor()
      guard let pread else { preconditionFailure("installed without the original") }
      return pread(descriptor, buffer, count, offset)
    }
    let original = replace(
      ["pread64", "pread"], by: unsafeBitCast(ours, to: sqlite3_syscall_ptr.self))
    return original.map { unsafeBitCast($0, to: Pread.self) }
  }()

  private static let pwrite: Pwrite? = {
    let ours: Pwrite = { descriptor, bytes, count, offset in
      StandingBack.ifAskedFor()
      guard let pwrite else { preconditionFailure("installed without the original") }
      return pwrite(descriptor, bytes, count, offset)
    }
    let original = replace(
      ["pwrite64", "pwrite"], by: unsafeBitCast(ours, to: sqlite3_syscall_ptr.self))
    return original.map { unsafeBitCast($0, to: Pwrite.self) }
  }()

  /// Replaces the first of the calls that this SQLite has.
  /// - Returns: what stood there.
  private static func replace(
    _ names: [String], by ours: sqlite3_syscall_ptr
  ) -> sqlite3_syscall_ptr? {
    guard let vfs = sqlite3_vfs_find(nil), vfs.pointee.iVersion >= 3,
      let get = vfs.pointee.xGetSystemCall, let set = vfs.pointee.xSetSystemCall
    else { return nil }
    for name in names {
      guard let original = get(vfs, name) else { continue }
      return set(vfs, name, ours) == SQLITE_OK ? original : nil
    }
    return nil
  }
}
