import Hindsight

extension Scenario {
  /// Parses a scenario file.
  /// - Parameter file: its name, for errors.
  /// - Throws: `ScenarioError` at the first line that is none.
  public init(parsing bytes: [UInt8], file: String) throws(ScenarioError) {
    guard bytes.count <= Self.fileByteCountMax else {
      throw ScenarioError(file: file, line: 1, message: "the file is over 64 MiB")
    }
    steps = []
    var number = 0
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      do throws(LineError) {
        guard line.count <= Self.lineByteCountMax else { throw LineError("the line is too long") }
        var parser = LineParser(line)
        guard let (command, expected) = try parser.step() else { continue }
        steps.append(Step(line: number, command: command, expected: expected))
      } catch {
        throw ScenarioError(file: file, line: number, message: error.message)
      }
    }
  }
}

struct LineError: Error, CustomStringConvertible {
  var message: String
  var description: String { message }
  init(_ message: String) { self.message = message }
}

/// Parses one line of a scenario file.
struct LineParser {
  private let bytes: ArraySlice<UInt8>
  private var at: Int

  init(_ line: ArraySlice<UInt8>) {
    bytes = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    at = bytes.startIndex
  }

  /// The line's command and expectation; `nil` for a blank line or a comment.
  mutating func step() throws(LineError) -> (Scenario.Command, Scenario.Expectation?)? {
    guard let name = try word() else { return nil }
    let command = try command(name)
    guard let arrow = try word() else { return (command, nil) }
    guard arrow == "->" else {
      throw LineError("expected '->' or the line's end, found '\(arrow)'")
    }
    let expected = try expectation(command)
    if let rest = try word() { throw LineError("unexpected '\(rest)' at the line's end") }
    return (command, expected)
  }

  private mutating func command(_ name: String) throws(LineError) -> Scenario.Command {
    switch name {
    case "config": return .config(try options())
    case "clock": return .clock(try instant(try need("a time")))
    case "advance": return .advance(try duration(try need("a duration")))
    case "set": return try set()
    case "get": return .get(try key())
    case "contains": return .contains(try key())
    case "invalidate":
      let key = try key()
      return .invalidate(key, reason: try onlyReason(try options()))
    case "clear":
      let prefix = peekWord.flatMap { $0 == "->" ? nil : $0 }
      if prefix != nil { _ = try word() }
      return .clear(prefix: prefix ?? "")
    case "cleanup": return .cleanup
    case "count": return .count
    case "settle": return .settle
    case "restart": return .restart
    case "crash": return .crash
    case "verify": return .verify
    default: throw LineError("unknown command '\(name)'")
    }
  }

  private mutating func set() throws(LineError) -> Scenario.Command {
    let key = try key()
    var memory: Double?
    var store: Double?
    var reason: String?
    for (name, value) in try options() {
      switch name {
      case "ttl":
        memory = try seconds(value)
        store = memory
      case "memory-ttl": memory = try seconds(value)
      case "store-ttl": store = try seconds(value)
      case "reason": reason = value
      default: throw LineError("unknown option '\(name)'")
      }
    }
    return .set(key, value: try json(), memoryTTL: memory, storeTTL: store, reason: reason)
  }

  private mutating func expectation(
    _ command: Scenario.Command
  ) throws(LineError) -> Scenario.Expectation {
    let first = try need("what is expected")
    if first == "error" { return .error(try need("an error code")) }
    switch command {
    case .get:
      if first == "miss" { return .miss }
      guard first == "hit" else { throw LineError("a get gives 'hit' or 'miss'") }
      let tier = try need("a tier")
      guard let tier = Tier.allCases.first(where: { $0.description == tier }) else {
        throw LineError("the tier is 'memory' or 'store', not '\(tier)'")
      }
      return .hit(tier, value: isAtEnd ? nil : try json())
    case .contains, .invalidate:
      guard first == "true" || first == "false" else {
        throw LineError("expected 'true' or 'false'")
      }
      return .bool(first == "true")
    case .clear, .count:
      let second = try need("store=…")
      return .counts(
        memory: try number(first, after: "memory="), store: try number(second, after: "store="))
    case .cleanup: return .number(try number(first, after: ""))
    case .verify, .set, .settle, .restart, .crash:
      guard first == "ok" else { throw LineError("expected 'ok'") }
      return .ok
    case .config, .clock, .advance: throw LineError("this command gives no result")
    }
  }

