import HindsightTesting

/// Under a sanitizer everything takes some ten times as long: of very many cases alike, one in so many
/// is tried there, others each time.
enum Thinning {
  static let step = Sanitizer.isAny ? 11 : 1

  /// Where to begin: 0 to `step` - 1.
  static var start: Int { Int.random(in: 0..<step) }
}
