import Testing

/// Waits until something that happens in the background has happened.
///
/// It counts looks, not time: where other tests keep every thread busy, minutes pass between two
/// of them. Alone it gives up after a minute.
func eventually(
  _ what: String = "it", _ condition: () async throws -> Bool,
  sourceLocation: SourceLocation = #_sourceLocation
) async throws {
  for _ in 0..<12_000 {
    if try await condition() { return }
    try await Task.sleep(for: .milliseconds(5))
  }
  try #require(Bool(false), "never: \(what)", sourceLocation: sourceLocation)
}
