import HindsightCore
import HindsightJournal
import HindsightStore
import Testing

@testable import Hindsight

@Suite("S041 rows that are read on the reader's thread")
struct RowRequestsTests {
  @Test("what is asked after the reader's thread has ended is refused, not left waiting")
  func afterTheEnd() async throws {
    let requests = RowRequests()
    let answer = await withUnsafeContinuation { continuation in
      let request = RowRequests.Request(origin: SequenceNumber(1), continuation: continuation)
      #expect(requests.take(closes: false).isEmpty)
      #expect(requests.append(request))
      #expect(requests.take(closes: true).count == 1)
      #expect(!requests.append(request))
      #expect(requests.take(closes: true).isEmpty)
      continuation.resume(returning: .success(.missing))
    }
    #expect(try answer.get() == .missing)
  }

  @Test("a file that isn't there any more is no damage of the store, what can't be decoded is")
  func droppedFile() {
    let name = "00000001.journal"
    let dropped = DamageError.storage(StorageError("open", name, .noSuchFileOrDirectory))
    #expect(dropped.asStoreError(.read).remedy != .rebuild)
    #expect(DamageError.structure(file: name, "it ends").asStoreError(.read).remedy == .rebuild)
  }
}
