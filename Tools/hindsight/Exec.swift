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

      A key is "key", or "registry" and "package". A clear without a "prefix" removes everything. \
      A set may have "memoryTTL" and "storeTTL" in seconds, or "ttl" for both. Set, invalidate and clear may \
      have a "reason", which the journal keeps.

      Replies come in order, each once the acknowledgement holds. Lines that arrive together are \
      acknowledged together. A bad line gets {"ok":false,"error":…}, and the next one is read. \
      The end of the input closes the cache.

      With --writers N, the lines of one key still happen in their order, those of different \
      keys up to N at a time; clear, count, cleanup, sync, settle and stats wait for all lines \
      before them. Replies come in order all the same.

      A cache that is there is opened with the limits, TTLs and access log that it was last opened \
      with, and with or without store and journal as then, unless options say otherwise. Where \
      it has more history than is kept by default, all of that is kept; all else is as by default.

      For tests of crashes and faults, HINDSIGHT_FAILPOINTS in the environment says where \
      something happens, as NAME:COUNT[:ACTION], several separated by commas: at the COUNTth \
      passage (3), from one to another (3-5), or from one on (3+), the process kills itself \
      (kill, unless another action is named), the operation fails (error:ENOSPC, also EIO EDQUOT \
      EROFS EACCES EMFILE EFBIG EINTR ENOMEM), or it takes longer (delay:50, in milliseconds). \
      crash-test --list-failpoints prints the names.

      Example: echo '{"op":"count"}' | hindsight exec --cache /tmp/cache
      """)

  @Option(name: .customLong("cache"), help: "The cache's directory.", completion: .directory)
  var directory: String

  @OptionGroup var options: CacheOptions
  @OptionGroup var write: WriteOptions
  @OptionGroup var ttls: TTLOptions
  @OptionGroup var tuning: TuningOptions

  @Option(parsing: .unconditional, help: "How many operations may be in flight at a time.")
  var writers = 1

  @Flag(name: .long, help: "Accepted for uniformity: the output is JSON in any case.")
  var json = false

  func run() async throws {
    var configuration = try CacheConfiguration(lastOpenedIn: directory)
    options.apply(to: &configuration)
    configuration.acknowledgement = write.acknowledge
    try ttls.apply(to: &configuration)
    try tuning.apply(to: &configuration)
    let level = configuration.acknowledgement
    // A single writer's are acknowledged per batch, below.
    if writers == 1 { configuration.acknowledgement = .enqueued }
    // Where nobody reads the replies any more, the cache is closed all the same.
    signal(SIGPIPE, SIG_IGN)
    let place = try FailpointPlace.place(directory)
    try await withTextCache(place, configuration) { cache in
      var lines = LineReader()
      while let batch = try lines.next() {
        let replies =
          writers == 1
          ? await Self.replies(to: batch, cache, level)
          : await ExecLanes(cache, count: writers).replies(to: batch)
        let text = replies.map { $0.json + "\n" }.joined()
        try Output.write(text)
      }
    }
  }

  func validate() throws {
    guard (1...1_024).contains(writers) else { throw ValidationError("--writers: 1 to 1024") }
  }

  /// One operation after another, acknowledged together.
  private static func replies(
    to batch: [LineReader.Line], _ cache: TextCache, _ level: Acknowledgement
  ) async -> [Reply] {
    var replies: [Reply] = []
    var writes: [Int] = []
    for line in batch {
      switch ExecOperation.parse(line) {
      case .failure(let bad): replies.append(bad.reply)
      case .success(let operation):
        let (reply, isDone) = await operation.reply(cache)
        if isDone, operation.isWrite { writes.append(replies.count) }
        replies.append(reply)
      }
    }
    guard level != .enqueued, !writes.isEmpty else { return replies }
    do throws(CacheError) {
      try await cache.flush(to: level)
    } catch {
      for at in writes { replies[at] = .error(error.code.rawValue, error.message) }
    }
    return replies
  }
}

extension BadOperation {
  var reply: Reply { .error(code, message) }
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

  /// Of a line. Less only where a test wants that.
  var byteCountMax = Self.byteCountMax
  private var pending: [UInt8] = []
  private var isSkipping = false
  private var isAtEnd = false

  /// The next lines; `nil` at the end of the input.
  mutating func next() throws(StreamFailure) -> [Line]? {
    while !isAtEnd {
      var chunk = [UInt8](repeating: 0, count: Self.chunkByteCount)
      let count = read(0, &chunk, chunk.count)
      if count < 0 {
        if errno == EINTR || errno == EAGAIN && waitForInput(0) { continue }
        throw StreamFailure.input(errorNumber: errno)
      }
      if count == 0 { isAtEnd = true }
      let lines = take(chunk[..<count])
      if !lines.isEmpty { return lines }
    }
    return nil
  }

  /// The lines that end in what has arrived next.
  mutating func take(_ chunk: ArraySlice<UInt8>) -> [Line] {
    var lines: [Line] = []
    var rest = chunk
    while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
      end(with: rest[..<newline], &lines)
      rest = rest[rest.index(after: newline)...]
    }
    if !isSkipping { pending.append(contentsOf: rest) }
    if pending.count > byteCountMax {
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
    if pending.count > byteCountMax { return lines.append(.tooLong) }
    lines.append(.line(pending[...]))
  }
}
