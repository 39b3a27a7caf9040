import CHindsightZlib
import Foundation
import HindsightCore
import HindsightTesting
import Testing

@testable import HindsightJournal

/// What is encoded decodes to the same; what isn't an encoding is refused, whatever it says.
@Suite("S042 the journal's codec")
struct CodecTests {
  private var random = SplitMix64(seed: 41)

  /// Any event that could stand at `sequence`, as far as the codec is concerned.
  private mutating func event(_ sequence: UInt64, at: Timestamp) -> Event {
    let origin = SequenceNumber(.random(in: 1..<sequence, using: &random))
    let later = Timestamp(rawValue: at.rawValue + .random(in: 0...86_400_000_000, using: &random))
    let tier = Bool.random(using: &random) ? Tier.memory : .store
    switch Int.random(in: 0..<12, using: &random) {
    case 0: return .opened(opened())
    case 1: return .closed(clean: true)
    case 2:
      return .invalidated(Invalidated(subject: .origin(origin), reason: reason()))
    case 3:
      return .invalidated(Invalidated(subject: .key(bytes(1...1_024)), reason: reason()))
    case 4:
      return .cleared(
        Cleared(
          prefix: bytes(0...1_024), reason: reason(),
          memoryCount: .random(in: 0...1_000, using: &random),
          storeCount: .random(in: 0...100_000, using: &random)))
    case 5: return .expired(origin: origin, tier: tier)
    case 6:
      return .evicted(
        origin: origin, tier: tier, cause: Bool.random(using: &random) ? .limit : .lost)
    case 7: return .promoted(origin: origin, memoryExpiry: later)
    case 8:
      return .touched(
        (0..<Int.random(in: 1...20, using: &random)).map { _ in
          SequenceNumber(.random(in: 1..<sequence, using: &random))
        })
    case 9: return .lookedUp(.origin(origin), .storeHit)
    case 10: return .lookedUp(.key(bytes(1...1_024)), .miss)
    default:
      return .set(
        ValueSet(
          key: bytes(1...1_024), value: bytes(0...3_000), coder: .random(in: 0...9, using: &random),
          memoryExpiry: Bool.random(using: &random) ? later : nil, storeExpiry: later,
          reason: reason()))
    }
  }

  private mutating func opened() -> Opened {
    Opened(
      memoryLimit: TierLimit(entryCountMax: 1_000),
      storeLimit: TierLimit(entryCountMax: 100_000, byteCountMax: 1 << 30),
      memoryTTL: Microseconds(rawValue: 3_600_000_000),
      storeTTL: Microseconds(rawValue: 86_400_000_000), accessLog: .lookups, formatVersion: 1,
      softwareVersion: "é 1.2.3", bootID: .random(in: 0 ... .max, using: &random))
  }

  private mutating func reason() -> String? {
    [nil, "", "typosquat", String(repeating: "é", count: 128)].randomElement(using: &random)!
  }

  private mutating func bytes(_ count: ClosedRange<Int>) -> Bytes {
    Bytes(
      (0..<Int.random(in: count, using: &random)).map { _ in
        UInt8.random(in: 32...126, using: &random)
      })
  }

  private mutating func records(_ count: Int, from first: UInt64) -> [Record] {
    var at = Timestamp(rawValue: 1_767_225_600_000_000)
    return (first..<first + UInt64(count)).map { sequence in
      at = Timestamp(rawValue: at.rawValue + .random(in: 0...5_000, using: &random))
      return Record(
        sequence: SequenceNumber(sequence), at: at, event: event(sequence, at: at))
    }
  }

  private func seal(_ records: [Record]) -> SealedFrame {
    var frame = OpenFrame()
    for record in records { frame.append(record) }
    return frame.take(Microseconds(rawValue: 7))
  }

  /// A frame's header and stored body.
  private func encode(
    _ records: [Record], _ compressor: RunCompressor = RunCompressor()
  ) throws -> (header: FrameHeader, stored: [UInt8]) {
    let frame = StampedFrame(sealed: seal(records), durable: .zero)
    let (bytes, checksum) = frame.encoded(compressor, salt: 5, previousChecksum: 6)
    #expect(bytes.fixed(60) == checksum)
    let header = try FrameHeader([UInt8](bytes[..<Format.frameHeaderByteCount]))
    return (header, [UInt8](bytes[Format.frameHeaderByteCount...]))
  }

  private func decode(
    _ frame: (header: FrameHeader, stored: [UInt8]), _ decoder: BodyDecoder = BodyDecoder()
  ) throws -> [Record] {
    let body = try frame.header.body(frame.stored, decoder)
    let records = try FrameEvents(body, frame.header, lendsSets: false).records
    #expect(try FrameEvents(body, frame.header, lendsSets: true).records == records)
    return records
  }

