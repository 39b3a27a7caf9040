// How a block is written (RFC 1951, 3.2.3 to 3.2.7).

extension Deflater {
  /// Writes a block in the shortest of its three forms.
  func write(_ block: DeflateBlock, _ writer: inout BitWriter) {
    let fixed = FixedCodes.shared
    let stored = 8 * block.byteCount + 40 * (block.byteCount / 0xFFFF + 1)
    guard block.tokenCount >= Bounds.ownCodesTokenCountMin else {
      return writeShort(block, orStored: stored, &writer)
    }
    literals.make()
    distances.make()
    lengths.clearFrequencies()
    told.tell(literals, distances, lengths.frequencies)
    lengths.make()
    let extraBits = extraBitCount
    let fixedly =
      literals.bitCount(in: fixed.literals) + distances.bitCount(in: fixed.distances) + extraBits
    let dynamic =
      told.bitCount(lengths) + literals.bitCount(in: literals) + distances.bitCount(in: distances)
      + extraBits
    if stored <= min(dynamic, fixedly) {
      writeStored(block, &writer)
    } else if fixedly <= dynamic {
      writer.put(0b010, 3)
      writeTokens(block.tokenCount, fixed.literals, fixed.distances, &writer)
    } else {
      writer.put(0b100, 3)
      told.write(lengths, &writer)
      writeTokens(block.tokenCount, literals, distances, &writer)
    }
  }

  /// Writes a block without codes of its own: telling them would take about what they save, and making
  /// them longer than all the rest.
  /// - Parameter storedBitCount: what it takes if it is stored.
  private func writeShort(
    _ block: DeflateBlock, orStored storedBitCount: Int, _ writer: inout BitWriter
  ) {
    let fixed = FixedCodes.shared
    let start = writer
    writer.put(0b010, 3)
    writeTokens(block.tokenCount, fixed.literals, fixed.distances, &writer)
    guard writer.bitCount(since: start) > storedBitCount else { return }
    writer = start
    writeStored(block, &writer)
  }

  /// The extra bits of all lengths and distances that were counted.
  private var extraBitCount: Int {
    var count = 0
    for symbol in 8..<28 {
      count += Int(literals.frequencies[257 + symbol]) * DeflateSymbols.lengthExtra(symbol)
    }
    for symbol in 4..<30 {
      count += Int(distances.frequencies[symbol]) * DeflateSymbols.distanceExtra(symbol)
    }
    return count
  }

  private func writeTokens(
    _ count: Int, _ literals: HuffmanCode, _ distances: HuffmanCode, _ writer: inout BitWriter
  ) {
    let (literalCodes, distanceCodes, symbols) = (literals.codes, distances.codes, symbols)
    for at in 0..<count {
      let token = Int(tokens[at])
      if token < 256 {
        let code = literalCodes[token]
        writer.put(UInt64(code & 0xFFFF), Int(code &>> 16))
        continue
      }
      let (length, distance) = (symbols.length(token & 0x1FF), token &>> 9)
      let distanceSymbol = symbols.ofDistance(distance)
      let near = literalCodes[257 &+ length.symbol]
      let far = distanceCodes[distanceSymbol]
      // 15 + 5 + 15 + 13 bits at most.
      var bits = UInt64(near & 0xFFFF)
      var count = Int(near &>> 16)
      bits |= UInt64(truncatingIfNeeded: length.excess) &<< UInt64(truncatingIfNeeded: count)
      count &+= length.extra
      bits |= UInt64(far & 0xFFFF) &<< UInt64(truncatingIfNeeded: count)
      count &+= Int(far &>> 16)
      let extra = DeflateSymbols.distanceExtra(distanceSymbol)
      // A symbol's distances, less one, begin at a multiple of how many there are.
      let excess = (distance &- 1) & (1 &<< extra &- 1)
      bits |= UInt64(truncatingIfNeeded: excess) &<< UInt64(truncatingIfNeeded: count)
      writer.put(bits, count &+ extra)
    }
    let code = literalCodes[256]
    writer.put(UInt64(code & 0xFFFF), Int(code &>> 16))
  }

  private func writeStored(_ block: DeflateBlock, _ writer: inout BitWriter) {
    var at = block.start
    let end = block.start + block.byteCount
    while at < end {
      let count = min(end - at, 0xFFFF)
      writer.put(0, 3)
      writer.align()
      writer.put(UInt64(count) | UInt64(~count & 0xFFFF) << 16, 32)
      writer.append(UnsafeRawBufferPointer(start: window + at, count: count))
      at += count
    }
  }
}

/// The code lengths of a block in the form in which they are told, made anew for each block in memory that
/// is allocated once.
struct ToldLengths {
  // Proof of the pointers: `init` allocates one for each symbol of both codes, of `values` one more, and
  // the owner calls `deallocate` once, when it ends. Each item tells at least one symbol's length.
  /// The lengths of one code's symbols, then of the other's, then something that is no length.
  private let values: UnsafeMutablePointer<UInt8>
  /// Symbol, and extra bits × 32.
  private let items: UnsafeMutablePointer<UInt16>
  private var count = 0
  private var literalCount = 286
  private var distanceCount = 30
  private static let countMax = 286 + 30

