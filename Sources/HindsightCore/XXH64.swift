/// The XXH64 hash (xxhash.com, specification 0.1.1): of short keys for the index, of values for digests.
///
/// A published function, so that a digest can be checked by other programs.
public struct XXH64: Sendable {
  private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
  private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
  private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
  private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
  private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

  /// The hash of `bytes`. Linear in their number.
  public static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
    guard var at = bytes.baseAddress else { return avalanche(seed &+ prime5) }
    let count = bytes.count
    var result: UInt64
    if count >= 32 {
      var lane1 = seed &+ prime1 &+ prime2
      var lane2 = seed &+ prime2
      var lane3 = seed
      var lane4 = seed &- prime1
      let end = at + (count & ~31)
      repeat {
        lane1 = round(lane1, word(at))
        lane2 = round(lane2, word(at + 8))
        lane3 = round(lane3, word(at + 16))
        lane4 = round(lane4, word(at + 24))
        at += 32
      } while at != end
      result =
        rotate(lane1, 1) &+ rotate(lane2, 7) &+ rotate(lane3, 12) &+ rotate(lane4, 18)
      result = (result ^ round(0, lane1)) &* prime1 &+ prime4
      result = (result ^ round(0, lane2)) &* prime1 &+ prime4
      result = (result ^ round(0, lane3)) &* prime1 &+ prime4
      result = (result ^ round(0, lane4)) &* prime1 &+ prime4
    } else {
      result = seed &+ prime5
    }
    result &+= UInt64(truncatingIfNeeded: count)
    var rest = count & 31
    while rest >= 8 {
      result = rotate(result ^ round(0, word(at)), 27) &* prime1 &+ prime4
      at += 8
      rest &-= 8
    }
    if rest >= 4 {
      let half = UInt64(UInt32(littleEndian: at.loadUnaligned(as: UInt32.self)))
      result = rotate(result ^ (half &* prime1), 23) &* prime2 &+ prime3
      at += 4
      rest &-= 4
    }
    while rest > 0 {
      result = rotate(result ^ (UInt64(at.load(as: UInt8.self)) &* prime5), 11) &* prime1
      at += 1
      rest &-= 1
    }
    return avalanche(result)
  }

  /// The hash of `bytes`. Linear in their number.
  public static func hash(_ bytes: Bytes, seed: UInt64 = 0) -> UInt64 {
    bytes.withUnsafeBytes { hash($0, seed: seed) }
  }

  @inline(__always)
  private static func word(_ at: UnsafeRawPointer) -> UInt64 {
    UInt64(littleEndian: at.loadUnaligned(as: UInt64.self))
  }

  @inline(__always)
  private static func rotate(_ x: UInt64, _ n: UInt64) -> UInt64 { (x &<< n) | (x &>> (64 &- n)) }

  @inline(__always)
  private static func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
    rotate(lane &+ input &* prime2, 31) &* prime1
  }

  @inline(__always)
  private static func avalanche(_ x: UInt64) -> UInt64 {
    var h = x
    h = (h ^ (h &>> 33)) &* prime2
    h = (h ^ (h &>> 29)) &* prime3
    return h ^ (h &>> 32)
  }
}
