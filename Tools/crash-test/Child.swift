import Foundation

/// A process that is driven through its pipes by one thread, and killed.
final class Child {
  enum Ending: Equatable {
    case exited(Int32)
    case killed(Int32)
  }

  let pid: pid_t
  /// What it said on standard error, up to 64 KiB.
  private(set) var errors = ""
  private var input: Int32
  private let output: Int32
  private let errorOutput: Int32
  private var unsent: [UInt8] = []
  private var pending: [UInt8] = []
  private var isOutputAtEnd = false
  private var isErrorAtEnd = false

  /// - Throws: `CrashTestError` where it can't be started.
  init(_ executable: String, _ arguments: [String], environment: [String: String]) throws {
    let (toChild, fromChild, errorsFromChild) = (try PipeEnds(), try PipeEnds(), try PipeEnds())
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, toChild.readEnd, 0)
    posix_spawn_file_actions_adddup2(&actions, fromChild.writeEnd, 1)
    posix_spawn_file_actions_adddup2(&actions, errorsFromChild.writeEnd, 2)
    let variables = ProcessInfo.processInfo.environment
      .merging(environment) { $1 }.map { "\($0.key)=\($0.value)" }
    var argv = ([executable] + arguments).map { strdup($0) } + [nil]
    var envp = variables.map { strdup($0) } + [nil]
    defer { for text in argv + envp { free(text) } }
    var pid = pid_t()
    let code = posix_spawn(&pid, executable, &actions, nil, &argv, &envp)
    for end in [toChild.readEnd, fromChild.writeEnd, errorsFromChild.writeEnd] { close(end) }
    (input, output, errorOutput) = (toChild.writeEnd, fromChild.readEnd, errorsFromChild.readEnd)
    guard code == 0 else {
      for end in [input, output, errorOutput] { close(end) }
      throw CrashTestError("\(executable) can't be started: \(String(cString: strerror(code)))")
    }
    self.pid = pid
    for end in [input, output, errorOutput] {
      _ = fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK)
    }
  }

  deinit { for end in [input, output, errorOutput] where end >= 0 { close(end) } }

  func send(_ line: String) {
    guard input >= 0 else { return }
    unsent.append(contentsOf: line.utf8)
    unsent.append(UInt8(ascii: "\n"))
  }

  func closeInput() {
    guard input >= 0 else { return }
    close(input)
    input = -1
  }

  func kill() { Glibc.kill(pid, SIGKILL) }

  /// Moves bytes in all directions, waiting at most so long for something to move.
  /// - Returns: the lines that arrived; `nil` once the child has closed its output.
  func pump(milliseconds: Int32) -> [ArraySlice<UInt8>]? {
    if isOutputAtEnd, isErrorAtEnd { return nil }
    var polls = [
      pollfd(fd: isOutputAtEnd ? -1 : output, events: Int16(POLLIN), revents: 0),
      pollfd(fd: isErrorAtEnd ? -1 : errorOutput, events: Int16(POLLIN), revents: 0),
      pollfd(fd: unsent.isEmpty ? -1 : input, events: Int16(POLLOUT), revents: 0),
    ]
    guard poll(&polls, nfds_t(polls.count), max(0, milliseconds)) > 0 else { return [] }
    if polls[2].revents != 0 { pumpInput() }
    if polls[1].revents != 0 {
      let (bytes, isAtEnd) = Self.read(errorOutput)
      isErrorAtEnd = isAtEnd
      if errors.utf8.count < 64 << 10 { errors += String(decoding: bytes, as: UTF8.self) }
    }
    guard polls[0].revents != 0 else { return [] }
    let (bytes, isAtEnd) = Self.read(output)
    isOutputAtEnd = isAtEnd
    return lines(bytes)
  }

  /// Waits for its end, which must be near.
  func wait() -> Ending {
    while pump(milliseconds: 1_000) != nil {}
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    let signal = status & 0x7F
    return signal == 0 ? .exited((status >> 8) & 0xFF) : .killed(signal)
  }

  private func pumpInput() {
    let count = unsent.withUnsafeBytes { write(input, $0.baseAddress, min($0.count, 32 << 10)) }
    if count > 0 { unsent.removeFirst(count) }
    if count < 0, errno == EPIPE {
      unsent = []
      closeInput()
    }
  }

  private func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
    pending.append(contentsOf: bytes)
    var lines = pending.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    pending = Array(lines.removeLast())
    return lines
  }

  private static func read(_ descriptor: Int32) -> (bytes: [UInt8], isAtEnd: Bool) {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    let count = Glibc.read(descriptor, &buffer, buffer.count)
    if count > 0 { return (Array(buffer[..<count]), false) }
    return ([], count == 0 || (errno != EAGAIN && errno != EINTR))
  }

  private struct PipeEnds {
    let readEnd: Int32
    let writeEnd: Int32

    init() throws {
      var ends: [Int32] = [0, 0]
      guard pipe(&ends) == 0 else {
        throw CrashTestError("no pipe: \(String(cString: strerror(errno)))")
      }
      // One thread starts all processes: none can inherit them in between.
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      (readEnd, writeEnd) = (ends[0], ends[1])
    }
  }
}

/// Why the test itself can't go on.
struct CrashTestError: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}
