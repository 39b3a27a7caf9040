/// Changes bytes in the ways that break parsers: the same for the same seed.
public struct ByteMutator: Sendable {
  private var random: SplitMix64
  /// Numbers at the edges of what fits, as varints and as fixed words.
  private static let edges: [[UInt8]] = [
    [0], [1], [0x7F], [0x80, 0x01], [0xFF], [0xFF, 0xFF, 0xFF, 0xFF],
    [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
    [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
    [0, 0, 0, 0, 0, 0, 0, 0x40], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
    Array("[[[[".utf8), Array("\u{9B}\u{202E}".utf8), Array("1e999".utf8),
  ]

  public init(seed: UInt64) { random = SplitMix64(seed: seed) }

  /// One to eight changes of `bytes`, some of them with parts of `other`.
  public mutating func mutate(_ bytes: [UInt8], with other: [UInt8]) -> [UInt8] {
    var result = bytes
    for _ in 0..<Int.random(in: 1...8, using: &random) { change(&result, other) }
    return result
  }

  private mutating func change(_ bytes: inout [UInt8], _ other: [UInt8]) {
    guard !bytes.isEmpty else {
      bytes = other
      return
    }
    let at = Int.random(in: bytes.indices, using: &random)
    switch Int.random(in: 0..<7, using: &random) {
    case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 1: bytes[at] = .random(in: 0...255, using: &random)
    case 2: bytes.removeSubrange(at..<min(bytes.count, at + .random(in: 1...16, using: &random)))
    case 3: bytes.insert(contentsOf: edge(), at: at)
    case 4:
      let edge = edge()
      bytes.replaceSubrange(at..<min(bytes.count, at + edge.count), with: edge)
    case 5:
      let length = Int.random(in: 0...min(256, other.count), using: &random)
      let from = Int.random(in: 0...other.count - length, using: &random)
      bytes.insert(contentsOf: other[from..<from + length], at: at)
    default:
      let end = min(bytes.count, at + .random(in: 1...64, using: &random))
      bytes.insert(contentsOf: Array(bytes[at..<end]), at: at)
    }
  }

  private mutating func edge() -> [UInt8] {
    Self.edges[Int.random(in: Self.edges.indices, using: &random)]
  }
}
