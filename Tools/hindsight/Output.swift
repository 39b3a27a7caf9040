import Foundation
import HindsightTesting

/// What goes to standard output and standard error.
enum Output {
  /// Writes a line to standard error. Whatever it is made of, it is harmless to a terminal.
  static func diagnose(_ text: String) {
    FileHandle.standardError.write(Data((text.shown(keeping: ["\n", "\t"]) + "\n").utf8))
  }

  /// Writes a line to standard output, at once. Whatever it is made of, it is harmless to a
  /// terminal; JSON was made so before (`shownAsJSON`).
  static func line(_ text: String) {
    FileHandle.standardOutput.write(Data((text.shown(keeping: ["\n", "\t"]) + "\n").utf8))
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
    FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8))
  }

  func end() {
    if isShown { FileHandle.standardError.write(Data("\r\u{1B}[K".utf8)) }
  }
}
