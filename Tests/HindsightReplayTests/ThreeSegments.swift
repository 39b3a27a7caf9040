import Hindsight
import HindsightTesting
import Testing

extension Lab {
  /// The last segment of `ofThreeSegments`.
  static let lastOfThree = "00000003.journal"

  /// A cache of three segments, closed with a checkpoint of the end inside the last one.
  static func ofThreeSegments() async throws -> Lab {
    let lab = Lab(memory: 100) { $0.segmentByteCount = 200 << 10 }
    try await lab.open()
    var random = SplitMix64(seed: 7)
    for number in 0..<65 {
      let noise = (0..<8_000).map { _ in UInt8.random(in: 0...255, using: &random) }
      try await lab.set("k:\(number)", noise)
    }
    try await lab.close()
    #expect(lab.storage.names.last { $0.hasSuffix(".journal") } == lastOfThree)
    #expect(lab.storage.names.contains("00000003.checkpoint"))
    return lab
  }
}
