/// A Huffman code of deflate (RFC 1951, 3.2.2), made anew for each block in memory that is allocated
/// once.
struct HuffmanCode {
  // Proof of the pointers: `init` allocates `symbolCount` elements of each (one more of `used` and `keys`,
  // `countCount` of `counts`, `bucketCount` of `ranks`), and the owner calls `deallocate` once, when it ends.
  // Symbols come from the deflater's own tables and lie below `symbolCount`; ranks lie below the number of
  // symbols that occur, of which `findUsed` makes at least two. Lengths are below `countCount`.
  let symbolCount: Int
  private let lengthMax: Int
  /// How often each symbol occurs.
  let frequencies: UnsafeMutablePointer<UInt32>
  /// A symbol's bits, as they are written; 16 bits above them, how many.
  let codes: UnsafeMutablePointer<UInt32>
  /// The symbols that have a code, in their order …
  private let used: UnsafeMutablePointer<UInt32>
  /// … and rarest first.
  private let order: UnsafeMutablePointer<UInt32>
  private let keys: UnsafeMutablePointer<Int>
  /// The next rank of a symbol that occurs so often; those in the last one are sorted by comparing.
  private let ranks: UnsafeMutablePointer<Int>
  private static let bucketCount = 256
  /// How many codes have so many bits; then the next code of each length.
  private let counts: UnsafeMutablePointer<Int>
  private static let countCount = 33

  init(symbolCount: Int, lengthMax: Int) {
    precondition(symbolCount >= 2 && symbolCount <= 288 && lengthMax <= 15)
    self.symbolCount = symbolCount
    self.lengthMax = lengthMax
    frequencies = .allocate(capacity: symbolCount)
    codes = .allocate(capacity: symbolCount)
    used = .allocate(capacity: symbolCount + 1)
    order = .allocate(capacity: symbolCount)
    keys = .allocate(capacity: symbolCount + 1)
    ranks = .allocate(capacity: Self.bucketCount)
    counts = .allocate(capacity: Self.countCount)
    frequencies.initialize(repeating: 0, count: symbolCount)
    codes.initialize(repeating: 0, count: symbolCount)
    used.initialize(repeating: 0, count: symbolCount + 1)
    order.initialize(repeating: 0, count: symbolCount)
    keys.initialize(repeating: 0, count: symbolCount + 1)
    ranks.initialize(repeating: 0, count: Self.bucketCount)
    counts.initialize(repeating: 0, count: Self.countCount)
  }

  func deallocate() {
    frequencies.deallocate()
    codes.deallocate()
    used.deallocate()
    order.deallocate()
    keys.deallocate()
    ranks.deallocate()
    counts.deallocate()
  }

  func clearFrequencies() { frequencies.update(repeating: 0, count: symbolCount) }

  /// How many bits a symbol takes; 0 where it has no code.
  @inline(__always)
  func length(_ symbol: Int) -> Int { Int(codes[symbol] >> 16) }

  /// Makes the code that suits the frequencies best. At least two symbols get one, as with zlib: what
  /// reads it then never meets an incomplete code.
  func make() {
    let count = findUsed()
    sort(count)
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
    assignBits(count)
  }

  /// Makes the code that has these lengths.
  func make(lengths: (Int) -> Int) {
    counts.update(repeating: 0, count: Self.countCount)
    for symbol in 0..<symbolCount {
      counts[lengths(symbol)] += 1
      codes[symbol] = UInt32(lengths(symbol)) << 16
      used[symbol] = UInt32(symbol)
    }
    assignBits(symbolCount)
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

  // Which symbols occur, how often and where their codes part can't be foretold: the steps branch as little
  // as they can, for a branch taken in vain costs as much as a dozen instructions.

  /// Puts the symbols that occur into `used`, and others where those are fewer than two.
  /// - Returns: how many there are.
  private func findUsed() -> Int {
    var count = 0
    for symbol in 0..<symbolCount {
      used[count] = UInt32(truncatingIfNeeded: symbol)
      count &+= frequencies[symbol] > 0 ? 1 : 0
    }
    guard count < 2 else { return count }
    let only = count == 0 ? 0 : used[0]
    (used[0], used[1]) = only == 0 ? (0, 1) : (0, only)
    return 2
  }

  /// How often a symbol in `used` counts as occurring.
  @inline(__always)
  private func frequency(_ symbol: UInt32) -> Int { max(1, Int(frequencies[Int(symbol)])) }

  /// Puts the used symbols into `order`, rarest first, and their frequencies into `keys`.
  private func sort(_ count: Int) {
    let last = Self.bucketCount - 1
    ranks.update(repeating: 0, count: Self.bucketCount)
    for at in 0..<count { ranks[min(frequency(used[at]), last)] &+= 1 }
    var rarer = 0
    for bucket in 0..<Self.bucketCount {
      let here = ranks[bucket]
      ranks[bucket] = rarer
      rarer &+= here
    }
    let first = ranks[last]
    for at in 0..<count {
      let frequency = frequency(used[at])
      let rank = ranks[min(frequency, last)]
      ranks[min(frequency, last)] = rank &+ 1
      order[rank] = used[at]
      keys[rank] = frequency
    }
    sortByComparing(first, count)
  }

  /// Sorts the ranks from `first` on, which few symbols have: of a block's tokens, each takes hundreds.
  private func sortByComparing(_ first: Int, _ count: Int) {
    var at = first + 1
    while at < count {
      let (key, symbol) = (keys[at], order[at])
      var hole = at
      while hole > first, keys[hole - 1] > key {
        keys[hole] = keys[hole - 1]
        order[hole] = order[hole - 1]
        hole -= 1
      }
      keys[hole] = key
      order[hole] = symbol
      at += 1
    }
  }

  /// Counts how many codes have each length, were there no limit: Moffat and Katajainen, "In-Place
  /// Calculation of Minimum-Redundancy Codes" (1995). `keys` holds frequencies in ascending order, then
  /// parents, then depths.
  private func measureLengths(_ count: Int) {
    var root = 0
    var leaf = 0
    for next in 0..<count &- 1 {
      var sum = 0
      for _ in 0..<2 {
        let inner = root < next ? keys[root] : .max
        let outer = leaf < count ? keys[leaf] : .max
        let isInner = inner < outer
        sum &+= min(inner, outer)
        // A leaf isn't told its parent: that goes to a place that nobody reads.
        keys[isInner ? root : symbolCount] = next
        root &+= isInner ? 1 : 0
        leaf &+= isInner ? 0 : 1
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

  /// Gives so many symbols of `used` their bits, consecutive numbers for each length.
  private func assignBits(_ usedCount: Int) {
    var code = 0
    for length in 1...lengthMax {
      let count = counts[length]
      counts[length] = code
      code = (code + count) << 1
    }
    for at in 0..<usedCount {
      let symbol = Int(used[at])
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