  @Test("every event of any content comes back the same, through runs and headers")
  mutating func roundTrip() throws {
    let compressor = RunCompressor()
    let decoder = BodyDecoder()
    var seen: [BodyEncoding: Int] = [:]
    for round in 0..<600 {
      if round % 50 == 49 { compressor.endRun() }
      let records = records(Int.random(in: 1...30, using: &random), from: 1_000 + UInt64(round))
      let frame = try encode(records, compressor)
      #expect(frame.header.first == SequenceNumber(1_000 + UInt64(round)))
      #expect(frame.header.salt == 5 && frame.header.previousChecksum == 6)
      #expect(try decode(frame, decoder) == records)
      seen[frame.header.encoding, default: 0] += 1
    }
    #expect(seen[.begins, default: 0] > 12 && seen[.continues, default: 0] > 300, "\(seen)")
    #expect(seen[.stored, default: 0] > 0, "\(seen)")
  }

  @Test("full frames wait in front of the open one, end with a decision, and come back the same")
  mutating func fullFrames() throws {
    var frame = OpenFrame()
    var records: [Record] = []
    var decisionEnds: Set<SequenceNumber> = []
    for sequence in 1...300 as ClosedRange<UInt64> {
      // A large value every now and then: larger than what is left of a frame, and than a frame.
      let byteCount = sequence % 100 == 0 ? 3 * OpenFrame.byteCountMax : 4_000
      let set = ValueSet(
        key: Bytes("k:\(sequence)".utf8),
        value: Bytes(repeating: UInt8(sequence % 251), count: byteCount),
        coder: 2, memoryExpiry: Timestamp(rawValue: 9_000), storeExpiry: nil, reason: nil)
      let record = Record(
        sequence: SequenceNumber(sequence), at: Timestamp(rawValue: Int64(sequence)),
        event: .set(set))
      let before = frame.byteCount
      frame.append(record)
      records.append(record)
      #expect(frame.byteCount > before && !frame.isEmpty)
      guard sequence % 7 == 0 || sequence == 300 else { continue }
      frame.endDecision(bootTime: Microseconds(rawValue: Int64(1_000 + sequence)))
      decisionEnds.insert(record.sequence)
    }
    let byteCount = frame.byteCount
    let sealed = frame.takeAll(bootTime: Microseconds(rawValue: 1_300))
    #expect(sealed.byteCount == byteCount && sealed.count == 300)
    #expect(sealed.last == SequenceNumber(300))
    #expect(frame.isEmpty && frame.byteCount == 0)
    let (compressor, decoder) = (RunCompressor(), BodyDecoder())
    var found: [Record] = []
    var frames = 0
    try sealed.forEachFrame { sealed in
      let stamped = StampedFrame(sealed: sealed, durable: .zero)
      let (bytes, _) = stamped.encoded(compressor, salt: 5, previousChecksum: 6)
      let header = try FrameHeader([UInt8](bytes[..<Format.frameHeaderByteCount]))
      #expect(header.first == SequenceNumber(UInt64(found.count) + 1))
      #expect(header.bootTime == 1_000 + header.last.rawValue)
      #expect(decisionEnds.contains(header.last))
      found += try decode((header, [UInt8](bytes[Format.frameHeaderByteCount...])), decoder)
      frames += 1
    }
    #expect(found == records)
    #expect(frames >= 5, "\(frames)")
    // The next one begins anew.
    frame.append(records[0])
    frame.endDecision(bootTime: Microseconds(rawValue: 0))
    #expect(frame.take(Microseconds(rawValue: 0)).body == seal([records[0]]).body)
  }

  @Test("a body that continues a run is refused where the one before it was not decoded")
  mutating func middleOfRun() throws {
    let compressor = RunCompressor()
    let frames = try (0..<4).map { try encode(records(20, from: 100 + 20 * $0), compressor) }
    #expect(frames.map(\.header.encoding) == [.begins, .continues, .continues, .continues])
    #expect(throws: FormatError.badField("run")) { try decode(frames[1]) }
    let decoder = BodyDecoder()
    _ = try decode(frames[0], decoder)
    var wrong = frames[1]
    wrong.stored.removeLast()
    #expect(throws: FormatError.inflation) { try decode(wrong, decoder) }
    #expect(throws: FormatError.badField("run")) { try decode(frames[2], decoder) }
    #expect(try decode(frames[0], decoder).count == 20)
    #expect(try decode(frames[1], decoder).count == 20)
  }