  init() {
    values = .allocate(capacity: Self.countMax + 1)
    items = .allocate(capacity: Self.countMax)
  }

  func deallocate() {
    values.deallocate()
    items.deallocate()
  }

  /// Tells the lengths of both codes, and adds the symbols that this takes to `frequencies`.
  mutating func tell(
    _ literals: HuffmanCode, _ distances: HuffmanCode, _ frequencies: UnsafeMutablePointer<UInt32>
  ) {
    (count, literalCount, distanceCount) = (0, literals.symbolCount, distances.symbolCount)
    while literalCount > 257, literals.length(literalCount - 1) == 0 { literalCount -= 1 }
    while distanceCount > 1, distances.length(distanceCount - 1) == 0 { distanceCount -= 1 }
    for symbol in 0..<literalCount {
      values[symbol] = UInt8(truncatingIfNeeded: literals.length(symbol))
    }
    for symbol in 0..<distanceCount {
      values[literalCount + symbol] = UInt8(truncatingIfNeeded: distances.length(symbol))
    }
    let total = literalCount + distanceCount
    values[total] = .max
    var at = 0
    while at < total {
      let value = values[at]
      var end = at &+ 1
      while values[end] == value { end &+= 1 }
      append(Int(value), count: end &- at, frequencies)
      at = end
    }
  }

  private static func extra(_ symbol: Int) -> Int {
    // 2 for 16, 3 for 17, 7 for 18.
    symbol < 16 ? 0 : 0x732 &>> (4 &* (symbol &- 16)) & 15
  }

  /// Appends a length that so many symbols have, one after the other.
  @inline(__always)
  private mutating func append(
    _ value: Int, count: Int, _ frequencies: UnsafeMutablePointer<UInt32>
  ) {
    var left = count
    if value == 0 {
      while left >= 3 {
        let run = min(left, 138)
        if run <= 10 { put(17, run - 3, frequencies) } else { put(18, run - 11, frequencies) }
        left -= run
      }
    } else {
      put(value, 0, frequencies)
      left -= 1
      while left >= 3 {
        let run = min(left, 6)
        put(16, run - 3, frequencies)
        left -= run
      }
    }
    for _ in 0..<left { put(value, 0, frequencies) }
  }

  @inline(__always)
  private mutating func put(
    _ symbol: Int, _ extra: Int, _ frequencies: UnsafeMutablePointer<UInt32>
  ) {
    items[count] = UInt16(truncatingIfNeeded: extra << 5 | symbol)
    count &+= 1
    frequencies[symbol] &+= 1
  }

  /// How many lengths of `lengths` are told.
  private func lengthCount(_ lengths: HuffmanCode) -> Int {
    var count = 19
    while count > 4, lengths.length(DeflateSymbols.toldSymbol(count - 1)) == 0 { count -= 1 }
    return count
  }

  /// How many bits it takes to tell it all.
  func bitCount(_ lengths: HuffmanCode) -> Int {
    var bits = 17 + 3 * lengthCount(lengths)
    for symbol in 0..<19 {
      bits += Int(lengths.frequencies[symbol]) * (lengths.length(symbol) + Self.extra(symbol))
    }
    return bits
  }

  func write(_ lengths: HuffmanCode, _ writer: inout BitWriter) {
    let lengthCount = lengthCount(lengths)
    writer.put(UInt64(literalCount - 257), 5)
    writer.put(UInt64(distanceCount - 1), 5)
    writer.put(UInt64(lengthCount - 4), 4)
    for at in 0..<lengthCount {
      writer.put(UInt64(lengths.length(DeflateSymbols.toldSymbol(at))), 3)
    }
    for at in 0..<count {
      let symbol = Int(items[at] & 31)
      let count = lengths.length(symbol)
      let extra = UInt64(items[at] >> 5) &<< UInt64(truncatingIfNeeded: count)
      writer.put(UInt64(lengths.codes[symbol] & 0xFFFF) | extra, count &+ Self.extra(symbol))
    }
  }
}

/// The codes that a reader knows without being told.
///
/// Proof of the pointers in both: `init` alone writes to them, and they are never let go.
struct FixedCodes: Sendable {
  static let shared = FixedCodes()
  nonisolated(unsafe) let literals = HuffmanCode(symbolCount: 288, lengthMax: 15)
  nonisolated(unsafe) let distances = HuffmanCode(symbolCount: 30, lengthMax: 15)

  private init() {
    literals.make(lengths: DeflateSymbols.fixedLength)
    distances.make { _ in DeflateSymbols.fixedDistanceLength }
  }
}

