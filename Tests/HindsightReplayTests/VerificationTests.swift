import HindsightReplay
import Testing

@Suite("S040 what a verification tells")
struct VerificationTests {
  @Test("the checks of INV016 and INV017 are those that were made")
  func checks() async throws {
    let lab = Lab(memory: 2)
    try await lab.open()  // a limit
    try await lab.set("k:a", [1])  // a limit
    try await lab.set("k:a", [2])  // a limit, and what it replaces
    try await lab.set("k:b", [3])  // a limit
    try await lab.set("k:c", [4])  // a limit, and what is evicted
    try await lab.clear("")  // what it removes
    try await lab.close()
    let found = lab.verify(lab.storage)
    #expect(found.isSound && found.limitChecks == 5 && found.ttlChecks == 3, "\(found)")
  }
}
