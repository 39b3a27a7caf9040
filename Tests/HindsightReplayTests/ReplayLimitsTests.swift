import Foundation
import Hindsight
import HindsightJournal
import HindsightTesting
import Testing

@testable import HindsightReplay

/// A stranger's journal can't make its reader take any amount of memory or time.
@Suite("S040 limits of a replay")
struct ReplayLimitsTests {
  /// Entries and clears by prefix, closed with a checkpoint.
  private func made() async throws -> SimulatedStorage {
    let lab = Lab(memory: 100)
    try await lab.open()
    for number in 0..<40 { try await lab.set("k:\(number)", [1]) }
    for _ in 0..<3 { try await lab.clear("nothing:") }
    try await lab.close()
    return lab.storage
  }

  private func limits(index: Int = .max, cleared: Int = .max) -> ReplayLimits {
    var limits = ReplayLimits.none
    (limits.indexByteCountMax, limits.clearedEntryCountMax) = (index, cleared)
    return limits
  }

  @Test("a verification ends at its limits and says so; within them it doesn't")
  func verification() async throws {
    let storage = try await made()
    for (limits, word) in [(limits(index: 3_000), "index"), (limits(cleared: 119), "clears")] {
      let result = Verifier(storage, limits: limits) { nil }.run()
      #expect(result.problems.count { $0.message.contains(word) } >= 1, "\(result.problems)")
      #expect(result.problems.allSatisfy { $0.message.contains("limit for a journal") })
      #expect(result.lastSequence < 45)
    }
    #expect(Verifier(storage, limits: limits(cleared: 120)) { nil }.run().isSound)
    #expect(Verifier(storage) { nil }.run().isSound)
  }

  @Test("a stream of events ends at its limits, with the events up to there")
  func events() async throws {
    let storage = try await made()
    for limits in [limits(index: 3_000), limits(cleared: 80)] {
      var count = 0
      #expect(throws: DamageError.self) {
        _ = try EventStream(storage, limits: limits).replay { _ in count += 1 }
      }
      #expect(count > 0)
    }
  }

  @Test("a hole behind a torn tail isn't read, however long it is", .timeLimit(.minutes(1)))
  func hole() throws {
    let journal = try CraftedJournal()
    try journal.append([journal.opened(memory: 10), journal.set("k:a")])
    let bytes = try #require(try journal.close().bytes(of: "00000001.journal"))
    let directory = try TemporaryDirectory()
    let path = directory.path + "/00000001.journal"
    try Data(bytes + [1]).write(to: URL(fileURLWithPath: path))
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try file.truncate(atOffset: 256 << 30)
    try file.close()
    let found = try Verifier(directory: directory.path).run()
    #expect(found.lastSequence == 2 && found.problems.count == 1, "\(found.problems)")
  }

  @Test("of many problems the first thousand are listed, the others counted")
  func problems() {
    var result = Verification()
    for number in 0..<1_234 {
      result.note(.init(file: "store.sqlite", offset: nil, message: "\(number)"))
    }
    #expect(result.problems.count == 1_000 && result.problems.last?.message == "999")
    #expect(result.omittedProblems == 234 && !result.isSound)
  }
}
