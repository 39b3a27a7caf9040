/// A JSON value (RFC 8259), parsed strictly and kept exactly: numbers stay text.
///
/// Scenario files need to know where a value ends on its line, and `exec` gives values back as they
/// came; Foundation's parser tells neither.
package enum JSONValue: Sendable {
  case null
  case bool(Bool)
  case number(String)
  case string(String)
  case array([JSONValue])
  case object([(name: String, value: JSONValue, range: Range<Int>)])

  /// Nested at most this deep.
  static let depthMax = 512
}

/// Why text is no JSON value, and where.
package struct JSONError: Error, Equatable, CustomStringConvertible {
  package var offset: Int
  package var message: String
  package var description: String { "offset \(offset): \(message)" }
}

extension JSONValue: Equatable {
  /// Objects are equal in any order; numbers by value.
  package static func == (a: JSONValue, b: JSONValue) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.bool(let a), .bool(let b)): a == b
    case (.number(let a), .number(let b)): a == b || Decimal(a).map { $0 == Decimal(b) } ?? false
    case (.string(let a), .string(let b)): a.utf8.elementsEqual(b.utf8)
    case (.array(let a), .array(let b)): a == b
    case (.object(let a), .object(let b)): fieldsAreEqual(a, b)
    default: false
    }
  }

  /// A number's sign, and its digits from the first to the last that isn't 0, as a fraction `0.digits`
  /// times a power of ten: each value is written in one way only. No digit is lost as in a Double.
  private struct Decimal: Equatable {
    private var isNegative = false
    private var digits: [UInt8]
    private var exponent = 0

    /// `nil` where the exponent is beyond all reason.
    init?(_ text: String) {
      let parts = text.utf8.split(whereSeparator: { $0 | 0x20 == UInt8(ascii: "e") })
      let fraction = parts[0].drop { $0 == UInt8(ascii: "-") }
        .split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      digits = fraction.flatMap { $0 }
      guard let last = digits.lastIndex(where: { $0 != UInt8(ascii: "0") }) else {
        digits = []
        return
      }
      digits.removeSubrange((last + 1)...)
      let zeros = digits.prefix { $0 == UInt8(ascii: "0") }.count
      digits.removeFirst(zeros)
      guard let power = parts.count > 1 ? Int(Substring(parts[1])) : 0,
        (-1 << 60...1 << 60).contains(power)
      else { return nil }
      exponent = power + fraction[0].count - zeros
      isNegative = text.hasPrefix("-")
    }
  }

  /// Sorted, so that objects of many fields take no longer than their number allows. What repeats
  /// its name keeps its order.
  private static func fieldsAreEqual(
    _ a: [(name: String, value: JSONValue, range: Range<Int>)],
    _ b: [(name: String, value: JSONValue, range: Range<Int>)]
  ) -> Bool {
    func sorted(_ fields: [(name: String, value: JSONValue, range: Range<Int>)]) -> [Int] {
      fields.indices.sorted { x, y in
        let (first, second) = (fields[x].name.utf8, fields[y].name.utf8)
        if first.elementsEqual(second) { return x < y }
        return first.lexicographicallyPrecedes(second)
      }
    }
    guard a.count == b.count else { return false }
    return zip(sorted(a), sorted(b)).allSatisfy { x, y in
      a[x].name.utf8.elementsEqual(b[y].name.utf8) && a[x].value == b[y].value
    }
  }

  /// The field of an object.
  package subscript(name: String) -> JSONValue? {
    guard case .object(let fields) = self else { return nil }
    return fields.last { $0.name == name }?.value
  }
}