  @Test("a run's bodies, each followed by a flush's marker, are one deflate stream")
  mutating func runIsStream() throws {
    let compressor = RunCompressor()
    var stream: [UInt8] = []
    var raw: [UInt8] = []
    for round in 0..<20 {
      let sealed = seal(records(10, from: 100 + 10 * UInt64(round)))
      let (stored, encoding) = compressor.encode(sealed.body)
      #expect(encoding == (round == 0 ? .begins : .continues))
      stream += stored + [0, 0, 0xFF, 0xFF]
      raw += sealed.body
    }
    // Any inflate reads it once it has an end: an empty last block.
    stream += [0x03, 0x00]
    #expect(try Inflater().inflate(stream, count: raw.count) == raw)
  }

  @Test("a run ends at its limit, so that a damaged body takes no more with it")
  mutating func runLimit() throws {
    let compressor = RunCompressor()
    var raw = 0
    var longest = 0
    for round in 0..<400 {
      let frame = try encode(records(8, from: 1_000 + 8 * UInt64(round)), compressor)
      raw = (frame.header.encoding == .begins ? 0 : raw) + Int(frame.header.rawByteCount)
      longest = max(longest, raw)
    }
    #expect((Format.runByteCount..<Format.runByteCount + (64 << 10)).contains(longest))
  }

  @Test("opened, recovered and gap, and the first event of all")
  mutating func rareEvents() throws {
    let at = Timestamp(rawValue: 5)
    let gap = Gap(first: SequenceNumber(3), last: SequenceNumber(9), cause: .writeFailed)
    for record in [
      Record(sequence: SequenceNumber(1), at: at, event: .opened(opened())),
      Record(sequence: SequenceNumber(10), at: at, event: .gap(gap)),
      Record(
        sequence: SequenceNumber(4), at: at,
        event: .recovered(
          Recovered(cause: .tornTail, segment: 3, byteOffset: 1 << 40, byteCountDropped: 5))),
    ] {
      #expect(try decode(try encode([record])) == [record])
    }
  }

  @Test("bytes that are no events are refused, and never trap")
  mutating func garbage() throws {
    var refused = 0
    for round in 0..<3_000 {
      let frame = seal(records(5, from: 100))
      var body = frame.body
      switch round % 3 {
      case 0: body.removeLast(Int.random(in: 1...body.count, using: &random))
      case 1: body[Int.random(in: 0..<body.count, using: &random)] ^= UInt8(1 << (round % 8))
      default: body = (0..<200).map { _ in UInt8.random(in: 0...255, using: &random) }
      }
      var header = try encode(records(1, from: 100)).header
      header.encoding = .stored
      header.rawByteCount = UInt32(body.count)
      header.count = frame.count
      do throws(FormatError) {
        _ = try FrameEvents(body, header, lendsSets: false)
      } catch {
        refused += 1
      }
    }
    #expect(refused > 2_000)
  }

  @Test("a header's every bit is covered by its checksum, and its lengths are bounded")
  mutating func header() throws {
    let frame = try encode(records(10, from: 50))
    let bytes = encoded(frame.header)
    for bit in 0..<bytes.count * 8 {
      var damaged = bytes
      damaged[bit / 8] ^= 1 << (bit % 8)
      #expect(throws: FormatError.self) { try FrameHeader(damaged) }
    }
    // With a right checksum, too: a hostile journal has those.
    let hostile: [(inout FrameHeader) -> Void] = [
      { $0.storedByteCount = .max }, { $0.rawByteCount = .max }, { $0.count = 0 },
      { $0.count = $0.rawByteCount + 1 }, { $0.first = .zero },
      { $0.first = SequenceNumber(.max) },
    ]
    for change in hostile {
      var header = frame.header
      change(&header)
      #expect(throws: FormatError.self) { try FrameHeader(encoded(header)) }
    }
  }

