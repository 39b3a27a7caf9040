import ArgumentParser
import Foundation
import Hindsight
import HindsightTesting

struct Exec: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run operations from standard input: JSON lines in, one JSON line out per line in.",
    discussion: """
      {"op":"set","key":"pypi:flask","value":{"name":"flask"},"memoryTTL":60,"reason":"…"}
      {"op":"get","registry":"PyPI","package":"Flask"}
      {"op":"invalidate","key":"pypi:flask"}   {"op":"clear","prefix":"pypi:"}
      {"op":"contains","key":"pypi:flask"}     {"op":"count"}   {"op":"cleanup"}
      {"op":"sync"}   {"op":"settle"}   {"op":"stats"}

      Replies come in order, each once the acknowledgement holds. Lines that arrive together are
      acknowledged together. A bad line gets {"ok":false,"error":…}, and the next one is read. The
      end of the input closes the cache.

      Example: echo '{"op":"count"}' | hindsight exec --cache /tmp/cache
      """)

  @Option(name: .customLong("cache"), help: "The cache's directory.", completion: .directory)
  var directory: String

  @OptionGroup var options: CacheOptions
  @OptionGroup var ttls: TTLOptions

  @Flag(name: .long, help: "Accepted for uniformity: the output is JSON in any case.")
  var json = false

  func run() async throws {
    var configuration = CacheConfiguration()
    options.apply(to: &configuration)
    try ttls.apply(to: &configuration)
    let level = configuration.acknowledgement
    // Acknowledged per batch, below.
    configuration.acknowledgement = .enqueued
    try await withTextCache(directory, configuration) { cache in
      var lines = LineReader()
      while let batch = try lines.next() {
        var replies: [Reply] = []
        var writes: [Int] = []
        for line in batch {
          let (reply, isWrite) = await Self.reply(to: line, cache)
          if isWrite { writes.append(replies.count) }
          replies.append(reply)
        }
        if level != .enqueued, !writes.isEmpty {
          do throws(CacheError) {
            try await cache.flush(to: level)
          } catch {
            for at in writes { replies[at] = .error(error.code.rawValue, error.message) }
          }
        }
        let text = replies.map { $0.json + "\n" }.joined()
        FileHandle.standardOutput.write(Data(text.utf8))
      }
    }
  }

  /// - Returns: the reply, and whether it says that something was written.
  private static func reply(
    to line: LineReader.Line, _ cache: TextCache
  ) async -> (Reply, isWrite: Bool) {
    do {
      switch line {
      case .tooLong:
        throw CacheError(.invalidValue, "the line is over \(LineReader.byteCountMax) bytes")
      case .line(let bytes):
        let operation = try ExecOperation(bytes)
        return (try await operation.perform(cache), operation.isWrite)
      }
    } catch let error as CacheError {
      return (.error(error.code.rawValue, error.message), false)
    } catch let error as BadLine {
      return (.error("badRequest", error.message), false)
    } catch {
      return (.error("system", "\(error)"), false)
    }
  }
}

/// Why a line is no operation.
struct BadLine: Error {
  var message: String
}

/// Reads lines from standard input, all that have arrived at a time.
struct LineReader {
  enum Line {
    case line(ArraySlice<UInt8>)
    /// It was passed over.
    case tooLong
  }

  /// A value of 16 MiB, and room around it; escapes may swell it.
  static let byteCountMax = 128 << 20
  private static let chunkByteCount = 256 << 10

  private var pending: [UInt8] = []
  private var isSkipping = false
  private var isAtEnd = false

  /// The next lines; `nil` at the end of the input.
  mutating func next() throws -> [Line]? {
    while !isAtEnd {
      var chunk = [UInt8](repeating: 0, count: Self.chunkByteCount)
      let count = read(0, &chunk, chunk.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw CacheError(.system, "standard input can't be read: error \(errno)")
      }
      if count == 0 { isAtEnd = true }
      let lines = take(chunk[..<count])
      if !lines.isEmpty { return lines }
    }
    return nil
  }

  private mutating func take(_ chunk: ArraySlice<UInt8>) -> [Line] {
    var lines: [Line] = []
    var rest = chunk
    while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
      end(with: rest[..<newline], &lines)
      rest = rest[rest.index(after: newline)...]
    }
    if !isSkipping { pending.append(contentsOf: rest) }
    if pending.count > Self.byteCountMax {
      pending = []
      isSkipping = true
      lines.append(.tooLong)
    }
    if isAtEnd, !pending.isEmpty { end(with: [], &lines) }
    return lines
  }

  private mutating func end(with rest: ArraySlice<UInt8>, _ lines: inout [Line]) {
    defer {
      pending = []
      isSkipping = false
    }
    if isSkipping { return }
    pending.append(contentsOf: rest)
    if pending.count > Self.byteCountMax { return lines.append(.tooLong) }
    lines.append(.line(pending[...]))
  }
}
