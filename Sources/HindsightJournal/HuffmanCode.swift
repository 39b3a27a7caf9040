/// A Huffman code of deflate (RFC 1951, 3.2.2), made anew for each block in memory that is allocated
/// once.
struct HuffmanCode {
  // Proof of the pointers: `init` allocates `symbolCount` elements of each (`countCount` of
  // `counts`), and the owner calls `deallocate` once, when it ends. Symbols come from the
  // deflater's own tables and lie below `symbolCount`; ranks lie below the number of symbols that
  // occur, of which `sortUsed` makes at least two. Lengths are below `countCount`.
  let symbolCount: Int
  private let lengthMax: Int
  /// How often each symbol occurs.
  let frequencies: UnsafeMutablePointer<UInt32>
  /// A symbol's bits, as they are written; 16 bits above them, how many.
  let codes: UnsafeMutablePointer<UInt32>
  /// The symbols that have a code, rarest first.
  private let order: UnsafeMutablePointer<UInt32>
  private let keys: UnsafeMutablePointer<Int>
  /// How many codes have so many bits; then the next code of each length.
  private let counts: UnsafeMutablePointer<Int>
  private static let countCount = 33

  init(symbolCount: Int, lengthMax: Int) {
    precondition(symbolCount >= 2 && symbolCount <= 288 && lengthMax <= 15)
    self.symbolCount = symbolCount
    self.lengthMax = lengthMax
    frequencies = .allocate(capacity: symbolCount)
    codes = .allocate(capacity: symbolCount)
    order = .allocate(capacity: symbolCount)
    keys = .allocate(capacity: symbolCount)
    counts = .allocate(capacity: Self.countCount)
    frequencies.initialize(repeating: 0, count: symbolCount)
    codes.initialize(repeating: 0, count: symbolCount)
    order.initialize(repeating: 0, count: symbolCount)
    keys.initialize(repeating: 0, count: symbolCount)
    counts.initialize(repeating: 0, count: Self.countCount)
  }

  func deallocate() {
    frequencies.deallocate()
    codes.deallocate()
    order.deallocate()
    keys.deallocate()
    counts.deallocate()
  }

  func clearFrequencies() { frequencies.update(repeating: 0, count: symbolCount) }

  /// How many bits a symbol takes; 0 where it has no code.
  @inline(__always)
  func length(_ symbol: Int) -> Int { Int(codes[symbol] >> 16) }

  /// Makes the code that suits the frequencies best. At least two symbols get one, as with zlib: what
  /// reads it then never meets an incomplete code.
  func make() {
    let count = sortUsed()
    measureLengths(count)
    limitLengths()
    codes.update(repeating: 0, count: symbolCount)
    var rank = count
    for length in 1...lengthMax {
      for _ in 0..<counts[length] {
        rank -= 1
        codes[Int(order[rank])] = UInt32(length) << 16
      }
    }
    assignBits()
  }

  /// Makes the code that has these lengths.
  func make(lengths: (Int) -> Int) {
    counts.update(repeating: 0, count: Self.countCount)
    for symbol in 0..<symbolCount {
      counts[lengths(symbol)] += 1
      codes[symbol] = UInt32(lengths(symbol)) << 16
    }
    assignBits()
  }

  /// How many bits everything that was counted takes, in this code or in another one.
  func bitCount(in code: HuffmanCode) -> Int {
    let (frequencies, codes) = (frequencies, code.codes)
    // A block has at most 2^15 tokens, of 15 bits at most.
    var bits: UInt32 = 0
    for symbol in 0..<min(symbolCount, code.symbolCount) {
      bits &+= frequencies[symbol] &* (codes[symbol] &>> 16)
    }
    return Int(bits)
  }

  // MARK: Steps