  // MARK: Words

  private var isAtEnd: Bool {
    mutating get {
      skipSpace()
      return at == bytes.endIndex || bytes[at] == UInt8(ascii: "#")
    }
  }

  private mutating func skipSpace() {
    while at < bytes.endIndex, bytes[at] == 0x20 || bytes[at] == 0x09 { at += 1 }
  }

  private var peekWord: String? {
    mutating get {
      guard !isAtEnd else { return nil }
      let end = bytes[at...].firstIndex { $0 == 0x20 || $0 == 0x09 } ?? bytes.endIndex
      return String(validating: bytes[at..<end], as: UTF8.self)
    }
  }

  /// The next word; `nil` at the line's end or before a comment.
  private mutating func word() throws(LineError) -> String? {
    guard !isAtEnd else { return nil }
    guard let word = peekWord else { throw LineError("the line is not UTF-8") }
    at += word.utf8.count
    return word
  }

  private mutating func need(_ what: String) throws(LineError) -> String {
    guard let word = try word() else { throw LineError("\(what) is missing") }
    return word
  }

  /// A raw key, or registry and package.
  private mutating func key() throws(LineError) -> String {
    let first = try need("a key")
    let key: CacheKey
    do throws(CacheError) {
      if first.contains(":") {
        key = try CacheKey(first)
      } else {
        key = try CacheKey(registry: first, package: try needPackage())
      }
    } catch {
      throw LineError(error.message)
    }
    return key.rawValue
  }

  private mutating func needPackage() throws(CacheError) -> String {
    do throws(LineError) {
      if peekWord == "->" { throw LineError("a package is missing; a key by itself has a ':'") }
      return try need("a package")
    } catch {
      throw CacheError(.invalidKey, error.message)
    }
  }

  /// Words `name=value`, up to something else. A value may be a JSON string.
  private mutating func options() throws(LineError) -> [(name: String, value: String)] {
    var options: [(name: String, value: String)] = []
    while let word = peekWord, let equals = word.firstIndex(of: "="),
      word[..<equals].allSatisfy({ $0.isLetter || $0 == "-" || $0 == "." }),
      equals > word.startIndex
    {
      let name = String(word[..<equals])
      at += name.utf8.count + 1
      if at < bytes.endIndex, bytes[at] == UInt8(ascii: "\"") {
        options.append((name, try quoted()))
      } else {
        options.append((name, try self.word() ?? ""))
      }
    }
    return options
  }

  private mutating func quoted() throws(LineError) -> String {
    guard case .string(let text) = try parse().value else { throw LineError("a string is missing") }
    return text
  }

  /// A JSON value, as it stands.
  private mutating func json() throws(LineError) -> [UInt8] {
    if isAtEnd { throw LineError("a JSON value is missing") }
    return [UInt8](try parse().text)
  }

  private mutating func parse() throws(LineError) -> (value: JSONValue, text: ArraySlice<UInt8>) {
    var parser = JSONParser(bytes[at...])
    do throws(JSONError) {
      let start = at
      let value = try parser.value()
      at = parser.offset
      return (value, bytes[start..<at])
    } catch {
      throw LineError("the JSON value is wrong at its \(error)")
    }
  }

  private func onlyReason(_ options: [(name: String, value: String)]) throws(LineError) -> String? {
    for option in options where option.name != "reason" {
      throw LineError("unknown option '\(option.name)'")
    }
    return options.last?.value
  }

  // MARK: Values

  private func number(_ word: String, after prefix: String) throws(LineError) -> Int {
    guard word.hasPrefix(prefix), let number = Int(word.dropFirst(prefix.count)), number >= 0 else {
      throw LineError("expected \(prefix)N, found '\(word)'")
    }
    return number
  }

