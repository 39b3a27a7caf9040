import HindsightTesting
import Testing

@testable import Hindsight
@testable import HindsightCore

@Suite("S041 why keys are gone")
struct MissMemoryTests {
  @Test("the last 10,000 removals are remembered, and no more, whatever the hashes are")
  func besideModel() throws {
    var random = SplitMix64(seed: 41)
    // Few homes in the table, so that many of them share a run, and more keys than are remembered.
    let hashes = (0..<15_000).map { _ in
      random.next() & ~0xFFFF | UInt64.random(in: 0..<4_096, using: &random) << 4
    }
    let endings = Ending.allCases.filter { $0 != .replaced }
    var memory = MissMemory()
    var removals: [(key: Int, ending: Ending)] = []
    var latest = [Int](repeating: -1, count: hashes.count)
    func check(_ key: Int) throws {
      let at = latest[key]
      let isKnown = at >= 0 && at >= removals.count - MissMemory.keyCountMax
      let expected = isKnown ? removals[at].ending.rawValue : "unknown"
      try #require(memory.reason(hashes[key]).rawValue == expected, "after \(removals.count)")
    }
    for number in 0..<40_000 {
      let key = Int.random(in: 0..<hashes.count, using: &random)
      let ending = endings[Int.random(in: 0..<endings.count, using: &random)]
      memory.remember(hashes[key], .replaced)  // it is there again: nothing to be remembered
      memory.remember(hashes[key], ending)
      latest[key] = removals.count
      removals.append((key, ending))
      if number % 8 == 0 { try check(Int.random(in: 0..<hashes.count, using: &random)) }
      if number >= MissMemory.keyCountMax {
        try check(removals[number - MissMemory.keyCountMax].key)
      }
    }
    for key in hashes.indices { try check(key) }
    let remembered = Set(removals.suffix(MissMemory.keyCountMax).map(\.key))
    #expect(memory.keyCount() == remembered.count)
  }
}
