import Foundation
import Synchronization

/// What a benchmark or a demo leaves behind unless it is removed: directories, and the child at work on one.
/// A signal that ends the program removes them, and so does a benchmark that fails.
enum Cleanup {
  private struct Remains {
    var directories: [String] = []
    var child: pid_t?
    /// A signal ends the program.
    var isEnding = false
  }

  private static let remains = Mutex(Remains())
  /// The end of a pipe that the signal handler writes to.
  private nonisolated(unsafe) static var alarm: Int32 = -1

  /// Has a directory removed, too.
  static func add(directory: String) {
    remains.withLock {
      if !$0.directories.contains(directory) { $0.directories.append(directory) }
    }
  }

  /// Starts a child, and has it killed before its directory is removed.
  static func start(_ child: Process) throws {
    try child.run()
    remains.withLock { $0.child = child.processIdentifier }
  }

  static func wait(for child: Process) {
    child.waitUntilExit()
    remains.withLock { $0.child = nil }
  }

  /// Returns unless a signal is ending the program: what goes wrong then is that signal's doing, and
  /// nothing to tell.
  static func waitForEnd() {
    while remains.withLock({ $0.isEnding }) { Thread.sleep(forTimeInterval: 1) }
  }

  /// Removes what is still there; it may not be quite still.
  static func removeAll() {
    let (directories, child) = remains.withLock { ($0.directories, $0.child) }
    if let child { kill(child, SIGKILL) }
    for directory in directories {
      for _ in 0..<10 where FileManager.default.fileExists(atPath: directory) {
        do {
          try FileManager.default.removeItem(atPath: directory)
        } catch {
          // A thread of the cache has made another file in it.
          Thread.sleep(forTimeInterval: 0.01)
        }
      }
      if FileManager.default.fileExists(atPath: directory) {
        Output.diagnose("hindsight: \(directory) can't be removed")
      }
    }
  }

  /// Removes all where a signal asks for the end, and ends by that signal.
  static func removeAllOnSignal() {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let (waiting, sending) = (ends[0], ends[1])
    alarm = sending
    for number in [SIGINT, SIGTERM, SIGHUP] {
      let before = signal(number) { number in
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(Cleanup.alarm, &byte, 1)
      }
      // Whoever started us may have asked for it to be ignored (nohup).
      if unsafeBitCast(before, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self) {
        signal(number, SIG_IGN)
      }
    }
    Thread.detachNewThread {
      var byte: UInt8 = 0
      while read(waiting, &byte, 1) != 1 {}
      remains.withLock { $0.isEnding = true }
      removeAll()
      signal(Int32(byte), SIG_DFL)
      kill(getpid(), Int32(byte))
    }
  }
}
