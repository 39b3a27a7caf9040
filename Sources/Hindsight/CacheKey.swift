import HindsightCore

/// How a registry's and a package's name become a key.
public enum KeyRules: Sendable, Hashable {
  /// Lowercase, `_` becomes `-`: one rule for every registry, as the origin system had it.
  case standard
  /// What each registry itself treats as the same package: PyPI folds runs of `-`, `_` and `.` to
  /// one `-` (PEP 503) and drops them at both ends, so that a name of nothing else throws `.invalidKey`;
  /// npm keeps `_`, since `a_b` and `a-b` are different packages there; crates.io folds `_` to `-`. Other
  /// registries get the standard rule.
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
    var rawValue = rawValue
    guard let key = rawValue.withUTF8({ Self(utf8: UnsafeRawBufferPointer($0)) }) else {
      throw Self.wrongLength(rawValue.utf8.count)
    }
    self = key
  }

  /// - Returns: `nil` unless there are 1 to 1,024 bytes.
  private init?(utf8 bytes: UnsafeRawBufferPointer) {
    guard (1...Bounds.keyByteCountMax).contains(bytes.count) else { return nil }
    byteCount = UInt32(bytes.count)
    long = byteCount > Self.inlineByteCountMax ? Array(bytes) : nil
    hash = KeyHash.hash(bytes, seed: Self.hashSeed)
    guard long == nil else { return }
    withUnsafeMutableBytes(of: &inline) { $0.copyMemory(from: bytes) }
  }

  /// The key `registry:package`, both parts normalized.
  ///
  ///     try CacheKey(registry: "PyPI", package: "My_Package").rawValue == "pypi:my-package"
  /// - Throws: `CacheError.Code.invalidKey` if a part is empty, or would be once it is normalized, the
  ///   registry holds a colon, or the whole is over 1,024 UTF-8 bytes.
  public init(registry: String, package: String, rules: KeyRules = .standard) throws(CacheError) {
    guard !registry.isEmpty, !package.isEmpty else {
      throw CacheError(.invalidKey, "a key needs a registry and a package, neither of them empty")
    }
    var (registry, package) = (Self.lowercased(registry), Self.lowercased(package))
    let room = registry.utf8.count + 1 + package.utf8.count
    let made = withUnsafeTemporaryAllocation(byteCount: room, alignment: 1) { buffer in
      var folded = FoldedBytes(buffer)
      folded.append(&registry, .underscores)
      let hasColon = folded.bytes.contains(UInt8(ascii: ":"))
      let folding = rules == .standard ? .underscores : Folding(registry: folded.bytes)
      folded.append(UInt8(ascii: ":"))
      let start = folded.bytes.count
      folded.append(&package, folding)
      let isEmpty = folded.bytes.count == start
      return (
        key: Self(utf8: folded.bytes), byteCount: folded.bytes.count, hasColon: hasColon,
        isEmpty: isEmpty
      )
    }
    guard !made.isEmpty else {
      throw CacheError(.invalidKey, "the package '\(package)' holds nothing but '-', '_' and '.'")
    }
    guard !made.hasColon else {
      throw CacheError(.invalidKey, "the registry '\(registry)' holds a colon")
    }
    guard let key = made.key else { throw Self.wrongLength(made.byteCount) }
    self = key
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

  /// `registry` as a key begins with it.
  static func fold(registry: String) -> String {
    var registry = lowercased(registry)
    return withUnsafeTemporaryAllocation(byteCount: registry.utf8.count, alignment: 1) { buffer in
      var folded = FoldedBytes(buffer)
      folded.append(&registry, .underscores)
      return String(decoding: folded.bytes, as: UTF8.self)
    }
  }

  /// `part` lowercased as far as it isn't ASCII: `FoldedBytes` does the rest.
  private static func lowercased(_ part: String) -> String {
    var part = part
    let bits = part.withUTF8 { $0.reduce(0, |) }
    return bits < 0x80 ? part : part.lowercased()
  }

  private static func wrongLength(_ byteCount: Int) -> CacheError {
    CacheError(
      .invalidKey,
      "a key must have 1 to \(Bounds.keyByteCountMax) UTF-8 bytes; this one has \(byteCount)")
  }
}

/// What becomes of a name's punctuation.
private enum Folding {
  case none
  /// `_` becomes `-`.
  case underscores
  /// Each run of `-`, `_` and `.` becomes one `-` (PEP 503), and none at the ends, where no name has one
  /// (PEP 508).
  case runs

  /// What `registry`, folded, does itself.
  init(registry: UnsafeRawBufferPointer) {
    if registry.elementsEqual("pypi".utf8) {
      self = .runs
    } else {
      self = registry.elementsEqual("npm".utf8) ? .none : .underscores
    }
  }
}

/// The parts of a key, folded byte by byte as they are written: what folding changes is ASCII, and no
/// byte of a longer scalar is.
private struct FoldedBytes {
  private let buffer: UnsafeMutableRawBufferPointer
  private var count = 0

  /// None yet, in a buffer that has room for all that are appended.
  init(_ buffer: UnsafeMutableRawBufferPointer) { self.buffer = buffer }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[..<count]) }

  mutating func append(_ byte: UInt8) {
    buffer[count] = byte
    count += 1
  }

  /// Appends a part, its ASCII letters lowercased.
  mutating func append(_ part: inout String, _ folding: Folding) {
    part.withUTF8 { part in
      switch folding {
      case .none: for byte in part { append(Self.lowercased(byte)) }
      case .underscores:
        for byte in part {
          append(byte == UInt8(ascii: "_") ? UInt8(ascii: "-") : Self.lowercased(byte))
        }
      case .runs: appendRuns(part)
      }
    }
  }

  private mutating func appendRuns(_ part: UnsafeBufferPointer<UInt8>) {
    let start = count
    var isAfterRun = false
    for byte in part {
      if byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".") {
        isAfterRun = count > start
      } else {
        if isAfterRun { append(UInt8(ascii: "-")) }
        isAfterRun = false
        append(Self.lowercased(byte))
      }
    }
  }

  private static func lowercased(_ byte: UInt8) -> UInt8 {
    (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
  }
}