  private func seconds(_ word: String) throws(LineError) -> Double {
    guard let seconds = Double(word) else { throw LineError("'\(word)' is no number of seconds") }
    return seconds
  }

  /// `61s`, `500ms`, `2m`, `1h`, `1d`, or several of them in a row.
  private func duration(_ word: String) throws(LineError) -> Duration {
    let units: [(String, Double)] = [
      ("ms", 0.001), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400),
    ]
    var rest = Substring(word)
    var total = 0.0
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
      rest = rest.dropFirst(digits.count)
      guard let count = Double(digits), let unit = units.first(where: { rest.hasPrefix($0.0) })
      else { throw LineError("'\(word)' is no duration like 61s, 500ms, 2m, 1h or 1d") }
      rest = rest.dropFirst(unit.0.count)
      total += count * unit.1
    }
    guard !word.isEmpty, total <= 3e9 else { throw LineError("'\(word)' is too long a time") }
    return .microseconds(Int64((total * 1_000_000).rounded()))
  }

  /// `2026-01-01T00:00:00Z`, fractions of a second allowed.
  private func instant(_ word: String) throws(LineError) -> Timestamp {
    guard let instant = Timestamp(iso8601: word) else {
      throw LineError("'\(word)' is no time like 2026-01-01T00:00:00Z")
    }
    return instant
  }
}

extension Timestamp {
  /// Parses `2026-01-01T00:00:00Z` with up to six digits of a second's fraction.
  package init?(iso8601 text: String) {
    let bytes = Array(text.utf8)
    func number(_ range: Range<Int>) -> Int64? {
      guard bytes.count >= range.upperBound,
        bytes[range].allSatisfy({ (48...57).contains($0) })
      else { return nil }
      return bytes[range].reduce(0) { $0 * 10 + Int64($1 - 48) }
    }
    guard bytes.count >= 20, bytes.last == UInt8(ascii: "Z"),
      let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
      let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
      [4, 7].allSatisfy({ bytes[$0] == UInt8(ascii: "-") }), bytes[10] == UInt8(ascii: "T"),
      [13, 16].allSatisfy({ bytes[$0] == UInt8(ascii: ":") }),
      (1...12).contains(month), day >= 1, day <= Self.dayCount(month, year),
      hour < 24, minute < 60, second < 60
    else { return nil }
    var fraction: Int64 = 0
    if bytes.count > 20 {
      guard bytes[19] == UInt8(ascii: "."), (22...27).contains(bytes.count),
        let digits = number(20..<bytes.count - 1)
      else { return nil }
      fraction = (0..<(26 - (bytes.count - 1))).reduce(digits) { value, _ in value * 10 }
    }
    // Days since 1970 in the proleptic Gregorian calendar (Howard Hinnant, chrono algorithms).
    let y = month <= 2 ? year - 1 : year
    let era = (y >= 0 ? y : y - 399) / 400
    let yearOfEra = y - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let days =
      era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second
    self.init(microseconds: seconds * 1_000_000 + fraction)
  }

  private static func dayCount(_ month: Int64, _ year: Int64) -> Int64 {
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    return month == 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
  }

  /// As `2026-01-01T00:00:00.000000Z`.
  package var iso8601: String {
    let (days, rest) = {
      let seconds = rawValue >= 0 ? rawValue / 1_000_000 : (rawValue - 999_999) / 1_000_000
      let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
      return (days, seconds - days * 86_400)
    }()
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra =
      (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    let micros = ((rawValue % 1_000_000) + 1_000_000) % 1_000_000
    func pad(_ number: Int64, _ count: Int) -> String {
      let digits = String(number)
      return String(repeating: "0", count: max(0, count - digits.count)) + digits
    }
    return "\(pad(year, 4))-\(pad(month, 2))-\(pad(dayOfYear - (153 * shifted + 2) / 5 + 1, 2))"
      + "T\(pad(rest / 3_600, 2)):\(pad(rest / 60 % 60, 2)):\(pad(rest % 60, 2)).\(pad(micros, 6))Z"
  }
}
