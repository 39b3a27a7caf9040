import HindsightTesting
import Testing

@testable import HindsightJournal

@Suite("S040 files that are kept aside")
struct QuarantineTests {
  @Test("what is kept aside at the same place later gets another name; the same is kept once")
  func names() throws {
    let storage = SimulatedStorage()
    func keep(_ bytes: [UInt8]) throws -> String {
      storage.setBytes([9, 9] + bytes + [0, 0], of: "00000001.journal")
      let file = try storage.open("00000001.journal", forWriting: false)
      let copy = try Quarantine.copy(file, of: "00000001.journal", from: 2, storage)
      #expect(copy.byteCount == UInt64(bytes.count))
      #expect(storage.bytes(of: copy.name) == bytes)
      return copy.name
    }
    let first = try keep([1, 2])
    let second = try keep([3])
    let third = try keep([])
    #expect(first == "00000001.journal.2.quarantine")
    #expect(second == "00000001.journal.2.2.quarantine")
    #expect(third == "00000001.journal.2.3.quarantine")
    #expect(try keep([3]) == second)
    #expect(storage.bytes(of: first) == [1, 2] && storage.bytes(of: third) == [])
    #expect(storage.names.count == 4)
    #expect(Quarantine.freeName(for: "1", ["1.0.quarantine"]) == "1.0.2.quarantine")
  }
}
