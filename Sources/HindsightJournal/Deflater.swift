import HindsightThreads

/// Compresses to raw deflate (RFC 1951), in parts that are flushed at their ends: what zlib's level 1 with
/// Z_SYNC_FLUSH gives, at half its cost.
///
/// Greedy, with one candidate: the last place where the next six bytes hashed to the same. For use by
/// one owner at a time. The same parts, from the same beginning, give the same bytes.
final class Deflater {
  // Proof of the pointers: all live from `init` to `deinit`.
  // - `window` has `Bounds.windowByteCount` bytes, `Bounds.distanceMax` in front of them and a slack of 8
  //   behind. `take` copies at most `Bounds.pieceByteCount` into it, behind at most `Bounds.distanceMax` that
  //   it keeps, and 8 zeros behind that: words are read at places below `filled`, so only what was written
  //   is read. What lies in front is read where a candidate is too far, and says nothing.
  // - Places in `table` count only at most `Bounds.distanceMax` back: bytes from there on are in the
  //   window, for `take` keeps so many, and the places of another stream are all further away.
  // - `findMatches` ends a block at `Bounds.tokenCountMax`.
  // - `deflate` checks that the output has `bound` bytes, and no block takes more than if it were stored;
  //   while a short one is tried, it takes at most 9 bits for each of its bytes, of which it has fewer than
  //   `ownCodesTokenCountMin` where it takes more than 8.
  let window: UnsafeMutablePointer<UInt8>
  /// Where a hash was last seen, counted through all that was ever compressed.
  private let table: UnsafeMutablePointer<UInt32>
  /// A literal's byte, or a match: distance × 512 + length.
  let tokens: UnsafeMutablePointer<UInt32>
  let literals = HuffmanCode(symbolCount: 286, lengthMax: 15)
  let distances = HuffmanCode(symbolCount: 30, lengthMax: 15)
  let lengths = HuffmanCode(symbolCount: 19, lengthMax: 7)
  /// The lengths of the first two codes, as they are told.
  var told = ToldLengths()
  let symbols = DeflateSymbols.shared

  /// The place of the window's first byte.
  private var base = Bounds.firstPlace
  /// Bytes in the window.
  private var filled = 0

  enum Bounds {
    static let distanceMax = 32 << 10
    /// What is copied into the window at once; there it goes on behind what matches may refer to.
    static let pieceByteCount = 128 << 10
    static let windowByteCount = distanceMax + pieceByteCount
    static let tokenCountMax = 32 << 10
    /// A shorter block gets no codes of its own: one event of a few hundred bytes has about 100.
    static let ownCodesTokenCountMin = 192
    static let hashBitCount = 15
    static let matchMin = 4
    static let matchMax = 258
    /// Of the places within a match, every fourth is noted.
    static let noteStride = 4
    /// Further than any distance from the 0 of a cell that is empty.
    static let firstPlace = UInt32(distanceMax + 1)
    /// Places are counted anew beyond this; a run is far shorter.
    static let placeMax: UInt32 = 1 << 31
  }

  init() {
    let front = Bounds.distanceMax
    window = .allocate(capacity: front + Bounds.windowByteCount + 8) + front
    (window - front).initialize(repeating: 0, count: front)
    tokens = .allocate(capacity: Bounds.tokenCountMax)
    table = .allocate(capacity: 1 << Bounds.hashBitCount)
    table.initialize(repeating: 0, count: 1 << Bounds.hashBitCount)
  }

  deinit {
    (window - Bounds.distanceMax).deallocate()
    tokens.deallocate()
    table.deallocate()
    for code in [literals, distances, lengths] { code.deallocate() }
    told.deallocate()
  }

  /// What follows is another stream.
  func reset() {
    base += UInt32(filled + Bounds.distanceMax)
    filled = 0
    if base > Bounds.placeMax {
      table.update(repeating: 0, count: 1 << Bounds.hashBitCount)
      base = Bounds.firstPlace
    }
  }

  /// Room that a part of so many bytes takes at most.
  static func bound(_ count: Int) -> Int {
    // Each block has at least `tokenCountMax` bytes, but for the last one of a piece.
    count + 16 * (count / Bounds.tokenCountMax + count / Bounds.pieceByteCount + 2) + 8
      + Bounds.ownCodesTokenCountMin / 8
  }

  /// Compresses the stream's next part.
  /// - Parameter output: at least `bound` bytes.
  /// - Returns: how many bytes that gave, less the four (00 00 FF FF) that end a flush.
  func deflate(_ raw: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
    precondition(output.count >= Self.bound(raw.count), "the output has no room for the worst case")
    var writer = BitWriter(output)
    var taken = 0
    while taken < raw.count {
      let count = min(Bounds.pieceByteCount, raw.count - taken)
      var at = take(UnsafeRawBufferPointer(rebasing: raw[taken..<taken + count]))
      while at < filled {
        StandingBack.ifAskedFor()
        let block = findMatches(from: at)
        write(block, &writer)
        at += block.byteCount
      }
      taken += count
    }
    // The flush: an empty stored block, whose length is what is left out.
    writer.put(0, 3)
    return writer.finish()
  }

