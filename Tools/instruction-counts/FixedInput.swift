import Hindsight

/// Keys and values that are the same in every process.
enum FixedInput {
  struct Entry: Sendable {
    var key: CacheKey
    var value: [UInt8]
  }

  /// Keys of about 20 bytes, values of about 380 that compress as package metadata does.
  static func entries(_ count: Int, named name: String) throws -> [Entry] {
    var state: UInt64 = 20_260
    return try (0..<count).map { at in
      var text = #"{"name":"\#(name)-\#(at)","exists":true,"registry":"pypi","description":""#
      while text.utf8.count < 370 {
        // The linear congruential generator of Knuth's MMIX.
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        text += words[Int(state >> 33) % words.count]
      }
      return Entry(
        key: try CacheKey("pypi:\(name)-\(1_000_000 + at)"), value: Array((text + #""}"#).utf8))
    }
  }

  private static let words = [
    "small ", "package ", "described ", "orchestration ", "reading ", "loading ", "based ",
    "software ", "synthesis ", "analysis ", "network ", "deep ", "antibody ", "vector ",
    "available ", "theory ", "file ", "system ", "using ", "syndicate ", "cancellation ", "tools ",
    "framework ", "async ", "client ", "server ", "parser ", "for ", "and ", "with ", "the ", "of ",
  ]
}
