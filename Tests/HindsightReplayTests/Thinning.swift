/// Under a sanitizer everything takes some ten times as long: of very many cases alike, one in so many
/// is tried there, others each time.
enum Thinning {
  #if HINDSIGHT_ASAN || HINDSIGHT_TSAN
    static let step = 11
  #else
    static let step = 1
  #endif

  /// Where to begin: 0 to `step` - 1.
  static var start: Int { Int.random(in: 0..<step) }
}
