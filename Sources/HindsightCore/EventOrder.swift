/// How far events have come: what holds of the next one whatever the entries are. Trivial, so that asking it of
/// every event copies nothing that is counted.
public struct EventOrder: Sendable {
  public var sequence: SequenceNumber
  public var at: Timestamp
  var hasOpened = false
  var isClosed = false

  /// - Parameters:
  ///   - sequence: of the last event.
  ///   - at: when that happened.
  public init(sequence: SequenceNumber, at: Timestamp) {
    (self.sequence, self.at) = (sequence, at)
  }

  /// Checks that an event may come next.
  /// - Throws: `StateError.sequenceBroken`, `.timeDecreased`, or, where nothing but an opening may follow
  ///   `closed`, `.notOpen`.
  public func check(_ record: Record) throws(StateError) {
    var expected = sequence.next
    var needsOpen = true
    switch record.event {
    case .gap(let gap) where gap.last == sequence && gap.first <= gap.last:
      // Told afterwards: the state has gone through what the journal lacks.
      needsOpen = false
    case .gap(let gap):
      guard gap.first == expected, gap.last >= gap.first else {
        throw .sequenceBroken(expected: expected, found: gap.first)
      }
      expected = gap.last.next
      needsOpen = false
    case .opened, .recovered: needsOpen = false
    case .expired, .evicted, .touched: needsOpen = !hasOpened
    default: break
    }
    try check(record.sequence, record.at, expected: expected, needsOpen: needsOpen)
  }

  /// The same of an event that leaves no numbers out.
  @inline(__always)
  public func check(
    _ sequence: SequenceNumber, _ at: Timestamp, needsOpen: Bool
  ) throws(StateError) {
    try check(sequence, at, expected: self.sequence.next, needsOpen: needsOpen)
  }

  @inline(__always)
  private func check(
    _ sequence: SequenceNumber, _ at: Timestamp, expected: SequenceNumber, needsOpen: Bool
  ) throws(StateError) {
    guard sequence == expected else {
      throw .sequenceBroken(expected: expected, found: sequence)
    }
    guard at >= self.at else { throw .timeDecreased(last: self.at, found: at) }
    if needsOpen, isClosed { throw .notOpen }
  }
}
