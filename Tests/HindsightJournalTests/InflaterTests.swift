import CHindsightZlib
import HindsightTesting
import Testing

@testable import HindsightJournal

/// What zlib writes, and what it doesn't: the inflater gives and refuses what zlib does.
@Suite("Inflate: the same as zlib")
struct InflaterTests {
  private var random = SplitMix64(seed: 1_996)

  /// What is compressed in parts.
  private mutating func parts() -> [[UInt8]] {
    let alphabet = UInt8([1, 2, 20, 255].randomElement(using: &random)!)
    var all: [UInt8] = []
    return (0..<Int.random(in: 1...12, using: &random)).map { _ in
      let size = [0, 1, 300, 5_000, 90_000, 400_000].randomElement(using: &random)!
      var part: [UInt8] = []
      while part.count < size {
        if Int.random(in: 0..<3, using: &random) == 0, all.count + part.count > 300 {
          let from = Int.random(in: 0..<all.count + part.count - 258, using: &random)
          let length = Int.random(in: 3...258, using: &random)
          for at in from..<from + length {
            part.append(at < all.count ? all[at] : part[at - all.count])
          }
        } else {
          let length = Int.random(in: 1...40, using: &random)
          for _ in 0..<length { part.append(.random(in: 0...alphabet, using: &random)) }
        }
      }
      all += part
      return part
    }
  }

  /// Compresses parts with zlib, each flushed; the last one ended, where that is wanted.
  private func deflate(_ parts: [[UInt8]], level: Int32, strategy: Int32, ends: Bool) -> [[UInt8]] {
    var state = z_stream()
    let begun = deflateInit2_(
      &state, level, Z_DEFLATED, -15, 8, strategy, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size))
    precondition(begun == Z_OK)
    defer { deflateEnd(&state) }
    return parts.enumerated().map { at, part in
      var input = part
      return [UInt8](unsafeUninitializedCapacity: 2 * part.count + 1_000) { output, count in
        input.withUnsafeMutableBufferPointer { input in
          state.next_in = input.baseAddress
          state.avail_in = UInt32(input.count)
          state.next_out = output.baseAddress
          state.avail_out = UInt32(output.count)
          let isEnd = ends && at == parts.count - 1
          let result = CHindsightZlib.deflate(&state, isEnd ? Z_FINISH : Z_SYNC_FLUSH)
          precondition(result == (isEnd ? Z_STREAM_END : Z_OK) || part.isEmpty)
        }
        count = output.count - Int(state.avail_out)
      }
    }
  }

  private static let strategies = [Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED]

  @Test("streams of every level and strategy, in one piece and in parts")
  mutating func streams() throws {
    for round in 0..<20 {
      let level = Int32(round % 10)
      let strategy = Self.strategies.randomElement(using: &random)!
      let parts = parts()
      let whole = Array(deflate(parts, level: level, strategy: strategy, ends: true).joined())
      let raw = Array(parts.joined())
      #expect(try Inflater().inflate(whole, count: raw.count) == raw)
      let inflater = Inflater()
      inflater.beginRun()
      let flushed = deflate(parts, level: level, strategy: strategy, ends: false)
      for (part, stored) in zip(parts, flushed) where !part.isEmpty {
        #expect(stored.suffix(4) == Format.flushMarker[...])
        #expect(try inflater.inflateInRun(stored.dropLast(4), count: part.count) == part)
      }
    }
  }

  @Test("what is damaged is refused, or gives what zlib makes of it")
  mutating func damaged() throws {
    var refused = 0
    for round in 0..<4_000 {
      let isFlushed = round % 2 == 0
      // A longer block's literals are read in pairs.
      let size = Int.random(in: round % 8 == 0 ? 20_000...40_000 : 1...600, using: &random)
      let part = (0..<size).map { _ in UInt8.random(in: 0...8, using: &random) }
      let strategy = Self.strategies.randomElement(using: &random)!
      var stream = deflate(
        [part], level: Int32(round % 10), strategy: strategy, ends: !isFlushed)[0]
      if isFlushed { stream.removeLast(4) }
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let at = Int.random(in: 0..<stream.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: stream[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: stream[at] = .random(in: 0...255, using: &random)
        case 2: stream.insert(.random(in: 0...255, using: &random), at: at)
        default: if stream.count > 1 { stream.remove(at: at) }
        }
      }
      let problem = FuzzTarget.inflate.run([isFlushed ? 1 : 0] + stream)
      #expect(problem == nil, "\(isFlushed) \(stream)")
      let marked = isFlushed ? stream + Format.flushMarker : stream
      if ZlibInflater.inflate(marked, isFlushed: isFlushed, countMax: 1 << 20) == .refused {
        refused += 1
      }
    }
    #expect(refused > 1_000)
  }

  @Test("codes that are none: too many, too few, without an end, of lengths that can't be")
  func codes() {
    func code(_ lengths: [UInt8], _ kind: InflateCode.Kind) -> Bool {
      let code = InflateCode(kind, symbolCount: 288)
      defer { code.deallocate() }
      var all = InflateCodes.Lengths(repeating: 0)
      for (at, length) in lengths.enumerated() { all[at] = length }
      return code.make(all, 0..<lengths.count)
    }
    #expect(code([1, 1], .literals))
    #expect(!code([1, 1, 1], .literals))
    #expect(!code([2, 2, 2], .distances))
    #expect(code([1], .distances) && code([1], .literals) && !code([1], .lengths))
    #expect(code([0, 0], .distances) && !code([0, 0], .lengths))
    #expect(!code([2], .distances))
    #expect(code([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15], .literals))
  }

  @Test("a run that is longer than ours are, its window moved and enlarged")
  mutating func longRun() throws {
    let inflater = Inflater()
    inflater.beginRun()
    var parts: [[UInt8]] = []
    for size in [40_000, 700_000, 700_000, 10, 3_000_000, 300, 20_000] {
      var part: [UInt8] = []
      while part.count < size {
        part += [UInt8](
          repeating: .random(in: 0...255, using: &random),
          count: Int.random(in: 1...40, using: &random))
      }
      parts.append(part)
    }
    for (part, stored) in zip(
      parts, deflate(parts, level: 6, strategy: Z_DEFAULT_STRATEGY, ends: false))
    {
      #expect(try inflater.inflateInRun(stored.dropLast(4), count: part.count) == part)
    }
  }
}
