extension Collection {
  /// All of them; under a sanitizer, where each takes some ten times as long, one in eleven, others
  /// each time.
  func thinnedForSanitizers() -> [Element] {
    #if HINDSIGHT_ASAN || HINDSIGHT_TSAN
      // Not a multiple of the four images that are taken before each call.
      let step = 11
      let start = Int.random(in: 0..<Swift.min(step, Swift.max(count, 1)))
      return enumerated().filter { $0.offset % step == start }.map(\.element)
    #else
      return Array(self)
    #endif
  }
}
