import HindsightTesting
import Testing

@testable import HindsightJournal

/// What the deflater writes is read by zlib, which knows nothing of it, and by our own inflater.
@Suite("Deflate: every input comes back the same")
struct DeflaterTests {
  private var random = SplitMix64(seed: 1_951)

  /// Compresses the parts of one stream and inflates them again.
  /// - Parameter deflater: one that has compressed nothing, or was reset since.
  /// - Returns: what they were compressed to.
  @discardableResult
  private func checkRoundTrip(
    _ parts: [[UInt8]], _ deflater: Deflater = Deflater()
  ) throws -> [[UInt8]] {
    let inflater = Inflater()
    inflater.beginRun()
    var stream: [UInt8] = []
    let stored = try parts.map { part in
      let stored = deflate(part, deflater)
      let back = try inflater.inflateInRun(stored, count: part.count)
      #expect(back == part)
      stream += stored + Format.flushMarker
      return stored
    }
    let raw = Array(parts.joined())
    #expect(ZlibInflater.inflate(stream, isFlushed: true, countMax: raw.count) == .bytes(raw))
    return stored
  }

  private func deflate(_ part: [UInt8], _ deflater: Deflater) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Deflater.bound(part.count)) { output, count in
      count = part.withUnsafeBytes {
        deflater.deflate($0, into: UnsafeMutableRawBufferPointer(output))
      }
    }
  }

  /// So many bytes, from monotonous to incompressible.
  private mutating func bytes(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count {
      let length = Int.random(in: 1...min(count - bytes.count, 40_000), using: &random)
      let most = UInt8([0, 1, 3, 60, 255].randomElement(using: &random)!)
      switch Int.random(in: 0..<4, using: &random) {
      case 0,
        1 where bytes.isEmpty:
        for _ in 0..<length { bytes.append(.random(in: 0...most, using: &random)) }
      case 1:
        let distance = Int.random(in: 1...bytes.count, using: &random)
        for _ in 0..<length { bytes.append(bytes[bytes.count - distance]) }
      case 2:
        for _ in 0..<length { bytes.append(most) }
      default:
        for at in 0..<length { bytes.append(UInt8(truncatingIfNeeded: at * at >> 7)) }
      }
    }
    return bytes
  }

  @Test("parts of all sizes, from none to more than the window holds")
  mutating func sizes() throws {
    for size in [0, 1, 3, 4, 5, 8, 100, 1_000, 65_535, 65_536, 131_072, 131_073, 400_000] {
      let one = bytes(max(1, size))
      try checkRoundTrip([Array(one.prefix(size)), bytes(10), Array(one.prefix(size))])
    }
  }

  @Test("many parts of one stream, the window sliding beneath them")
  mutating func parts() throws {
    let deflater = Deflater()
    for _ in 0..<20 {
      var parts: [[UInt8]] = []
      var total = 0
      while total < 500_000 {
        // Now and then what was there before, near and far.
        let again =
          Int.random(in: 0..<3, using: &random) == 0 ? parts.randomElement(using: &random) : nil
        let part =
          again
          ?? bytes(
            Int.random(in: 1...[50, 5_000, 60_000].randomElement(using: &random)!, using: &random))
        parts.append(part)
        total += part.count
      }
      deflater.reset()
      let stored = try checkRoundTrip(parts, deflater)
      // What came before a stream changes nothing in it.
      let fresh = try checkRoundTrip(parts)
      #expect(fresh == stored)
    }
  }

  @Test("what can't be compressed grows by no more than its bound")
  mutating func incompressible() throws {
    for size in [1, 50, 190, 191, 192, 193, 250, 5_000, 70_000, 300_000] {
      let noise = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
      let stored = try checkRoundTrip([noise])[0]
      #expect(stored.count <= size + 5 * (size / 30_000 + 1) + 2)
    }
  }

  @Test("no part is compressed further than its reader believes")
  func monotonous() throws {
    for size in [258, 10_000, 1 << 20] {
      // Zeros are what lies in front of the window, where nothing refers to.
      for byte: UInt8 in [0, 7] {
        let stored = try checkRoundTrip([[UInt8](repeating: byte, count: size)])[0]
        #expect(stored.count * Format.deflateRatioMax >= size)
      }
    }
  }

  @Test("repeats of every length, and at every distance that there is a symbol for")
  mutating func matches() throws {
    for length in 1...300 {
      let word = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
      try checkRoundTrip([word + [1, 2, 3] + word + [4, 5], word])
    }
    for exponent in 0...15 {
      for distance in [1 << exponent, (1 << exponent) + 1, (1 << exponent) * 3 / 2, 32_768, 32_769]
      {
        let word = (0..<min(distance, 40)).map { _ in UInt8.random(in: 0...255, using: &random) }
        let between = (0..<distance - word.count).map { UInt8(truncatingIfNeeded: $0 >> 3) }
        try checkRoundTrip([word + between + word + word])
      }
    }
  }

  @Test("lengths and distances lie within what their symbols tell")
  func symbols() {
    let symbols = DeflateSymbols.shared
    for length in 3...258 {
      let told = symbols.length(length)
      #expect(told.excess == length - DeflateSymbols.lengthBase(told.symbol))
      #expect(told.extra == DeflateSymbols.lengthExtra(told.symbol))
      #expect((0..<1 << told.extra).contains(told.excess))
    }
    for distance in 1...32_768 {
      let symbol = symbols.ofDistance(distance)
      let beyond = distance - DeflateSymbols.distanceBase(symbol)
      #expect((0..<1 << DeflateSymbols.distanceExtra(symbol)).contains(beyond))
    }
  }

  @Test("codes are complete, within their limit, and shorter for what is more frequent")
  mutating func codes() {
    for round in 0..<300 {
      let limit = round % 3 == 0 ? 7 : 15
      let code = HuffmanCode(symbolCount: limit == 7 ? 19 : 286, lengthMax: limit)
      defer { code.deallocate() }
      let used = Int.random(in: 0...code.symbolCount, using: &random)
      var (last, next) = (UInt32(1), UInt32(1))
      for _ in 0..<used {
        let symbol = Int.random(in: 0..<code.symbolCount, using: &random)
        // Fibonacci's numbers give the longest codes.
        code.frequencies[symbol] = round % 2 == 0 ? last : .random(in: 1...1_000, using: &random)
        (last, next) = (next, min(last + next, 20_000))
      }
      code.make()
      let lengths = (0..<code.symbolCount).map { code.length($0) }
      #expect(lengths.allSatisfy { $0 <= limit })
      #expect(lengths.filter { $0 > 0 }.map { 1 << (limit - $0) }.reduce(0, +) == 1 << limit)
      for (symbol, length) in lengths.enumerated() where code.frequencies[symbol] > 0 {
        #expect(length > 0)
        for (other, otherLength) in lengths.enumerated()
        where code.frequencies[other] > code.frequencies[symbol] {
          #expect(otherLength <= length)
        }
      }
    }
  }
}
