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
  /// The key itself.
  public let rawValue: String

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
    self.rawValue = contiguous
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

  /// What stands before the first colon; `nil` where there is none.
  public var registry: Substring? {
    rawValue.utf8.firstIndex(of: UInt8(ascii: ":")).map { rawValue[..<$0] }
  }

  public var description: String { rawValue }

  public static func == (a: Self, b: Self) -> Bool {
    a.rawValue.utf8.elementsEqual(b.rawValue.utf8)
  }

  public func hash(into hasher: inout Hasher) {
    withBytes { hasher.combine(bytes: $0) }
  }

  /// Calls `body` with the key's bytes, which are valid during the call only.
  @inline(__always)
  func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    // The initializer made the string contiguous; the copy is what Swift asks for, not a deep one.
    var rawValue = rawValue
    let result: Result<R, E> = rawValue.withUTF8 { buffer in
      do throws(E) {
        return .success(try body(UnsafeRawBufferPointer(buffer)))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// The key's bytes, copied.
  var bytes: Bytes { Bytes(rawValue.utf8) }

  static func fold(_ part: String) -> String {
    String(part.lowercased().map { $0 == "_" ? "-" : $0 })
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
