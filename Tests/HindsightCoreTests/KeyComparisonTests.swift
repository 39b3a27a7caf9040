import Testing

@testable import HindsightCore

/// Keys are compared some words at a time, which overlap.
@Suite("S040 keys compare as bytes")
struct KeyComparisonTests {
  @Test("every byte counts, whatever the length, and none behind the key")
  func everyByte() {
    for count in 0...90 {
      // Behind both keys stands something else.
      let one = (0..<count + 16).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
      let other = one.prefix(count) + (0..<16).map { UInt8(truncatingIfNeeded: $0 &+ 200) }
      #expect(areEqual(one, Array(other), count), "\(count)")
      for at in 0..<count {
        var changed = one
        changed[at] ^= 0x80
        #expect(!areEqual(one, changed, count), "\(count): byte \(at)")
      }
    }
  }

  private func areEqual(_ one: [UInt8], _ other: [UInt8], _ count: Int) -> Bool {
    one.withUnsafeBytes { one in
      other.withUnsafeBytes { other in
        UnsafeRawBufferPointer(rebasing: one[..<count])
          .elementsAreEqual(to: UnsafeRawBufferPointer(rebasing: other[..<count]))
      }
    }
  }
}
