import Logging
import Synchronization

/// What a cache says in its log.
final class CapturedLog: Sendable {
  private let lines = Mutex<[(level: Logger.Level, text: String)]>([])

  var logger: Logger { Logger(label: "captured") { _ in Handler(log: self) } }

  /// The messages of a level so far, each with its metadata.
  func texts(_ level: Logger.Level) -> [String] {
    lines.withLock { lines in lines.filter { $0.level == level }.map(\.text) }
  }

  private struct Handler: LogHandler {
    let log: CapturedLog
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.debug

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      let metadata = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted()
      let text = ([event.message.description] + metadata).joined(separator: " ")
      log.lines.withLock { $0.append((event.level, text)) }
    }
  }
}
