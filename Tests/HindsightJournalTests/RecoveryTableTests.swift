import HindsightCore
import Testing

@testable import HindsightJournal

/// The recovery table, each row.
@Suite("S040 the recovery table")
struct RecoveryTableTests {
  private func verdict(_ change: (inout RecoveryObservation) -> Void) -> RecoveryVerdict {
    var seen = RecoveryObservation(last: SequenceNumber(10), tail: .end, isClosed: false)
    change(&seen)
    return RecoveryVerdict(seen)
  }

  @Test("nothing is damaged: clean where it was closed, else unclean")
  func whole() {
    #expect(verdict { $0.isClosed = true } == .clean)
    #expect(verdict { _ in } == .unclean)
    #expect(
      verdict {
        $0.newestCheckpoint = SequenceNumber(10)
        $0.storeApplied = SequenceNumber(10)
      } == .unclean)
  }

  @Test("a bad tail that nothing proves to have been durable is torn, also behind `closed`")
  func torn() {
    #expect(verdict { $0.tail = .bad } == .tornTail)
    #expect(
      verdict {
        $0.tail = .bad
        $0.isClosed = true
      } == .tornTail)
  }

  @Test("evidence of more than is there is corruption, whatever the tail looks like")
  func corrupt() {
    for tail in [RecoveryObservation.Tail.end, .bad] {
      for isClosed in [false, true] {
        func seen(_ change: (inout RecoveryObservation) -> Void) -> RecoveryVerdict {
          verdict {
            $0.tail = tail
            $0.isClosed = isClosed
            change(&$0)
          }
        }
        #expect(seen { $0.newestCheckpoint = SequenceNumber(11) } == .corrupt(.checkpoint))
        #expect(seen { $0.storeApplied = SequenceNumber(11) } == .corrupt(.store))
      }
    }
    #expect(
      verdict {
        $0.tail = .bad
        $0.laterFrameProves = true
      } == .corrupt(.laterFrame))
  }
}