/// Parses one JSON value out of UTF-8 bytes.
package struct JSONParser {
  private let bytes: ArraySlice<UInt8>
  private var at: Int
  private var depth = 0

  /// Where the parser stands: behind the value once it is parsed.
  package var offset: Int { at }

  package init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    at = bytes.startIndex
  }

  /// The one value that the bytes are, white space around it allowed.
  /// - Throws: `JSONError`.
  package static func parse(_ bytes: ArraySlice<UInt8>) throws(JSONError) -> JSONValue {
    var parser = JSONParser(bytes)
    let value = try parser.value()
    parser.skipSpace()
    guard parser.at == bytes.endIndex else { throw parser.error("something follows the value") }
    return value
  }

  /// The value that begins here, after white space.
  package mutating func value() throws(JSONError) -> JSONValue {
    skipSpace()
    guard let byte = peek else { throw error("a value is missing") }
    switch byte {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    default: return .number(try number())
    }
  }

  package mutating func skipSpace() {
    while let byte = peek, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { at += 1 }
  }

  // MARK: Parts

  private var peek: UInt8? { at < bytes.endIndex ? bytes[at] : nil }

  private func error(_ message: String) -> JSONError {
    JSONError(offset: at - bytes.startIndex, message: message)
  }

  private mutating func take(_ character: Character, _ what: String) throws(JSONError) {
    guard let byte = peek, byte == character.asciiValue else { throw error("expected \(what)") }
    at += 1
  }

  private mutating func enter() throws(JSONError) {
    depth += 1
    if depth > JSONValue.depthMax { throw error("nested more than \(JSONValue.depthMax) deep") }
    at += 1
    skipSpace()
  }

  private mutating func object() throws(JSONError) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var fields: [(name: String, value: JSONValue, range: Range<Int>)] = []
    if peek == UInt8(ascii: "}") {
      at += 1
      return .object([])
    }
    while true {
      skipSpace()
      let name = try string()
      skipSpace()
      try take(":", "a colon")
      skipSpace()
      let start = at
      let value = try value()
      fields.append((name, value, start..<at))
      skipSpace()
      if peek == UInt8(ascii: "}") {
        at += 1
        return .object(fields)
      }
      try take(",", "a comma or the object's end")
    }
  }

  private mutating func array() throws(JSONError) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var items: [JSONValue] = []
    if peek == UInt8(ascii: "]") {
      at += 1
      return .array([])
    }
    while true {
      items.append(try value())
      skipSpace()
      if peek == UInt8(ascii: "]") {
        at += 1
        return .array(items)
      }
      try take(",", "a comma or the array's end")
    }
  }

  private mutating func literal(
    _ text: StaticString, _ value: JSONValue
  ) throws(JSONError) -> JSONValue {
    for index in 0..<text.utf8CodeUnitCount {
      guard peek == text.utf8Start[index] else { throw error("unknown word") }
      at += 1
    }
    return value
  }

  private mutating func number() throws(JSONError) -> String {
    let start = at
    if peek == UInt8(ascii: "-") { at += 1 }
    if peek == UInt8(ascii: "0") { at += 1 } else { try digits() }
    if peek == UInt8(ascii: ".") {
      at += 1
      try digits()
    }
    if peek == UInt8(ascii: "e") || peek == UInt8(ascii: "E") {
      at += 1
      if peek == UInt8(ascii: "+") || peek == UInt8(ascii: "-") { at += 1 }
      try digits()
    }
    return String(decoding: bytes[start..<at], as: UTF8.self)
  }

  private mutating func digits() throws(JSONError) {
    let start = at
    while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { at += 1 }
    if at == start { throw error("a value or a digit is missing") }
  }

  private mutating func string() throws(JSONError) -> String {
    try take("\"", "a string")
    var text: [UInt8] = []
    while let byte = peek {
      at += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let string = String(validating: text, as: UTF8.self) else {
          throw error("the string is not UTF-8")
        }
        return string
      case UInt8(ascii: "\\"): try escape(into: &text)
      case 0..<0x20: throw error("a control character stands in a string")
      default: text.append(byte)
      }
    }
    throw error("the string does not end")
  }

  private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
    guard let byte = peek else { throw error("the string does not end") }
    at += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"): text.append(contentsOf: String(try scalar()).utf8)
    default: throw error("unknown escape")
    }
  }

  private mutating func scalar() throws(JSONError) -> Unicode.Scalar {
    let high = try hexadecimal()
    if let scalar = Unicode.Scalar(high) { return scalar }
    guard (0xD800..<0xDC00).contains(high), peek == UInt8(ascii: "\\") else {
      throw error("half of a surrogate pair")
    }
    at += 1
    try take("u", "the other half of a surrogate pair")
    let low = try hexadecimal()
    guard (0xDC00..<0xE000).contains(low),
      let scalar = Unicode.Scalar(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    else { throw error("half of a surrogate pair") }
    return scalar
  }

  private mutating func hexadecimal() throws(JSONError) -> UInt32 {
    guard bytes.endIndex - at >= 4 else { throw error("four hexadecimal digits are missing") }
    let text = String(decoding: bytes[at..<at + 4], as: UTF8.self)
    guard text.utf8.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let value = UInt32(text, radix: 16)
    else { throw error("four hexadecimal digits are missing") }
    at += 4
    return value
  }
}
