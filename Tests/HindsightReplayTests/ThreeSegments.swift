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
    try await lab.setNoise(65, byteCount: 8_000, seed: 7)
    try await lab.close()
    #expect(lab.storage.names.last { $0.hasSuffix(".journal") } == lastOfThree)
    #expect(lab.storage.names.contains("00000003.checkpoint"))
    return lab
  }
}
