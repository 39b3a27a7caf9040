import Hindsight
import HindsightCore
import HindsightReplay
import HindsightTesting

extension ResolvedEvent {
  /// Whether the event is about this key; every event is about `nil`. What says that history is missing is
  /// about every key.
  func isAbout(_ wanted: Bytes?) -> Bool {
    guard let wanted else { return true }
    switch record.event {
    case .gap: return true
    case .recovered(let recovered): return recovered.cause != .unclean
    case .cleared(let cleared): return wanted.starts(with: cleared.prefix)
    default: return key == wanted || touchedKeys.contains(wanted)
    }
  }

  /// As one line for people.
  var text: String {
    let fields = fields
    let details = fields.filter { $0.name != "value" }
      .map { "\($0.name)=\(Output.printable($0.text))" }
    let name = key.map { Output.printable($0) } ?? ""
    let value = fields.first { $0.name == "value" }.map { Output.printable($0.text) } ?? ""
    return
      ([
        "\(record.sequence)", record.at.iso8601, record.event.name, name,
      ] + details + [value]).filter { !$0.isEmpty }.joined(separator: " ")
  }

  /// As one line of JSON.
  var json: String {
    var parts = [
      "\"sequence\":\(record.sequence)", "\"at\":\(jsonString(record.at.iso8601))",
      "\"event\":\(jsonString(record.event.name))",
    ]
    if let key { parts.append("\"key\":\(jsonString(String(decoding: key, as: UTF8.self)))") }
    parts += fields.map { "\(jsonString($0.name)):\($0.json)" }
    return "{" + parts.joined(separator: ",") + "}"
  }

  private struct Field {
    var name: String
    var text: String
    var json: String

    init(_ name: String, _ number: some BinaryInteger) {
      self.name = name
      text = "\(number)"
      json = text
    }

    init(_ name: String, text: String) {
      self.name = name
      self.text = text
      json = jsonString(text)
    }

    init(_ name: String, json: String) {
      self.name = name
      text = json
      self.json = json
    }

    init?(_ name: String, _ text: String?) {
      guard let text else { return nil }
      self.init(name, text: text)
    }
  }

  private var fields: [Field] {
    switch record.event {
    case .opened(let opened): openedFields(opened)
    case .closed(let clean): [Field("clean", json: "\(clean)")]
    case .set(let set): setFields(set)
    case .invalidated(let it): subject(it.subject) + [Field("reason", it.reason)].compactMap { $0 }
    case .cleared(let it):
      [
        Field("prefix", text: String(decoding: it.prefix, as: UTF8.self)),
        Field("memory", it.memoryCount), Field("store", it.storeCount),
      ] + [Field("reason", it.reason)].compactMap { $0 }
    case .expired(let origin, let tier):
      [Field("origin", origin.rawValue), Field("tier", text: tier.description)]
    case .evicted(let origin, let tier, let cause):
      [
        Field("origin", origin.rawValue), Field("tier", text: tier.description),
        Field("cause", text: "\(cause)"),
      ]
    case .promoted(let origin, let expiry):
      [Field("origin", origin.rawValue), Field("memoryExpiry", text: expiry.iso8601)]
    case .touched(let origins):
      [Field("origins", json: list(origins))]
    case .lookedUp(let it, let outcome):
      subject(it) + [Field("outcome", text: "\(outcome)")]
    case .recovered(let it):
      [
        Field("cause", text: "\(it.cause)"), Field("segment", it.segment),
        Field("byteOffset", it.byteOffset), Field("byteCountDropped", it.byteCountDropped),
      ]
    case .gap(let gap):
      [
        Field("first", gap.first.rawValue), Field("last", gap.last.rawValue),
        Field("cause", text: "\(gap.cause)"),
      ]
    }
  }

  private func list(_ origins: [SequenceNumber]) -> String {
    var text = "["
    for origin in origins {
      if text.utf8.count > 1 { text += "," }
      text += origin.description
    }
    return text + "]"
  }

  private func subject(_ subject: LookupSubject) -> [Field] {
    switch subject {
    case .origin(let origin): [Field("origin", origin.rawValue)]
    case .key: []
    }
  }

  private func setFields(_ set: ValueSet) -> [Field] {
    let text = String(decoding: set.value, as: UTF8.self)
    return [
      Field("memoryExpiry", set.memoryExpiry?.iso8601),
      Field("storeExpiry", set.storeExpiry?.iso8601), Field("reason", set.reason),
      set.coder == 1 && isJSON(set.value)
        ? Field("value", json: text.shownAsJSON) : Field("bytes", set.value.count),
    ].compactMap { $0 }
  }

  private func isJSON(_ bytes: Bytes) -> Bool {
    do throws(JSONError) {
      _ = try JSONParser.parse(bytes)
      return true
    } catch {
      return false
    }
  }

  private func openedFields(_ opened: Opened) -> [Field] {
    let (memory, store) = (opened.memoryLimit, opened.storeLimit)
    return [
      Field("memoryEntries", memory.entryCountMax),
      memory.byteCountMax.map { Field("memoryBytes", $0) },
      Field("storeEntries", store?.entryCountMax ?? 0),
      store?.byteCountMax.map { Field("storeBytes", $0) },
      Field("memoryTTL", json: "\(opened.memoryTTL.seconds)"),
      Field("storeTTL", json: "\(opened.storeTTL.seconds)"),
      Field("access", text: opened.accessLog.description),
      Field("format", opened.formatVersion), Field("software", text: opened.softwareVersion),
    ].compactMap { $0 }
  }
}

extension Event {
  /// The name of the event, as the documentation has it.
  var name: String {
    switch self {
    case .opened: "opened"
    case .closed: "closed"
    case .set: "set"
    case .invalidated: "invalidated"
    case .cleared: "cleared"
    case .expired: "expired"
    case .evicted: "evicted"
    case .promoted: "promoted"
    case .touched: "touched"
    case .lookedUp: "lookedUp"
    case .recovered: "recovered"
    case .gap: "gap"
    }
  }
}
