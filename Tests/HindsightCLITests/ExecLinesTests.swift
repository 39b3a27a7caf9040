import HindsightTesting
import Testing

@testable import HindsightCLI

/// How `exec` takes its lines.
@Suite("The command line: exec's lines")
struct ExecLinesTests {
  @Test("with several writers, what is about no single key waits for all lines before it")
  func writers() throws {
    let scratch = try TemporaryDirectory()
    var lines: [String] = []
    for round in 0..<10 {
      lines += (0..<30).map { #"{"op":"set","key":"k:\#($0)","value":\#(round)}"# }
      lines += [#"{"op":"count"}"#, #"{"op":"clear"}"#, #"{"op":"count"}"#]
    }
    // The same key's lines stay in their order.
    lines += (0..<50).map { #"{"op":"set","key":"a:\#($0 % 3)","value":\#($0)}"# }
    lines += (0..<3).map { #"{"op":"get","key":"a:\#($0)"}"# }
    let result = try Command.run(
      ["exec", "--cache", scratch.cache, "--writers", "8"], input: lines)
    #expect(result.status == 0 && result.lines.count == lines.count, "\(result.errors)")
    for round in 0..<10 {
      let replies = try result.lines[33 * round + 30..<33 * round + 33].map { try json($0) }
      #expect(replies.map { $0["store"] as? Int } == [30, 30, 0], "round \(round)")
    }
    let values = try result.lines.suffix(3).map { try json($0)["value"] as? Int }
    #expect(values == [48, 49, 47])
  }

  @Test("a line that says its key in both ways, or clears a prefix of null, is refused")
  func ambiguous() throws {
    let scratch = try TemporaryDirectory()
    let both = #""key":"a","registry":"pypi","package":"x""#
    let lines = [
      #"{"op":"set","key":"a","value":0}"#, #"{"op":"set",\#(both),"value":1}"#,
      #"{"op":"get",\#(both)}"#, #"{"op":"contains","key":"a","package":"x"}"#,
      #"{"op":"invalidate","key":"a","registry":"pypi"}"#, #"{"op":"clear","prefix":null}"#,
      #"{"op":"get","key":"a","registry":null}"#, #"{"op":"clear","prefix":""}"#,
    ]
    for writers in ["1", "4"] {
      let result = try Command.run(
        ["exec", "--cache", scratch.cache, "--writers", writers], input: lines)
      let replies = try result.lines.map { try json($0) }
      #expect(replies.count == lines.count, "\(result)")
      for (line, reply) in zip(lines, replies).dropFirst().prefix(5) {
        let error = try #require(reply["error"] as? [String: Any], "\(line): \(reply)")
        #expect(error["code"] as? String == "badRequest", "\(line): \(reply)")
      }
      #expect(replies[6]["value"] as? Int == 0, "\(replies[6])")
      #expect(replies[7]["memory"] as? Int == 1, "\(replies[7])")
    }
  }

  @Test("a line that is too long is passed over by itself, however it arrives")
  func tooLong() {
    let input = "12345678\n123456789\n1\n\n123456789012345678901\n12"
    let whole = ["12345678", nil, "1", "", nil]
    for chunk in 1...input.utf8.count {
      var reader = LineReader()
      reader.byteCountMax = 8
      var found: [String?] = []
      var rest = Array(input.utf8)[...]
      while !rest.isEmpty {
        for line in reader.take(rest.prefix(chunk)) {
          switch line {
          case .line(let bytes): found.append(String(decoding: bytes, as: UTF8.self))
          case .tooLong: found.append(nil)
          }
        }
        rest = rest.dropFirst(chunk)
      }
      #expect(found == whole, "\(chunk) bytes at a time")
    }
  }
}