/// The symbols of lengths, which count from 0 for 257, and of distances.
///
/// Proof of the pointers: `init` alone writes to them, and they are never let go; lengths are at most 258,
/// distances at most 32,768.
struct DeflateSymbols: Sendable {
  static let shared = DeflateSymbols()
  nonisolated(unsafe) private let lengths: UnsafeMutablePointer<Length>
  /// Of a distance less one below 256; behind those, of every 128th.
  nonisolated(unsafe) private let distances: UnsafeMutablePointer<UInt8>

  private init() {
    lengths = .allocate(capacity: 259)
    lengths.initialize(repeating: Length(0, of: 0), count: 259)
    distances = .allocate(capacity: 512)
    distances.initialize(repeating: 0, count: 512)
    // A later symbol takes what an earlier one claimed: 258 has one of its own.
    for symbol in 0..<29 {
      for length in Self.lengthBase(symbol)...258 { lengths[length] = Length(length, of: symbol) }
    }
    for symbol in 0..<30 {
      for less in Self.distanceBase(symbol) - 1..<Self.distanceBase(symbol + 1) - 1 {
        distances[less < 256 ? less : 256 + less >> 7] = UInt8(symbol)
      }
    }
  }

  /// How a length is written.
  struct Length {
    private let bits: UInt32

    /// Where a length of 3 to 258 isn't the symbol's, it is not looked up.
    fileprivate init(_ length: Int, of symbol: Int) {
      let excess = max(0, length - DeflateSymbols.lengthBase(symbol))
      bits = UInt32(symbol | DeflateSymbols.lengthExtra(symbol) << 8 | excess << 16)
    }

    @inline(__always)
    var symbol: Int { Int(bits & 0xFF) }
    /// By how much it exceeds the shortest of its symbol, in so many bits.
    @inline(__always)
    var excess: Int { Int(bits &>> 16) }
    @inline(__always)
    var extra: Int { Int(bits &>> 8 & 0xFF) }
  }

  @inline(__always)
  func length(_ length: Int) -> Length { lengths[length] }

  @inline(__always)
  func ofDistance(_ distance: Int) -> Int {
    let less = distance &- 1
    return Int(distances[less < 256 ? less : 256 &+ less &>> 7])
  }

  /// How many bits a literal or a length takes in the code that readers know without being told …
  static func fixedLength(_ symbol: Int) -> Int {
    symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8
  }
  /// … and a distance.
  static let fixedDistanceLength = 5

  /// The symbols of the code for lengths, in the order in which their own lengths are told.
  static func toldSymbol(_ at: Int) -> Int { Int(toldOrder[at]) }
  private static let toldOrder: InlineArray<19, UInt8> = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
  ]

  /// The shortest length of a symbol.
  @inline(__always)
  static func lengthBase(_ symbol: Int) -> Int {
    if symbol < 8 { return symbol &+ 3 }
    if symbol == 28 { return 258 }
    return (4 &+ (symbol & 3)) &<< ((symbol &>> 2) &- 1) &+ 3
  }

  /// How many bits say how far a length exceeds that.
  @inline(__always)
  static func lengthExtra(_ symbol: Int) -> Int {
    symbol < 8 || symbol == 28 ? 0 : (symbol &>> 2) &- 1
  }

  /// The shortest distance of a symbol.
  @inline(__always)
  static func distanceBase(_ symbol: Int) -> Int {
    symbol < 2 ? symbol &+ 1 : (2 &+ (symbol & 1)) &<< ((symbol &>> 1) &- 1) &+ 1
  }

  @inline(__always)
  static func distanceExtra(_ symbol: Int) -> Int { symbol < 4 ? 0 : (symbol &>> 1) &- 1 }
}

/// Bits, the first one lowest, written eight bytes at a time.
struct BitWriter {
  // Proof of the pointer: the output has room for all that is written and 8 bytes more, as
  // `Deflater.bound` has it.
  private let start: UnsafeMutableRawPointer
  private var next: UnsafeMutableRawPointer
  private var bits: UInt64 = 0
  /// Below 8 between calls.
  private var count = 0

  init(_ output: UnsafeMutableRawBufferPointer) {
    start = output.baseAddress!
    next = start
  }

  /// Writes at most 56 bits.
  @inline(__always)
  mutating func put(_ value: UInt64, _ valueCount: Int) {
    bits |= value &<< UInt64(truncatingIfNeeded: count)
    count &+= valueCount
    next.storeBytes(of: bits.littleEndian, as: UInt64.self)
    let whole = count &>> 3
    next += whole
    bits = bits &>> UInt64(truncatingIfNeeded: whole &<< 3)
    count &= 7
  }

  /// Goes to the next byte's beginning.
  mutating func align() {
    if count > 0 { put(0, 8 - count) }
  }

  /// Appends whole bytes. Between bytes only.
  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    next.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    next += bytes.count
  }

  /// How many bits were written since a copy was made.
  func bitCount(since start: BitWriter) -> Int { 8 * (next - start.next) + count - start.count }

  /// - Returns: how many bytes were written, the last one filled up with zeros.
  mutating func finish() -> Int {
    align()
    return next - start
  }
}
