import Hindsight
import HindsightTesting

/// Keys and values made up on the spot, the same in every run: for measurements that need more of
/// them than a stream has.
struct BenchInput: Sendable {
  /// Values compress about as package metadata does: words of a small vocabulary.
  private let text: [UInt8]
  private let valueByteCount: Int

  init(valueByteCount: Int) {
    self.valueByteCount = valueByteCount
    var generator = SplitMix64(seed: 20_260)
    let vocabulary = (0..<2_000).map { _ in
      (0..<Int.random(in: 3...9, using: &generator)).map { _ in
        UInt8(ascii: "a") + UInt8.random(in: 0..<26, using: &generator)
      } + [UInt8(ascii: " ")]
    }
    var text: [UInt8] = []
    while text.count < 2 * valueByteCount + 65_536 {
      // Squared, so that some words are far more frequent than others.
      let share = Double.random(in: 0..<1, using: &generator)
      text += vocabulary[Int(share * share * Double(vocabulary.count))]
    }
    self.text = text
  }

  /// Keys of 21 bytes.
  func keys(_ range: Range<Int>) throws -> [CacheKey] {
    try range.map { try key($0) }
  }

  func key(_ at: Int) throws -> CacheKey { try CacheKey("pypi:package-\(10_000_000 + at)") }

  /// A JSON string of exactly the byte count.
  func value(_ at: Int) -> [UInt8] {
    let start = (at &* 127) % (text.count - valueByteCount)
    var value = [UInt8]()
    value.reserveCapacity(valueByteCount)
    value.append(UInt8(ascii: "\""))
    value.append(contentsOf: text[start..<start + valueByteCount - 2])
    value.append(UInt8(ascii: "\""))
    return value
  }
}
