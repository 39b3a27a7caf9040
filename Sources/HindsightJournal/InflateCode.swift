/// The codes of a block.
struct InflateCodes: Sendable {
  let literals = InflateCode(.literals, symbolCount: 288, primaryBits: 10)
  let distances = InflateCode(.distances, symbolCount: 32, primaryBits: 8)
  let lengths = InflateCode(.lengths, symbolCount: 19, primaryBits: 7)

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
  // so there are no more of them than symbols. `find` masks its index to the table that it looks in.
  enum Kind {
    case literals, distances, lengths
  }

  /// What bits stand for.
  struct Entry {
    fileprivate static let invalid: UInt32 = 1 << 12
    fileprivate static let end: UInt32 = 1 << 13
    fileprivate static let table: UInt32 = 1 << 14
    fileprivate static let literal: UInt32 = 1 << 15
    let rawValue: UInt32

    /// Of the code, in bits.
    @inline(__always) var length: Int { Int(rawValue & 0xFF) }
    /// How many bits behind it belong to the value.
    @inline(__always) var extra: Int { Int(rawValue &>> 8 & 0xF) }
    /// A literal, the least length or distance, or a symbol.
    @inline(__always) var value: Int { Int(rawValue &>> 16) }
    @inline(__always) var isLiteral: Bool { rawValue & Self.literal != 0 }
    /// A block's end, or no code.
    @inline(__always) var isSpecial: Bool { rawValue & (Self.end | Self.invalid) != 0 }
    @inline(__always) var isInvalid: Bool { rawValue & Self.invalid != 0 }
  }

  private let kind: Kind
  private let primaryBits: Int
  private nonisolated(unsafe) let table: UnsafeMutablePointer<UInt32>
  private static let lengthMax = 15

  init(_ kind: Kind, symbolCount: Int, primaryBits: Int) {
    self.kind = kind
    self.primaryBits = primaryBits
    let count = 1 << primaryBits + symbolCount << (Self.lengthMax - primaryBits)
    table = .allocate(capacity: count)
    table.initialize(repeating: Entry.invalid, count: count)
  }

  func deallocate() { table.deallocate() }

  /// What the next bits stand for, the first one lowest.
  @inline(__always)
  func find(_ bits: UInt64) -> Entry {
    let primary = table[Int(bits & (1 &<< UInt64(primaryBits) &- 1))]
    guard primary & Entry.table != 0 else { return Entry(rawValue: primary) }
    let rest = bits &>> UInt64(primaryBits) & (1 &<< UInt64(primary & 0xFF) &- 1)
    return Entry(rawValue: table[Int(primary &>> 16) &+ Int(rest)])
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

    table.update(repeating: Entry.invalid, count: 1 << primaryBits)
    var end = 1 << primaryBits
    var code = 0
    var last = 0
    for rank in 0..<usedCount {
      let symbol = Int(symbols[rank])
      let length = Int(lengths[range.lowerBound + symbol])
      code <<= length - last
      last = length
      file(entry(symbol, length), HuffmanCode.reversed(code, length), length, longest, &end)
      code += 1
    }
    return true
  }

  /// Puts an entry wherever the bits begin with its code.
  private func file(
    _ entry: UInt32, _ bits: Int, _ length: Int, _ longest: Int, _ end: inout Int
  ) {
    if length <= primaryBits {
      for at in stride(from: bits, to: 1 << primaryBits, by: 1 << length) { table[at] = entry }
      return
    }
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

  private func entry(_ symbol: Int, _ length: Int) -> UInt32 {
    let (value, extra, flags): (Int, Int, UInt32)
    switch kind {
    case .lengths: (value, extra, flags) = (symbol, 0, 0)
    case .literals where symbol < 256: (value, extra, flags) = (symbol, 0, Entry.literal)
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
    return UInt32(length) | UInt32(extra) << 8 | flags | UInt32(value) << 16
  }
}
