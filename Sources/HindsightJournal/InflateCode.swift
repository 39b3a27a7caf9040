/// The codes of a block.
struct InflateCodes: Sendable {
  let literals = InflateCode(.literals, symbolCount: 288)
  let distances = InflateCode(.distances, symbolCount: 32)
  let lengths = InflateCode(.lengths, symbolCount: 19)

  /// Code lengths of all symbols, in a block or in the fixed codes.
  typealias Lengths = InlineArray<320, UInt8>

  /// Those that a reader knows without being told. They are never let go.
  static let fixed: InflateCodes = {
    let codes = InflateCodes()
    var lengths = Lengths(repeating: UInt8(DeflateSymbols.fixedDistanceLength))
    for symbol in 0..<288 { lengths[symbol] = UInt8(DeflateSymbols.fixedLength(symbol)) }
    let isWhole = codes.literals.make(lengths, 0..<288) && codes.distances.make(lengths, 288..<320)
    precondition(isWhole, "the fixed codes are complete")
    return codes
  }()

  func deallocate() {
    for code in [literals, distances, lengths] { code.deallocate() }
  }
}

/// A Huffman code of deflate (RFC 1951, 3.2.2) as it is read: a table of what the next bits stand for,
/// with tables of its own behind it for codes that are longer than its index.
struct InflateCode: Sendable {
  // Proof of Sendable: the fixed codes never change once they are made, and others have one owner, a reader.
  // Proof of the pointer: `table` has 2^primaryBits entries and, for each symbol, room for a table of
  // 2^(15 - primaryBits) behind them; `make` begins one for a prefix of a symbol that has a longer code,
  // so there are no more of them than symbols. `primary` and `whole` mask the index to the table that they look in,
  // and `pairLiterals` shifts one to the right.
  enum Kind {
    case literals, distances, lengths

    /// How many bits index the table.
    @inline(__always)
    var primaryBits: Int {
      switch self {
      case .literals: 11
      case .distances: 8
      case .lengths: 7
      }
    }
  }

  /// What bits stand for.
  struct Entry {
    fileprivate static let invalid: UInt32 = 1 << 12
    fileprivate static let end: UInt32 = 1 << 13
    fileprivate static let table: UInt32 = 1 << 14
    fileprivate static let literal: UInt32 = 1 << 15
    let rawValue: UInt32

    /// Of the code and of what behind it belongs to the value, in bits: 0 to 28.
    @inline(__always) var length: Int { Int(rawValue & 0xFF) }
    /// A symbol, the least length or distance.
    @inline(__always) var value: Int { Int(rawValue &>> 16) }
    /// One literal or two, the first one lowest.
    @inline(__always) var literals: UInt16 { UInt16(truncatingIfNeeded: rawValue &>> 16) }
    @inline(__always) var literalCount: Int { Int(rawValue &>> 8 & 3) }
    @inline(__always) var isLiteral: Bool { rawValue & Self.literal != 0 }
    /// A longer code than the table's index, a block's end, or no code.
    @inline(__always)
    var isUnusual: Bool { rawValue & (Self.table | Self.end | Self.invalid) != 0 }
    /// A block's end, or no code.
    @inline(__always) var isSpecial: Bool { rawValue & (Self.end | Self.invalid) != 0 }
    @inline(__always) var isInvalid: Bool { rawValue & Self.invalid != 0 }

    /// A length or distance, in the bits that the code begins.
    @inline(__always)
    func value(in bits: UInt64) -> Int {
      let all = bits & (1 &<< UInt64(rawValue & 0xFF) &- 1)
      return value &+ Int(truncatingIfNeeded: all &>> UInt64(rawValue &>> 8 & 0xF))
    }

    /// What is to be added to this where it is a literal, and so is what follows, within the table's index.
    @inline(__always)
    fileprivate func followed(by other: Entry, _ kind: Kind) -> UInt32 {
      let areLiterals = rawValue & other.rawValue & Self.literal
      // Its uppermost bit is set where both are short enough.
      let room = (rawValue & 0xFF) &+ (other.rawValue & 0xFF) &- UInt32(kind.primaryBits) &- 1
      let isPair: UInt32 = (areLiterals &<< 16 & room) &>> 31
      return isPair &* ((other.rawValue & 0xFF) | 1 &<< 8 | (other.rawValue &>> 16) &<< 24)
    }
  }

  private let kind: Kind
  private nonisolated(unsafe) let table: UnsafeMutablePointer<UInt32>
  private static let lengthMax = 15

  private var primaryBits: Int { kind.primaryBits }

  init(_ kind: Kind, symbolCount: Int) {
    self.kind = kind
    let primaryBits = kind.primaryBits
    let count = 1 << primaryBits + symbolCount << (Self.lengthMax - primaryBits)
    table = .allocate(capacity: count)
    table.initialize(repeating: Entry.invalid, count: count)
  }

  func deallocate() { table.deallocate() }

  /// What the next bits stand for, the first one lowest.
  /// - Parameter kind: the code's own, said by the caller, who knows it when it is compiled.
  @inline(__always)
  func find(_ bits: UInt64, _ kind: Kind) -> Entry { whole(primary(bits, kind), bits, kind) }

