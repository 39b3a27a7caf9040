import HindsightTesting

/// The lines that `hindsight exec` is sent, and what its replies say.
enum Lines {
  static func key(_ number: Int, group: Int) -> String { "g\(group):\(number)" }

  static func line(_ change: Model.Change, _ model: Model) -> String {
    switch change {
    case .set(let key, let value, let ttl):
      let ttl = ttl.map { ",\"ttl\":\(Double($0) / 1e9)" } ?? ""
      return "{\"op\":\"set\",\(field(key, model)),\"value\":\"\(text(value))\"\(ttl)}"
    case .invalidate(let key): return "{\"op\":\"invalidate\",\(field(key, model))}"
    case .clear(let group): return "{\"op\":\"clear\",\"prefix\":\"g\(group):\"}"
    case .sync: return "{\"op\":\"sync\"}"
    case .get(let key): return "{\"op\":\"get\",\(field(key, model))}"
    }
  }

  private static func field(_ key: Int, _ model: Model) -> String {
    "\"key\":\"\(self.key(key, group: model.group(of: key)))\""
  }

  /// A value is its number and a tail that only this number has: anything mixed up shows.
  static func text(_ value: UInt64) -> String {
    var random = SplitMix64(seed: value)
    let count = [0, 2, 20, 60, 120, 400].randomElement(using: &random)!
    return "\(value):" + (0..<count).map { _ in String(random.next(), radix: 36) }.joined()
  }

  /// The number of a value that is whole.
  static func number(_ text: String) -> UInt64? {
    guard let number = text.split(separator: ":").first.flatMap({ UInt64($0) }),
      self.text(number) == text
    else { return nil }
    return number
  }
}

extension Lines {
  /// The number of a value as it stands in the journal.
  static func number(json: some Collection<UInt8>) -> UInt64? {
    guard let text = String(validating: json, as: UTF8.self), text.count > 2 else { return nil }
    return number(String(text.dropFirst().dropLast()))
  }
}

/// A reply, as far as the driver reads it.
struct Reply {
  let fields: JSONValue
  let text: String

  init(_ line: ArraySlice<UInt8>) throws {
    text = String(decoding: line, as: UTF8.self)
    do {
      fields = try JSONParser.parse(line)
    } catch {
      throw CrashTestError("exec printed what is no JSON: \(text)")
    }
  }

  func number(_ name: String) -> UInt64? {
    if case .number(let digits)? = fields[name] { return UInt64(digits) }
    return nil
  }

  /// The error's code, where the reply is one.
  var code: String? {
    guard case .string(let code)? = fields["error"].flatMap({ $0["code"] }) else { return nil }
    return code
  }

  var value: String? {
    if case .string(let text)? = fields["value"] { return text }
    return nil
  }
}