  /// Copies bytes into the window.
  /// - Returns: where they begin.
  private func take(_ bytes: UnsafeRawBufferPointer) -> Int {
    if filled + bytes.count > Bounds.windowByteCount {
      let kept = min(filled, Bounds.distanceMax)
      window.update(from: window + (filled - kept), count: kept)
      base += UInt32(filled - kept)
      filled = kept
    }
    let start = filled
    let room = UnsafeMutableRawPointer(window)
    room.advanced(by: start).copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    filled += bytes.count
    room.storeBytes(of: 0, toByteOffset: filled, as: UInt64.self)
    return start
  }

  // MARK: Matches

  @inline(__always)
  private static func word<T: FixedWidthInteger>(_ at: UnsafeMutablePointer<UInt8>) -> T {
    T(littleEndian: UnsafeRawPointer(at).loadUnaligned(as: T.self))
  }

  /// A hash of the six bytes at a place.
  @inline(__always)
  private static func hash(_ at: UnsafeMutablePointer<UInt8>) -> Int {
    let bytes: UInt64 = word(at) << 16
    return Int((bytes &* 0x9E37_79B1_85EB_CA87) >> UInt64(64 - Bounds.hashBitCount))
  }

  /// How many bytes two places have in common, from `Bounds.matchMin` to `most`.
  @inline(__always)
  private static func match(
    _ first: UnsafeMutablePointer<UInt8>, _ second: UnsafeMutablePointer<UInt8>, _ most: Int
  ) -> Int {
    var count = Bounds.matchMin
    while count &+ 8 <= most {
      let difference: UInt64 = word(first + count) ^ word(second + count)
      if difference != 0 { return count &+ difference.trailingZeroBitCount &>> 3 }
      count &+= 8
    }
    while count < most, first[count] == second[count] { count &+= 1 }
    return count
  }

  /// Turns the window's bytes from `start` on into a block's tokens, and counts their symbols.
  ///
  /// Whether a candidate fits can't be foretold, so it takes one branch: what speaks against it is in
  /// `misfit`, whose bits are 0 where four bytes are the same and the distance is allowed.
  private func findMatches(from start: Int) -> DeflateBlock {
    let (window, table, symbols, base) = (window, table, symbols, base)
    let (literalCounts, distanceCounts) = (literals.frequencies, distances.frequencies)
    literals.clearFrequencies()
    distances.clearFrequencies()
    var block = DeflateBlock(start: start)
    let end = filled
    var token = tokens
    let tokenEnd = tokens + Bounds.tokenCountMax
    var at = start
    while at <= end &- Bounds.matchMin, token < tokenEnd {
      let here = window + at
      let place = base &+ UInt32(truncatingIfNeeded: at)
      let cell = table + Self.hash(here)
      let back = Int(place &- cell.pointee)
      cell.pointee = place
      let nearby = 1 &+ (back &- 1) & (Bounds.distanceMax &- 1)
      let difference: UInt32 = Self.word(here - nearby) ^ Self.word(here)
      let misfit = Int(difference) | (back &- 1) / Bounds.distanceMax
      guard misfit == 0 else {
        literalCounts[Int(here.pointee)] &+= 1
        token.pointee = UInt32(here.pointee)
        token += 1
        at &+= 1
        continue
      }
      let length = Self.match(here - back, here, min(Bounds.matchMax, end &- at))
      literalCounts[257 &+ symbols.length(length).symbol] &+= 1
      let far = symbols.ofDistance(back)
      distanceCounts[far] &+= 1
      token.pointee = UInt32(truncatingIfNeeded: back &<< 9 | length)
      token += 1
      let next = at &+ length
      at &+= 1
      while at < next {
        table[Self.hash(window + at)] = base &+ UInt32(truncatingIfNeeded: at)
        at &+= Bounds.noteStride
      }
      at = next
    }
    // Too little is left for a match.
    while at < end, token < tokenEnd {
      literalCounts[Int(window[at])] &+= 1
      token.pointee = UInt32(window[at])
      token += 1
      at &+= 1
    }
    literalCounts[256] = 1
    block.byteCount = at - start
    block.tokenCount = token - tokens
    return block
  }
}

/// A block's bytes in the window, and its tokens, which are the first ones.
struct DeflateBlock {
  let start: Int
  var byteCount = 0
  var tokenCount = 0

  init(start: Int) { self.start = start }
}
