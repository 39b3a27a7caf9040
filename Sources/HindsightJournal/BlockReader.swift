/// Reads the blocks of one part.
struct BlockReader {
  // Proof of the pointers: `next` goes from the input's beginning to `end`; eight bytes are read at once
  // only where there are so many. `output` goes from `start` to `outputEnd`, behind which there are
  // `Inflater.Bounds.slack` bytes: it passes that by eight literals, or six and a match, at most, and what is
  // copied 16 bytes at a time, 32 at least, by 31 more. `behind` bytes in front of `start` were written before,
  // so a distance of at most `behind` and what was written since leads to bytes that were written.
  private var next: UnsafePointer<UInt8>
  private let end: UnsafePointer<UInt8>
  private var bits: UInt64 = 0
  /// How many of `bits` are the input's; below 0 once more was taken than there is.
  private var count = 0
  private let start: UnsafeMutablePointer<UInt8>
  private var output: UnsafeMutablePointer<UInt8>
  private let outputEnd: UnsafeMutablePointer<UInt8>
  private let behind: Int
  private let codes: InflateCodes

  init(
    _ input: UnsafeBufferPointer<UInt8>, _ output: UnsafeMutablePointer<UInt8>, count: Int,
    behind: Int, _ codes: InflateCodes
  ) {
    // An empty array may have no address, and is not read then.
    next = input.baseAddress ?? UnsafePointer(output)
    end = next + input.count
    start = output
    self.output = output
    outputEnd = output + count
    self.behind = behind
    self.codes = codes
  }

  var isFull: Bool { output == outputEnd }

  /// - Parameter isFlushed: whether the part ends within a flush, not with the stream.
  /// - Returns: whether all of it was read, and nothing was wrong.
  mutating func readAll(isFlushed: Bool) -> Bool {
    while true {
      let header = take(3)
      guard count >= 0 else { return false }
      let isLast = header & 1 == 1
      if isLast, isFlushed { return false }
      switch header >> 1 {
      case 0:
        align()
        // The rest of the flush was left out.
        if isFlushed, next == end { return true }
        guard copyStored() else { return false }
      case 1: guard readSymbols(InflateCodes.fixed) else { return false }
      case 2: guard readCodes(), readSymbols(codes) else { return false }
      default: return false
      }
      if isLast {
        align()
        return next == end
      }
    }
  }

  // MARK: Bits

  /// At least 56 bits, where the input has so many.
  @inline(__always)
  private mutating func refill() {
    if end - next >= Self.wordByteCount { return refillWhole() }
    while count < 56, next < end {
      bits |= UInt64(next.pointee) &<< UInt64(truncatingIfNeeded: count)
      next += 1
      count &+= 8
    }
  }

  private static let wordByteCount = 8

  /// At least 56 bits, of an input with eight bytes more.
  @inline(__always)
  private mutating func refillWhole() {
    let word = UnsafeRawPointer(next).loadUnaligned(as: UInt64.self)
    bits |= UInt64(littleEndian: word) &<< UInt64(truncatingIfNeeded: count)
    next += (63 &- count) &>> 3
    count |= 56
  }

  /// So many bits, at most 16. Behind the input's end they are 0, and `count` falls below 0.
  @inline(__always)
  private mutating func take(_ wanted: Int) -> Int {
    if count < wanted, count >= 0 { refill() }
    let value = Int(truncatingIfNeeded: bits & (1 &<< UInt64(truncatingIfNeeded: wanted) &- 1))
    drop(wanted)
    return value
  }

  @inline(__always)
  private mutating func drop(_ dropped: Int) {
    bits = bits &>> UInt64(truncatingIfNeeded: dropped)
    count &-= dropped
  }

  /// Goes to the next byte's beginning, and gives whole bytes back.
  private mutating func align() {
    next -= count >> 3
    bits = 0
    count = 0
  }

  // MARK: Blocks

  private mutating func copyStored() -> Bool {
    guard end - next >= 4 else { return false }
    let length = Int(next[0]) | Int(next[1]) << 8
    let complement = Int(next[2]) | Int(next[3]) << 8
    next += 4
    guard length ^ complement == 0xFFFF, length <= end - next, length <= outputEnd - output else {
      return false
    }
    output.update(from: next, count: length)
    output += length
    next += length
    return true
  }