  /// Puts the symbols that occur into `order`, rarest first, and their frequencies into `keys`.
  /// - Returns: how many there are.
  private func sortUsed() -> Int {
    var count = 0
    for symbol in 0..<symbolCount where frequencies[symbol] > 0 {
      order[count] = frequencies[symbol] << 9 | UInt32(truncatingIfNeeded: symbol)
      count += 1
    }
    var absent = 0
    while count < 2 {
      if frequencies[absent] == 0 {
        order[count] = 1 << 9 | UInt32(absent)
        count += 1
      }
      absent += 1
    }
    // Shell's sort; gaps 22, 15, 8 and 1 come last.
    if count > 132 { sort(count, 132) }
    if count > 57 { sort(count, 57) }
    for gap in stride(from: 22, to: 0, by: -7) { sort(count, gap) }
    for rank in 0..<count {
      keys[rank] = Int(order[rank] >> 9)
      order[rank] &= 0x1FF
    }
    return count
  }

  private func sort(_ count: Int, _ gap: Int) {
    var at = gap
    while at < count {
      let key = order[at]
      var hole = at
      while hole >= gap, order[hole - gap] > key {
        order[hole] = order[hole - gap]
        hole -= gap
      }
      order[hole] = key
      at += 1
    }
  }

  /// Counts how many codes have each length, were there no limit: Moffat and Katajainen, "In-Place
  /// Calculation of Minimum-Redundancy Codes" (1995). `keys` holds frequencies in ascending order, then
  /// parents, then depths.
  private func measureLengths(_ count: Int) {
    var root = 0
    var leaf = 0
    for next in 0..<count - 1 {
      var sum = 0
      for _ in 0..<2 {
        if leaf >= count || root < next && keys[root] < keys[leaf] {
          sum += keys[root]
          keys[root] = next
          root += 1
        } else {
          sum += keys[leaf]
          leaf += 1
        }
      }
      keys[next] = sum
    }
    keys[count - 2] = 0
    var node = count - 3
    while node >= 0 {
      keys[node] = keys[keys[node]] + 1
      node -= 1
    }
    counts.update(repeating: 0, count: Self.countCount)
    var open = 1
    var depth = 0
    node = count - 2
    while open > 0 {
      var inner = 0
      while node >= 0, keys[node] == depth {
        inner += 1
        node -= 1
      }
      counts[min(depth, Self.countCount - 1)] += open - inner
      open = 2 * inner
      depth += 1
    }
  }

  /// Shortens what is longer than the limit, and lengthens others until all fit again.
  private func limitLengths() {
    for length in lengthMax + 1..<Self.countCount {
      counts[lengthMax] += counts[length]
      counts[length] = 0
    }
    var total = 0
    for length in 1...lengthMax { total += counts[length] << (lengthMax - length) }
    while total > 1 << lengthMax {
      counts[lengthMax] -= 1
      var length = lengthMax - 1
      while counts[length] == 0 { length -= 1 }
      counts[length] -= 1
      counts[length + 1] += 2
      total -= 1
    }
  }

  /// Gives the symbols their bits, consecutive numbers for each length.
  private func assignBits() {
    var code = 0
    for length in 1...lengthMax {
      let count = counts[length]
      counts[length] = code
      code = (code + count) << 1
    }
    for symbol in 0..<symbolCount where codes[symbol] > 0 {
      let length = Int(codes[symbol] >> 16)
      let bits = Self.reversed(counts[length], length)
      counts[length] += 1
      codes[symbol] |= UInt32(bits)
    }
  }

  /// The lowest `length` bits of a code, at most 15, the other way round: as they are written.
  static func reversed(_ code: Int, _ length: Int) -> Int {
    var bits = UInt16(truncatingIfNeeded: code)
    bits = (bits & 0x5555) << 1 | (bits >> 1) & 0x5555
    bits = (bits & 0x3333) << 2 | (bits >> 2) & 0x3333
    bits = (bits & 0x0F0F) << 4 | (bits >> 4) & 0x0F0F
    return Int(bits.byteSwapped >> UInt16(16 - length))
  }
}
