import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightStore

/// Everything that reads bytes, as a fuzzer calls it. A target says what property bytes have broken;
/// a trap, a hang or boundless memory is for whoever runs it to notice.
public enum FuzzTarget: String, CaseIterable, Sendable {
  /// A byte that says whether it ends with a flush, then a raw deflate stream.
  case inflate
  /// A frame's events.
  case events
  /// A segment, as it is and with its checksums made right.
  case segment
  /// A checkpoint beside an empty segment; likewise.
  case checkpoint
  /// A directory: files in a row, each a byte for its kind, one for its number, two for its length.
  case directory
  /// A scenario file.
  case scenario
  /// A JSON value.
  case json
  /// Lines of `exec`.
  case exec
  /// A stream of recorded lookups, inflated.
  case lookups

  /// - Returns: the property that the bytes have broken; `nil` if none.
  public func run(_ bytes: [UInt8]) -> String? {
    switch self {
    case .inflate: return Self.inflate(bytes)
    case .events:
      for first in [1, 1 << 20, 1 << 62] as [UInt64] {
        let trip = JournalProbe.roundTrip(events: bytes, first: SequenceNumber(first))
        if trip?.isSame == false { return "decoded events change when they are encoded again" }
      }
      return nil
    case .segment: return journal([("00000001.journal", bytes)])
    case .checkpoint: return journal([("00000001.checkpoint", bytes)])
    case .directory: return journal(Self.files(bytes))
    case .scenario:
      do throws(ScenarioError) {
        _ = try Scenario(parsing: bytes, file: "fuzz")
      } catch {
        return error.line < 1 ? "an error without its line" : nil
      }
      return nil
    case .json: return json(bytes)
    case .exec: return FuzzedLines.check(operations: bytes)
    case .lookups: return FuzzedLines.check(lookups: bytes)
    }
  }

  // MARK: Compression

  /// Compares with zlib, which may take what ends in the middle of a block for flushed; we don't.
  private static func inflate(_ bytes: [UInt8]) -> String? {
    guard let kind = bytes.first else { return nil }
    let isFlushed = kind & 1 == 1
    let stream = Array(bytes.dropFirst())
    let marked = isFlushed ? stream + JournalProbe.flushMarker : stream
    switch ZlibInflater.inflate(marked, isFlushed: isFlushed, countMax: 1 << 20) {
    case .tooLong: return nil
    case .refused:
      let taken = [0, 1, 100, 10_000].contains {
        JournalProbe.inflate(stream, isFlushed: isFlushed, count: $0) != nil
      }
      return taken ? "zlib refuses what is taken" : nil
    case .bytes(let expected):
      for count in [expected.count - 1, expected.count + 1] where count >= 0 {
        if JournalProbe.inflate(stream, isFlushed: isFlushed, count: count) != nil {
          return "a wrong length is taken"
        }
      }
      let found = JournalProbe.inflate(stream, isFlushed: isFlushed, count: expected.count)
      if found == nil, isFlushed { return nil }
      return found == expected ? nil : "zlib inflates it otherwise"
    }
  }

  // MARK: Journals

  private static func files(_ bytes: [UInt8]) -> [(String, [UInt8])] {
    var files: [(String, [UInt8])] = []
    var rest = bytes[...]
    while rest.count >= 4 {
      let head = Array(rest.prefix(4))
      let suffix = head[0] & 1 == 0 ? ".journal" : ".checkpoint"
      let length = Int(head[2]) | Int(head[3]) << 8
      files.append(("0000000\(1 + head[1] % 4)" + suffix, Array(rest.dropFirst(4).prefix(length))))
      rest = rest.dropFirst(4 + length)
    }
    return files
  }

  private func journal(_ files: [(name: String, bytes: [UInt8])]) -> String? {
    var repaired = files
    for at in repaired.indices {
      if repaired[at].name.hasSuffix(".journal") {
        JournalProbe.repairChecksums(segment: &repaired[at].bytes)
      } else {
        JournalProbe.repairChecksums(checkpoint: &repaired[at].bytes)
      }
    }
    for files in [files, repaired] {
      let storage = SimulatedStorage()
      for (name, bytes) in files { storage.setBytes(bytes, of: name) }
      if let broken = FuzzedJournal(storage).check() { return broken }
    }
    return nil
  }

  // MARK: JSON

  private func json(_ bytes: [UInt8]) -> String? {
    let value: JSONValue
    do throws(JSONError) {
      value = try JSONParser.parse(bytes[...])
    } catch {
      return (0...bytes.count).contains(error.offset) ? nil : "an error outside the text"
    }
    let shown = String(decoding: bytes, as: UTF8.self).shownAsJSON
    guard shown.unicodeScalars.allSatisfy({ !$0.isUnsafeToShow }) else {
      return "something unsafe is shown"
    }
    do throws(JSONError) {
      return try JSONParser.parse(Array(shown.utf8)[...]) == value
        ? nil : "shown, it is another value"
    } catch {
      return "shown, it is no JSON: \(error)"
    }
  }
}