  /// What the next bits stand for, unless their code is longer than the table's index.
  @inline(__always)
  func primary(_ bits: UInt64, _ kind: Kind) -> Entry {
    Entry(rawValue: table[Int(truncatingIfNeeded: bits & (1 &<< UInt64(kind.primaryBits) &- 1))])
  }

  /// What the next bits stand for, where `primary` is what their first ones do.
  @inline(__always)
  func whole(_ primary: Entry, _ bits: UInt64, _ kind: Kind) -> Entry {
    guard primary.rawValue & Entry.table != 0 else { return primary }
    let mask = (1 as UInt64) &<< UInt64(primary.rawValue & 0xFF) &- 1
    let rest = bits &>> UInt64(kind.primaryBits) & mask
    return Entry(
      rawValue: table[Int(primary.rawValue &>> 16) &+ Int(truncatingIfNeeded: rest)])
  }

  /// Makes the code in which symbols have these lengths; 0: none.
  /// - Returns: whether that is one. As with zlib, it may be incomplete only where it has one symbol, of one
  ///   bit, or none; and that of the code lengths never.
  func make(_ lengths: InflateCodes.Lengths, _ range: Range<Int>) -> Bool {
    var counts: InlineArray<16, Int> = .init(repeating: 0)
    for at in range { counts[Int(lengths[at])] += 1 }
    var longest = 0
    var open = 1
    for length in 1...Self.lengthMax {
      if counts[length] > 0 { longest = length }
      open = 2 * open - counts[length]
      if open < 0 { return false }
    }
    if open > 0, longest > 1 || kind == .lengths { return false }

    // Where the symbols of each length begin, in their order.
    var starts: InlineArray<16, Int> = .init(repeating: 0)
    for length in 1..<Self.lengthMax { starts[length + 1] = starts[length] + counts[length] }
    let usedCount = starts[Self.lengthMax] + counts[Self.lengthMax]
    var symbols: InlineArray<320, UInt16> = .init(repeating: 0)
    for at in range where lengths[at] > 0 {
      let length = Int(lengths[at])
      symbols[starts[length]] = UInt16(at - range.lowerBound)
      starts[length] += 1
    }

    // The table of the codes of up to so many bits is twice that of one bit less.
    var madeBits = 0
    table[0] = Entry.invalid
    var end = 1 << primaryBits
    var code = 0
    var last = 0
    for rank in 0..<usedCount {
      let symbol = Int(symbols[rank])
      let length = Int(lengths[range.lowerBound + symbol])
      code <<= length - last
      last = length
      double(&madeBits, to: min(length, primaryBits))
      let bits = HuffmanCode.reversed(code, length)
      if length <= primaryBits {
        table[bits] = entry(symbol, length)
      } else {
        fileLong(entry(symbol, length), bits, length, longest, &end)
      }
      code += 1
    }
    double(&madeBits, to: primaryBits)
    return true
  }

  private func double(_ madeBits: inout Int, to bits: Int) {
    while madeBits < bits {
      (table + 1 << madeBits).update(from: table, count: 1 << madeBits)
      madeBits += 1
    }
  }

  /// Puts an entry wherever the bits begin with its code, which is longer than the table's index.
  private func fileLong(
    _ entry: UInt32, _ bits: Int, _ length: Int, _ longest: Int, _ end: inout Int
  ) {
    let restBits = longest - primaryBits
    let prefix = bits & (1 << primaryBits - 1)
    if table[prefix] & Entry.table == 0 {
      table[prefix] = Entry.table | UInt32(restBits) | UInt32(end) << 16
      end += 1 << restBits
    }
    let start = Int(table[prefix] >> 16)
    for at in stride(from: bits >> primaryBits, to: 1 << restBits, by: 1 << (length - primaryBits))
    {
      table[start + at] = entry
    }
  }

  /// Joins two literals that follow one another, wherever the index has the codes of both.
  func pairLiterals() {
    // From the end: what is behind a literal's code stands further in front, still by itself. Which of them are
    // joined can't be foretold, so there is no branch.
    for bits in stride(from: 1 << primaryBits - 1, through: 0, by: -1) {
      let first = Entry(rawValue: table[bits])
      let second = Entry(rawValue: table[bits &>> first.length])
      table[bits] = first.rawValue &+ first.followed(by: second, kind)
    }
  }

  private func entry(_ symbol: Int, _ length: Int) -> UInt32 {
    let (value, extra, flags): (Int, Int, UInt32)
    switch kind {
    case .lengths: (value, extra, flags) = (symbol, 0, 0)
    case .literals where symbol < 256:
      return UInt32(length) | 1 << 8 | Entry.literal | UInt32(symbol) << 16
    case .literals where symbol == 256: (value, extra, flags) = (0, 0, Entry.end)
    case .literals where symbol < 286:
      let symbol = symbol - 257
      (value, extra, flags) = (
        DeflateSymbols.lengthBase(symbol), DeflateSymbols.lengthExtra(symbol), 0
      )
    case .distances where symbol < 30:
      (value, extra, flags) = (
        DeflateSymbols.distanceBase(symbol), DeflateSymbols.distanceExtra(symbol), 0
      )
    default: (value, extra, flags) = (0, 0, Entry.invalid)
    }
    return UInt32(length + extra) | UInt32(length) << 8 | flags | UInt32(value) << 16
  }
}
