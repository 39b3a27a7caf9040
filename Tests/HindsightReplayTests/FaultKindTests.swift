import Foundation
import HindsightTesting
import Testing

@Suite("S040 the fault catalogue")
struct FaultKindTests {
  @Test("every kind has a name, a summary and a category of its own", arguments: FaultKind.allCases)
  func described(kind: FaultKind) {
    #expect(kind.rawValue.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "-" })
    #expect(!kind.summary.isEmpty && kind.summary.count < 100)
    #expect(FaultKind.allCases.filter { $0.summary == kind.summary } == [kind])
  }

  @Test("there are as many as README and Reliability say")
  func count() throws {
    #expect(FaultKind.allCases.count == 97)
    for path in ["README.md", "Sources/Hindsight/Hindsight.docc/Reliability.md"] {
      let text = try String(contentsOf: checkout.appendingPathComponent(path), encoding: .utf8)
      #expect(text.contains("97 kinds of faults"), "\(path)")
    }
  }

  @Test("the same seed gives the same faults, and another seed others")
  func deterministic() throws {
    func run(seed: UInt64) throws -> ([String], [String: [UInt8]]) {
      let injector = FaultInjector(seed: seed)
      for kind in FaultKind.all(.operation) { injector.enable(kind, oneIn: 20) }
      for kind in FaultKind.all(.crashOutcome) { injector.enable(kind, oneIn: 2) }
      let storage = SimulatedStorage(injector)
      for round in 0..<50 {
        attempt {
          let file = try storage.create("\(round)")
          try file.write(Array(repeating: UInt8(round), count: 5_000), at: 0)
          try file.sync()
          try file.write(Array(repeating: UInt8(round), count: 5_000), at: 4_000)
        }
        attempt { try storage.syncDirectory() }
      }
      storage.crash(injector)
      let files = storage.names.map { ($0, storage.bytes(of: $0) ?? []) }
      return (
        injector.counts.map { "\($0.kind) \($0.count)" },
        Dictionary(uniqueKeysWithValues: files)
      )
    }
    let first = try run(seed: 1)
    #expect(try run(seed: 1) == first)
    #expect(try run(seed: 2) != first)
    #expect(first.0.count > 10)
  }

  /// Whatever is thrown here is what was asked for.
  private func attempt(_ body: () throws -> Void) {
    do { try body() } catch {}
  }
}
