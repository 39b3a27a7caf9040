import Testing

@testable import HindsightCore

@Suite("XXH64")
struct HashTests {
  /// From the reference implementation (python-xxhash): bytes i × 7 + 3, seeds 0 and 0x9E37….
  @Test(
    "agrees with the reference implementation at every branch of the algorithm",
    arguments: [
      (0, 0xef46_db37_51d8_e999, 0xc434_9fc9_3c01_0000),
      (1, 0x1f25_c8d0_bc1f_4bb6, 0x7982_6bcd_749d_267a),
      (3, 0x31d2_363f_52e5_64c9, 0x78ef_d775_75e2_6575),
      (4, 0x9bb6_4b7d_66ee_9fda, 0x6f0a_6c97_d68b_f353),
      (7, 0x9a7b_1499_59ce_60d8, 0xd97e_de93_c9d6_6a0d),
      (8, 0xdab9_9d95_c6f9_0092, 0xa2f1_e284_37a7_8a1b),
      (31, 0xa2aa_5f33_cc4a_6119, 0x7554_3727_1d1d_0a84),
      (32, 0x23c3_c17e_f790_fd97, 0xbf62_4b93_2c09_0428),
      (33, 0x50a7_cfc7_ba58_8784, 0x7ace_af1e_9d34_ea35),
      (63, 0x5e3e_54b4_31c7_493c, 0x2c8d_dce5_c85d_0d9d),
      (100, 0xa61f_8d4c_170f_e531, 0xf6d8_f65c_625a_bb4f),
      (200, 0xa6cb_3c09_bc82_9b24, 0x17e5_f0aa_6728_f859),
    ] as [(Int, UInt64, UInt64)])
  func vectors(count: Int, unseeded: UInt64, seeded: UInt64) {
    let bytes = Bytes((0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 + 3) })
    #expect(XXH64.hash(bytes) == unseeded)
    #expect(XXH64.hash(bytes, seed: 0x9E37_79B9_7F4A_7C15) == seeded)
  }

  @Test(
    "long keys that collide in XXH64 with half of all seeds have hashes of their own in the index")
  func longKeys() {
    let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    var inverse: UInt64 = 1
    for _ in 0..<6 { inverse = inverse &* (2 &- prime2 &* inverse) }
    #expect(inverse &* prime2 == 1)
    var words = (0..<UInt64(KeyHash.longByteCount / 8)).map { $0 &* 0x0101_0101_0101_0101 }
    let key = words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { [UInt8]($0) } }
    // The lane gains 2^62, after its rotation 2^29, and loses that again a block later.
    words[0] &-= 1 << 62
    words[4] &-= (1 << 29) &* prime1 &* inverse
    let other = words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { [UInt8]($0) } }
    var random = SystemRandomNumberGenerator()
    var collisions = 0
    for _ in 0..<200 {
      let seed = UInt64.random(in: 0 ... .max, using: &random)
      let (a, b) = (key[...], other[...])
      if XXH64.hash(a, seed: seed) == XXH64.hash(b, seed: seed) { collisions += 1 }
      let isSame = key.withUnsafeBytes { key in
        other.withUnsafeBytes { KeyHash.hash(key, seed: seed) == KeyHash.hash($0, seed: seed) }
      }
      #expect(!isSame, "seed \(seed)")
    }
    #expect(collisions > 50, "they would no longer tell anything: \(collisions)")
  }
}
