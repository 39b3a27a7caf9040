import Foundation
import Hindsight
import HindsightTesting

/// One line of JSON out of `exec`, its fields in a fixed order.
struct Reply {
  private(set) var json: String

  private init(_ fields: [(name: String, json: String)]) {
    json = "{" + fields.map { "\(jsonString($0.name)):\($0.json)" }.joined(separator: ",") + "}"
  }

  init(_ lookup: Lookup<[UInt8]>) {
    switch lookup {
    case .hit(let hit):
      self.init([
        ("hit", "true"), ("tier", jsonString(hit.tier.description)),
        ("value", Self.value(hit.value)), ("origin", "\(hit.origin)"),
        ("age", "\(hit.age.seconds)"), ("expiresIn", "\(hit.expiresIn.seconds)"),
      ])
    case .miss(let reason):
      self.init([("hit", "false"), ("why", jsonString(reason.rawValue))])
    }
  }

  /// A value as one line of JSON. What is none, though its coder says so, comes as a string: whoever
  /// wrote the journal must not write parts of the reply.
  static func value(_ bytes: [UInt8]) -> String {
    let text = String(decoding: bytes, as: UTF8.self)
    do throws(JSONError) {
      _ = try JSONParser.parse(bytes[...])
      return text.shownAsJSON
    } catch {
      return jsonString(text)
    }
  }

  static func sequence(_ sequence: SequenceNumber) -> Reply {
    Reply([("ok", "true"), ("sequence", "\(sequence)")])
  }

  static func removed(_ wasThere: Bool) -> Reply {
    Reply([("ok", "true"), ("removed", "\(wasThere)")])
  }

  static func cleaned(_ count: Int) -> Reply { Reply([("ok", "true"), ("removed", "\(count)")]) }

  static func counts(_ counts: TierCounts) -> Reply {
    Reply([("ok", "true"), ("memory", "\(counts.memory)"), ("store", "\(counts.store)")])
  }

  static func contains(_ isThere: Bool) -> Reply {
    Reply([("ok", "true"), ("contains", "\(isThere)")])
  }

  static func statistics(_ statistics: CacheStatistics) throws -> Reply {
    Reply([("ok", "true"), ("statistics", try Output.json(statistics))])
  }

  static func error(_ code: String, _ message: String) -> Reply {
    Reply([
      ("ok", "false"),
      ("error", "{\"code\":\(jsonString(code)),\"message\":\(jsonString(message))}"),
    ])
  }
}