  /// The codes that a block tells.
  private mutating func readCodes() -> Bool {
    let literalCount = take(5) + 257
    let distanceCount = take(5) + 1
    let lengthCount = take(4) + 4
    guard count >= 0, literalCount <= 286, distanceCount <= 30 else { return false }
    var lengths: InlineArray<320, UInt8> = .init(repeating: 0)
    for at in 0..<lengthCount { lengths[DeflateSymbols.toldSymbol(at)] = UInt8(take(3)) }
    guard count >= 0, codes.lengths.make(lengths, 0..<19) else { return false }
    lengths = .init(repeating: 0)
    let total = literalCount + distanceCount
    var at = 0
    while at < total {
      refill()
      let entry = codes.lengths.find(bits, .lengths)
      drop(entry.length)
      guard count >= 0, !entry.isInvalid else { return false }
      let symbol = entry.value
      if symbol < 16 {
        lengths[at] = UInt8(symbol)
        at += 1
        continue
      }
      if symbol == 16, at == 0 { return false }
      let repeated = symbol == 16 ? lengths[at - 1] : 0
      let times = symbol == 16 ? 3 + take(2) : symbol == 17 ? 3 + take(3) : 11 + take(7)
      guard count >= 0, times <= total - at else { return false }
      for _ in 0..<times {
        lengths[at] = repeated
        at += 1
      }
    }
    // A block that can't end is none.
    guard lengths[256] > 0, codes.literals.make(lengths, 0..<literalCount),
      codes.distances.make(lengths, literalCount..<total)
    else { return false }
    // That takes as long as it saves in some thousand bytes.
    if end - next >= Self.pairedByteCountMin { codes.literals.pairLiterals() }
    return true
  }

  private static let pairedByteCountMin = 4_096

  /// What a block's symbols stand for, up to its end.
  private mutating func readSymbols(_ codes: InflateCodes) -> Bool {
    let (literals, distances) = (codes.literals, codes.distances)
    // On a copy, which the compiler keeps in registers.
    var reader = self
    defer { self = reader }
    // While the input has two words more, each round may read both without asking again.
    while reader.end - reader.next >= 2 * Self.wordByteCount, reader.output <= reader.outputEnd {
      reader.refillWhole()
      // Four entries of 11 bits at most, or three and a length of 15 bits with 5 extra ones.
      var entry = literals.primary(reader.bits, .literals)
      if entry.isLiteral {
        reader.put(entry)
        entry = literals.primary(reader.bits, .literals)
        if entry.isLiteral {
          reader.put(entry)
          entry = literals.primary(reader.bits, .literals)
          if entry.isLiteral {
            reader.put(entry)
            entry = literals.primary(reader.bits, .literals)
            if entry.isLiteral {
              reader.put(entry)
              continue
            }
          }
        }
      }
      if entry.isUnusual {
        entry = literals.whole(entry, reader.bits, .literals)
        if entry.isLiteral {
          reader.put(entry)
          continue
        }
        if entry.isSpecial {
          reader.drop(entry.length)
          return !entry.isInvalid && reader.output <= reader.outputEnd
        }
      }
      let length = reader.takeValue(entry)
      // A distance takes 15 bits and 13 extra ones at most.
      if reader.count < 28 { reader.refillWhole() }
      let far = distances.find(reader.bits, .distances)
      if far.isSpecial { return false }
      let distance = reader.takeValue(far)
      guard distance <= reader.output - reader.start &+ reader.behind else { return false }
      reader.copy(length, distance)
    }
    while true {
      guard reader.count >= 0, reader.output <= reader.outputEnd else { return false }
      reader.refill()
      let entry = literals.find(reader.bits, .literals)
      if entry.isLiteral {
        reader.put(entry)
        continue
      }
      if entry.isSpecial {
        reader.drop(entry.length)
        return !entry.isInvalid && reader.count >= 0
      }
      let length = reader.takeValue(entry)
      reader.refill()
      let far = distances.find(reader.bits, .distances)
      if far.isSpecial { return false }
      let distance = reader.takeValue(far)
      guard reader.count >= 0, distance <= reader.output - reader.start &+ reader.behind else {
        return false
      }
      reader.copy(length, distance)
    }
  }

  @inline(__always)
  private mutating func takeValue(_ entry: InflateCode.Entry) -> Int {
    let value = entry.value(in: bits)
    drop(entry.length)
    return value
  }

  /// One literal or two.
  @inline(__always)
  private mutating func put(_ entry: InflateCode.Entry) {
    UnsafeMutableRawPointer(output).storeBytes(
      of: entry.literals.littleEndian, as: UInt16.self)
    output += entry.literalCount
    drop(entry.length)
  }

  @inline(__always)
  private mutating func copy(_ length: Int, _ distance: Int) {
    var from = UnsafeRawPointer(output.advanced(by: 0 &- distance))
    var to = UnsafeMutableRawPointer(output)
    output += length
    guard distance >= Self.pieceByteCount else {
      // Each byte may be the copy of one just made.
      while to < UnsafeMutableRawPointer(output) {
        to.storeBytes(of: from.load(as: UInt8.self), as: UInt8.self)
        from += 1
        to += 1
      }
      return
    }
    // Most are this short, and that can't be foretold.
    Self.copyPiece(from, to)
    repeat {
      from += Self.pieceByteCount
      to += Self.pieceByteCount
      Self.copyPiece(from, to)
    } while to + Self.pieceByteCount < UnsafeMutableRawPointer(output)
  }

  private static let pieceByteCount = 16

  @inline(__always)
  private static func copyPiece(_ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer) {
    to.storeBytes(of: from.loadUnaligned(as: SIMD16<UInt8>.self), as: SIMD16<UInt8>.self)
  }
}
