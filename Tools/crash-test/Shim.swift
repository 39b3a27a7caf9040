import Foundation

/// The LD_PRELOAD library, compiled where there is a C compiler, and what it logs.
final class Shim {
  /// The library, or why there is none.
  let library: Result<String, CrashTestError>
  private let scratch: String
  private let log: String
  private let saved: String

  init(scratch: String) {
    self.scratch = scratch
    log = scratch + "/shim.log"
    saved = scratch + "/saved"
    library = Self.compile(to: scratch + "/powerloss.so")
  }

  /// The environment of a process whose directory is watched. Whatever was logged before is
  /// forgotten, as if all of it were synced.
  func environment(watching directory: String, interrupt permille: Int, seed: UInt64) throws
    -> [String: String]
  {
    let files = FileManager.default
    for path in [log, saved] where files.fileExists(atPath: path) {
      try files.removeItem(atPath: path)
    }
    try files.createDirectory(atPath: saved, withIntermediateDirectories: true)
    guard let resolved = realpath(scratch, nil) else {
      throw CrashTestError("\(scratch) can't be resolved")
    }
    defer { free(resolved) }
    let inside = directory.dropFirst(scratch.count)
    return [
      "LD_PRELOAD": try library.get(), "CRASH_SHIM_LOG": log, "CRASH_SHIM_SAVED": saved,
      "CRASH_SHIM_DIRECTORY": String(cString: resolved) + inside,
      "CRASH_SHIM_INTERRUPT": "\(permille)", "CRASH_SHIM_SEED": "\(seed)",
    ]
  }

  /// How many calls were interrupted or cut short.
  func interruptions() throws -> Int {
    // It may have been killed before it was loaded.
    guard FileManager.default.fileExists(atPath: saved + "/interruptions") else { return 0 }
    let bytes = try Data(contentsOf: URL(fileURLWithPath: saved + "/interruptions"))
    return bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  func rollBack() throws -> RollBack { try RollBack(log: log, saved: saved) }

  private static func compile(to library: String) -> Result<String, CrashTestError> {
    let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("powerloss.c").path
    guard FileManager.default.fileExists(atPath: source) else {
      return .failure(CrashTestError("\(source) is not here"))
    }
    let search = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin"
    let compilers = ["cc", "clang", "gcc"].flatMap { name in
      search.split(separator: ":").map { "\($0)/\(name)" }
    }
    for compiler in compilers where FileManager.default.isExecutableFile(atPath: compiler) {
      let arguments = ["-Wall", "-shared", "-fPIC", "-O1", "-o", library, source]
      do {
        let child = try Child(compiler, arguments, environment: [:])
        if child.wait() == .exited(0) { return .success(library) }
        return .failure(CrashTestError("\(compiler) fails: \(child.errors.prefix(500))"))
      } catch {
        return .failure(CrashTestError("\(error)"))
      }
    }
    return .failure(CrashTestError("there is no C compiler (cc, clang or gcc)"))
  }
}
