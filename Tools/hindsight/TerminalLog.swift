import Logging

/// Warnings and errors on standard error, harmless to a terminal: what a store or a journal of
/// somebody else's says goes into messages.
struct TerminalLog: LogHandler {
  let label: String
  var logLevel = Logger.Level.warning
  var metadata: Logger.Metadata = [:]

  init(label: String) { self.label = label }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let all = metadata.merging(event.metadata ?? [:]) { $1 }
    let details = all.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
    Output.diagnose(Output.printable("\(event.level) \(label): \(event.message)\(details)"))
  }
}
