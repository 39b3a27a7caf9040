import Foundation
import HindsightTesting
import Testing

/// A short run of what Tools/fuzz does for hours: real inputs, mutated; nothing traps, and every
/// property holds.
@Suite("S040 fuzzing")
struct FuzzTests {
  private static let directory = checkout.appendingPathComponent("Fixtures/fuzz")

  private static func corpus(_ target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
    let place = directory.appendingPathComponent(target.rawValue)
    return try FileManager.default.contentsOfDirectory(atPath: place.path).sorted().map {
      ($0, [UInt8](try Data(contentsOf: place.appendingPathComponent($0))))
    }
  }

  @Test("every file of the corpus", arguments: FuzzTarget.allCases)
  func corpus(_ target: FuzzTarget) throws {
    let corpus = try Self.corpus(target)
    #expect(!corpus.isEmpty)
    for (name, bytes) in corpus { #expect(target.run(bytes) == nil, "\(name)") }
  }

  @Test(
    "mutations of the corpus, the same ones and others each time", arguments: FuzzTarget.allCases,
    [303, UInt64.random(in: 0 ... .max)])
  func mutations(_ target: FuzzTarget, seed: UInt64) throws {
    let corpus = try Self.corpus(target).map(\.bytes)
    var mutator = ByteMutator(seed: seed)
    let rounds = [.segment, .checkpoint, .directory].contains(target) ? 60 : 400
    for round in 0..<rounds {
      let bytes = mutator.mutate(
        corpus[round % corpus.count], with: corpus[(round / 7) % corpus.count])
      let broken = target.run(bytes)
      #expect(broken == nil, "seed \(seed), round \(round): \(Data(bytes).base64EncodedString())")
    }
  }
}
