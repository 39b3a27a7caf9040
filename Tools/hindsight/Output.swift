import Foundation
import HindsightTesting

/// Standard input can't be read, or standard output written: exit code 1.
enum StreamFailure: Error, CustomStringConvertible {
  case input(errorNumber: Int32)
  case output(errorNumber: Int32)

  var description: String {
    switch self {
    case .input(let number): "standard input can't be read: \(systemMessage(number))"
    case .output(let number): "standard output can't be written: \(systemMessage(number))"
    }
  }
}

/// What the system says to an error's number.
func systemMessage(_ errorNumber: Int32) -> String { String(cString: strerror(errorNumber)) }

/// What goes to standard output and standard error.
enum Output {
  /// Puts something in the place of each of the standard descriptors that is closed, so that no file
  /// of a cache gets its number, and with it what is meant for people. Reading and writing them fails
  /// as it would have.
  static func occupyClosedDescriptors() {
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
      _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  /// Writes a line to standard error. Whatever it is made of, it is harmless to a terminal.
  static func diagnose(_ text: String) {
    show(text.shown(keeping: ["\n", "\t"]) + "\n")
  }

  /// Writes text to standard error as it is. Where that fails, there is nobody left to tell.
  fileprivate static func show(_ text: String) { _ = send(text, to: STDERR_FILENO) }

  /// Writes a line to standard output, at once. Whatever it is made of, it is harmless to a
  /// terminal; JSON was made so before (`shownAsJSON`).
  static func line(_ text: String) throws(StreamFailure) {
    try write(text.shown(keeping: ["\n", "\t"]) + "\n")
  }

  /// Writes text to standard output, at once and as it is.
  static func write(_ text: String) throws(StreamFailure) {
    let errorNumber = send(text, to: STDOUT_FILENO)
    guard errorNumber == 0 else { throw StreamFailure.output(errorNumber: errorNumber) }
  }

  /// - Returns: 0, or the error's number.
  private static func send(_ text: String, to descriptor: Int32) -> Int32 {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno == EAGAIN {
        // Whoever shares it with us made it non-blocking.
        var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = poll(&wanted, 1, -1)
      } else if errno != EINTR {
        return errno
      }
    }
    return 0
  }

  /// Text from a cache as part of a line for people: it can't end the line either.
  static func printable(_ text: some StringProtocol) -> String { text.shown() }

  static func printable(_ bytes: some Collection<UInt8>) -> String {
    printable(String(decoding: bytes, as: UTF8.self))
  }

  /// An `Encodable` as one line of JSON with sorted keys.
  static func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self).shownAsJSON
  }
}

/// A progress bar on standard error: only on a terminal, and only once a job takes over a second.
final class Progress {
  private let title: String
  private let total: Int?
  private let began = ContinuousClock.now
  private var lastShown = ContinuousClock.now
  private var isShown = false
  private let isTerminal = isatty(2) == 1

  init(_ title: String, total: Int? = nil) {
    self.title = title
    self.total = total
  }

  func update(_ done: Int) {
    let now = ContinuousClock.now
    guard isTerminal, now - began > .seconds(1), now - lastShown > .milliseconds(100) else {
      return
    }
    lastShown = now
    isShown = true
    let text: String
    if let total, total > 0 {
      let share = min(1, Double(done) / Double(total))
      let bar = String(repeating: "█", count: Int(share * 30))
      text =
        "\(title) \(bar.padding(toLength: 30, withPad: "░", startingAt: 0)) \(Int(share * 100))%"
    } else {
      text = "\(title) \(done)"
    }
    Output.show("\r\u{1B}[K\(text)")
  }

  func end() {
    if isShown { Output.show("\r\u{1B}[K") }
  }
}
