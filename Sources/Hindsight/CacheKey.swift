import HindsightCore

/// How a registry's and a package's name become a key.
public enum KeyRules: Sendable, Hashable {
  /// Lowercase, `_` becomes `-`: one rule for every registry, as the origin system had it.
  case standard
  /// What each registry itself treats as the same package: PyPI folds runs of `-`, `_` and `.` to
  /// one `-` (PEP 503); npm keeps `_`, since `a_b` and `a-b` are different packages there;
  /// crates.io folds `_` to `-`. Other registries get the standard rule.
  case registryRules
}

/// A key: any string of 1 to 1,024 UTF-8 bytes, usually `registry:package` (S040).
///
/// Keys are compared as UTF-8 bytes, not by Unicode canonical equivalence: "é" written as one
/// scalar and as "e" with a combining accent are two keys. `registry:package` keys are lowercased
/// by Unicode's default mapping, which for names outside ASCII may change their length.
public struct CacheKey: Hashable, Sendable, CustomStringConvertible {
  /// Nearly all keys are this short, and kept in place: such a key has nothing to be retained, so
  /// passing it around costs no atomic operation, nor a cache miss for what it refers to.
  private static let inlineByteCountMax = 40
  private typealias Inline = (UInt64, UInt64, UInt64, UInt64, UInt64)

  private var inline: Inline = (0, 0, 0, 0, 0)
  /// A longer one's bytes.
  private let long: [UInt8]?
  private let byteCount: UInt32

  /// The hash under which every cache of this process files the key: computed once, when the key is
  /// made.
  let hash: UInt64

  /// Drawn once a process, so that nobody who chooses keys can make them collide.
  static let hashSeed = UInt64.random(in: 0 ... .max)

  /// A key as it stands.
  /// - Throws: `CacheError.Code.invalidKey` if it is empty or over 1,024 UTF-8 bytes.
  public init(_ rawValue: String) throws(CacheError) {
    var contiguous = rawValue
    contiguous.makeContiguousUTF8()
    guard (1...Bounds.keyByteCountMax).contains(contiguous.utf8.count) else {
      throw CacheError(
        .invalidKey,
        "a key must have 1 to \(Bounds.keyByteCountMax) UTF-8 bytes; this one has "
          + "\(contiguous.utf8.count)")
    }
    byteCount = UInt32(contiguous.utf8.count)
    long = byteCount > Self.inlineByteCountMax ? Array(contiguous.utf8) : nil
    hash = contiguous.withUTF8 { XXH64.hash(UnsafeRawBufferPointer($0), seed: Self.hashSeed) }
    guard long == nil else { return }
    withUnsafeMutableBytes(of: &inline) { $0.copyBytes(from: contiguous.utf8) }
  }

  /// The key `registry:package`, both parts normalized.
  ///
  ///     try CacheKey(registry: "PyPI", package: "My_Package").rawValue == "pypi:my-package"
  /// - Throws: `CacheError.Code.invalidKey` if a part is empty, the registry holds a colon, or
  ///   the whole is over 1,024 UTF-8 bytes.
  public init(registry: String, package: String, rules: KeyRules = .standard) throws(CacheError) {
    let registry = Self.fold(registry)
    guard !registry.isEmpty, !package.isEmpty else {
      throw CacheError(.invalidKey, "a key needs a registry and a package, neither of them empty")
    }
    guard !registry.utf8.contains(UInt8(ascii: ":")) else {
      throw CacheError(.invalidKey, "the registry '\(registry)' holds a colon")
    }
    try self.init(registry + ":" + Self.normalize(package, registry: registry, rules: rules))
  }

  /// The key itself.
  public var rawValue: String { withBytes { String(decoding: $0, as: UTF8.self) } }

  /// What stands before the first colon; `nil` where there is none.
  public var registry: Substring? {
    let rawValue = rawValue
    return rawValue.utf8.firstIndex(of: UInt8(ascii: ":")).map { rawValue[..<$0] }
  }

  public var description: String { rawValue }

  public static func == (a: Self, b: Self) -> Bool {
    a.hash == b.hash && a.withBytes { a in b.withBytes { b in a.elementsEqual(b) } }
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(hash) }

  /// Calls `body` with the key's bytes, which are valid during the call only.
  @inline(__always)
  func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    if let long {
      return try long.span.bytes.withUnsafeBytes { (long) throws(E) in try body(long) }
    }
    return try withUnsafeBytes(of: inline) { (inline) throws(E) in
      try body(UnsafeRawBufferPointer(start: inline.baseAddress, count: Int(byteCount)))
    }
  }

  /// The key's bytes, copied.
  var bytes: Bytes { withBytes { Bytes($0) } }

  static func fold(_ part: String) -> String {
    // Nearly all names are ASCII: those need no look at where their characters begin.
    guard part.utf8.allSatisfy({ $0 < 0x80 }) else {
      return String(part.lowercased().map { $0 == "_" ? "-" : $0 })
    }
    return String(unsafeUninitializedCapacity: part.utf8.count) { buffer in
      for (at, byte) in part.utf8.enumerated() {
        let folded = byte == UInt8(ascii: "_") ? UInt8(ascii: "-") : byte
        let isUpper = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(folded)
        buffer.initializeElement(at: at, to: isUpper ? folded | 0x20 : folded)
      }
      return part.utf8.count
    }
  }

  private static func normalize(_ package: String, registry: String, rules: KeyRules) -> String {
    switch (rules, registry) {
    case (.registryRules, "pypi"):
      return package.lowercased().split(
        omittingEmptySubsequences: true, whereSeparator: { $0 == "-" || $0 == "_" || $0 == "." }
      ).joined(separator: "-")
    case (.registryRules, "npm"): return package.lowercased()
    default: return fold(package)
    }
  }
}
