/// What keys are filed under. It is never stored, and never shows.
public enum KeyHash {
  /// From this length on, XXH64 has keys that collide whatever the seed: two changes to one of its lanes, a
  /// block apart, cancel each other with half of all seeds, and a long key has room for many of them.
  static var longByteCount: Int { 64 }

  /// The hash of a key, such that nobody who chooses keys but doesn't know the seed can make many of them
  /// collide: XXH64, and for long keys the standard library's keyed hash.
  @inline(__always)
  public static func hash(_ key: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    key.count < longByteCount ? XXH64.hash(key, seed: seed) : long(key, seed)
  }

  @inline(never)
  private static func long(_ key: UnsafeRawBufferPointer, _ seed: UInt64) -> UInt64 {
    var hasher = Hasher()
    hasher.combine(seed)
    hasher.combine(bytes: key)
    return UInt64(bitPattern: Int64(hasher.finalize()))
  }
}