  private func encoded(_ header: FrameHeader) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Format.frameHeaderByteCount) { bytes, count in
      _ = header.encode(into: UnsafeMutableRawBufferPointer(bytes))
      count = bytes.count
    }
  }

  @Test("a bomb is refused before anything is allocated for it, in either version")
  func bomb() throws {
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    // Raw deflate of a mebibyte of zeros: what zlib makes of it, in short.
    let deflated = try deflate(zeros)
    let (stored, encoding) = RunCompressor().encode(zeros)
    #expect(encoding == .begins && stored.count < 8_000)
    for (version, stored) in [(UInt8(1), deflated), (2, stored)] {
      func decode(_ stored: [UInt8], _ count: Int) throws -> [UInt8] {
        try BodyDecoder().decode(stored, .begins, version: version, count: count)
      }
      #expect(try decode(stored, zeros.count) == zeros)
      // More than stated, less than stated, more than can be, more than a frame may hold.
      #expect(throws: FormatError.inflation) { try decode(stored, 1 << 19) }
      #expect(throws: FormatError.inflation) { try decode(stored, 1 << 20 + 1) }
      #expect(throws: FormatError.lengthOutOfBounds(60 << 20)) { try decode([1, 2, 3], 60 << 20) }
      #expect(throws: FormatError.lengthOutOfBounds(65 << 20)) {
        try decode([UInt8](repeating: 0, count: 1 << 20), 65 << 20)
      }
    }
  }

  @Test(
    "a body that states more than its bytes can give needs no memory for that",
    .disabled(if: Sanitizer.isAny, "a sanitizer needs address space of its own"))
  func bombInLittleMemory() async {
    await #expect(processExitsWith: .success) {
      // An arena of malloc's has room for less than the 64 MiB that are stated.
      let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(
        separator: " ")
      let size = UInt(pages[0])! * UInt(getpagesize())
      var limit = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
      limit.rlim_cur = size + 32 << 20
      guard setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0 else { exit(2) }
      for version in [UInt8(1), 2] {
        #expect(throws: FormatError.lengthOutOfBounds(64 << 20)) {
          try BodyDecoder().decode([1, 2, 3], .begins, version: version, count: 64 << 20)
        }
      }
    }
  }

  /// As version 1 wrote it.
  private func deflate(_ raw: [UInt8]) throws -> [UInt8] {
    var stream = z_stream()
    try #require(
      deflateInit2_(
        &stream, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
        Int32(MemoryLayout<z_stream>.size)) == Z_OK)
    defer { deflateEnd(&stream) }
    var raw = raw
    return [UInt8](unsafeUninitializedCapacity: raw.count) { output, count in
      raw.withUnsafeMutableBufferPointer { raw in
        stream.next_in = raw.baseAddress
        stream.avail_in = UInt32(raw.count)
        stream.next_out = output.baseAddress
        stream.avail_out = UInt32(output.count)
        #expect(CHindsightZlib.deflate(&stream, Z_FINISH) == Z_STREAM_END)
        count = output.count - Int(stream.avail_out)
      }
    }
  }

  @Test("what doesn't get smaller is stored as it is")
  mutating func incompressible() throws {
    let value = Bytes((0..<5_000).map { _ in UInt8.random(in: 0...255, using: &random) })
    let at = Timestamp(rawValue: 5)
    let record = Record(
      sequence: SequenceNumber(1), at: at,
      event: .set(
        ValueSet(
          key: Bytes([1]), value: value, coder: 0, memoryExpiry: at, storeExpiry: nil, reason: nil)
      ))
    let frame = try encode([record])
    #expect(frame.header.encoding == .stored)
    #expect(try decode(frame) == [record])
  }

  @Test(
    "a number is read as it was written, wherever the bytes end behind it; one too long is refused")
  mutating func varints() throws {
    var numbers: [UInt64] = [0, .max]
    for bits in 0..<64 {
      numbers += [1 << bits - 1, 1 << bits, .random(in: 0...(.max >> bits), using: &random)]
    }
    for number in numbers {
      for behind in 0...9 {
        var bytes: [UInt8] = []
        bytes.append(varint: number)
        let count = bytes.count
        // What stands behind it is another number, or the middle of one.
        bytes += (0..<behind).map { _ in UInt8.random(in: 0...255, using: &random) }
        var reader = ByteReader(bytes)
        #expect(try reader.varint() == number)
        #expect(reader.remaining == behind)
        for cut in 0..<count {
          var short = ByteReader(Array(bytes[..<cut]))
          #expect(throws: FormatError.truncated) { try short.varint() }
        }
      }
    }
    for (bytes, behind) in [
      ([UInt8](repeating: 0x80, count: 10), 0), ([UInt8](repeating: 0xFF, count: 12), 3),
      ([UInt8](repeating: 0xFF, count: 9) + [2], 0),
    ] {
      var reader = ByteReader(bytes + [UInt8](repeating: 0, count: behind))
      #expect(throws: FormatError.lengthOutOfBounds(.max)) { try reader.varint() }
    }
  }

  @Test("zeros behind the last frame are told from anything else, whatever its place")
  func zeros() {
    for count in 0...200 {
      var bytes = [UInt8](repeating: 0, count: count)
      #expect(bytes.withUnsafeBytes { $0.isZero })
      for at in 0..<count {
        bytes[at] = 1
        #expect(!bytes.withUnsafeBytes { $0.isZero }, "byte \(at) of \(count)")
        bytes[at] = 0
      }
    }
  }
}
