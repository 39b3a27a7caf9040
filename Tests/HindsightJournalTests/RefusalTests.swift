import HindsightCore
import HindsightTesting
import Testing

@testable import HindsightJournal

/// What a decoder refuses whatever its checksum is: each bound by itself, with the last value inside it
/// and the first one beyond.
@Suite("S042 what a decoder refuses")
struct RefusalTests {
  /// Bytes of an event, field by field.
  private struct Fields {
    var bytes: [UInt8]

    init(_ tag: EventTag, at: UInt64 = 0) {
      bytes = [tag.rawValue]
      bytes.append(varint: at)
    }

    func byte(_ value: UInt8) -> Fields { adding { $0.append(value) } }
    func number(_ value: UInt64) -> Fields { adding { $0.append(varint: value) } }
    func fixed(_ value: UInt64) -> Fields { adding { $0.append(fixed: value) } }
    /// A number of bytes, and those.
    func text(_ count: Int, less1 surplus: UInt64 = 0) -> Fields {
      number(UInt64(count) + surplus).adding {
        $0.append(contentsOf: [UInt8](repeating: 0x61, count: count))
      }
    }

    private func adding(_ body: (inout [UInt8]) -> Void) -> Fields {
      var copy = self
      body(&copy.bytes)
      return copy
    }
  }

  /// The error that decoding gives, as the first event of a frame at number 100.
  private func refusal(_ fields: Fields) -> FormatError? {
    var decoder = EventDecoder(fields.bytes, first: SequenceNumber(100))
    do throws(FormatError) {
      _ = try decoder.record()
      return decoder.isAtEnd ? nil : .truncated
    } catch {
      return error
    }
  }

  private func opened(
    memoryTTL: UInt64 = 1, storeTTL: UInt64 = 1, accessLog: UInt8 = 2, software: Int = 64
  ) -> Fields {
    Fields(.opened).number(1).number(0).number(1).number(0).number(memoryTTL).number(storeTTL)
      .byte(accessLog).byte(2).fixed(7).text(software)
  }

  private func set(
    _ tag: EventTag = .set, at: UInt64 = 0, memory: UInt64 = 1, store: UInt64 = 1, key: Int = 1
  ) -> Fields {
    Fields(tag, at: at).byte(2).number(memory).number(store).text(key).text(1)
  }

  private func gap(_ cause: UInt8 = 0, first: UInt64 = 1, count: UInt64 = 99) -> Fields {
    Fields(.gap).byte(cause).number(first).number(count)
  }

  @Test("events: each field within its bounds, and one beyond")
  func events() {
    let most = UInt64(Int64.max)
    let reason = Bounds.reasonByteCountMax
    let key = Bounds.keyByteCountMax
    let rows: [(String, inside: Fields, beyond: Fields)] = [
      ("origin", Fields(.promoted).number(1).number(1), Fields(.promoted).number(0).number(1)),
      ("origin", Fields(.promoted).number(99).number(1), Fields(.promoted).number(100).number(1)),
      ("expiry", Fields(.promoted).number(1).number(1), Fields(.promoted).number(1).number(0)),
      ("at", Fields(.closed, at: most).byte(1), Fields(.closed, at: most + 1).byte(1)),
      ("expiry", set(at: 1, memory: most), set(at: 1, memory: most + 1)),
      ("expiry", set(store: most + 1), set(store: most + 2)),
      ("key", set(key: 1), set(key: 0)),
      ("key", set(key: key), set(key: key + 1)),
      ("reason", set(.setWithReason).text(reason), set(.setWithReason).text(reason + 1)),
      (
        "reason", Fields(.invalidated).number(1).text(reason, less1: 1),
        Fields(.invalidated).number(1).text(reason + 1, less1: 1)
      ),
      (
        "key", Fields(.invalidatedNothing).text(key).number(0),
        Fields(.invalidatedNothing).text(key + 1).number(0)
      ),
      (
        "prefix", Fields(.cleared).text(key).number(0).number(0).number(0),
        Fields(.cleared).text(key + 1).number(0).number(0).number(0)
      ),
      ("tier", Fields(.expired).byte(1).number(1), Fields(.expired).byte(2).number(1)),
      ("tier", Fields(.evicted).byte(3).number(1), Fields(.evicted).byte(4).number(1)),
      ("outcome", Fields(.lookedUp).byte(2).number(1), Fields(.lookedUp).byte(3).number(1)),
      (
        "outcome", Fields(.lookedUpNothing).byte(2).text(1),
        Fields(.lookedUpNothing).byte(3).text(1)
      ),
      ("count", Fields(.touched).number(1).number(1), Fields(.touched).number(2).number(1)),
      (
        "segment", Fields(.recovered).byte(0).number(UInt64(UInt32.max)).number(0).number(0),
        Fields(.recovered).byte(0).number(UInt64(UInt32.max) + 1).number(0).number(0)
      ),
      (
        "cause",
        Fields(.recovered).byte(lastCause(Recovered.Cause.init)).number(1).number(0)
          .number(0),
        Fields(.recovered).byte(lastCause(Recovered.Cause.init) + 1).number(1).number(0).number(0)
      ),
      ("cause", gap(lastCause(Gap.Cause.init)), gap(lastCause(Gap.Cause.init) + 1)),
      ("gap", gap(first: 1, count: 99), gap(first: 0, count: 100)),
      ("gap", gap(first: 99, count: 1), gap(first: 100, count: 0)),
      ("gap", gap(first: 98, count: 2), gap(first: 98, count: 3)),
      ("gap", gap(), gap(first: Format.sequenceMax + 1, count: 1)),
      ("gap", gap(), gap(first: 1, count: Format.sequenceMax + 1)),
      ("memory TTL", opened(memoryTTL: most), opened(memoryTTL: most + 1)),
      ("store TTL", opened(storeTTL: most), opened(storeTTL: most + 1)),
      ("access log", opened(accessLog: 2), opened(accessLog: 3)),
      (
        "software version", opened(software: Bounds.softwareVersionByteCountMax),
        opened(software: Bounds.softwareVersionByteCountMax + 1)
      ),
    ]
    for (field, inside, beyond) in rows {
      #expect(refusal(inside) == nil, "\(field)")
      #expect(refusal(beyond) == .badField(field), "\(field)")
    }
    #expect(refusal(Fields(.closed)) == .truncated)
    var unknown = Fields(.closed).byte(1)
    for tag in [0, EventTag.gap.rawValue + 1, .max] as [UInt8] {
      unknown.bytes[0] = tag
      #expect(refusal(unknown) == .unknownTag(tag))
    }
  }

  /// The last value that an enumeration has.
  private func lastCause<Cause>(_ cause: (UInt8) -> Cause?) -> UInt8 {
    (0 ... .max as ClosedRange<UInt8>).last { cause($0) != nil } ?? 0
  }

  @Test("a gap stands at its frame's beginning only, and a text is UTF-8")
  func places() throws {
    var decoder = EventDecoder(
      Fields(.closed).byte(1).bytes + gap(count: 100).bytes, first: SequenceNumber(100))
    _ = try decoder.record()
    #expect(throws: FormatError.badField("gap")) { try decoder.record() }
    var reason = Fields(.invalidated).number(1).text(2, less1: 1)
    reason.bytes[reason.bytes.count - 1] = 0xFF
    #expect(refusal(reason) != nil)
  }

  // MARK: Headers

  private func header(_ change: (inout [UInt8]) -> Void) -> FormatError? {
    let header = FrameHeader(
      encoding: .begins, storedByteCount: 10, rawByteCount: 20, count: 2, bodyChecksum: 1,
      first: SequenceNumber(1), durable: .zero, bootTime: 0, salt: 5, previousChecksum: 6)
    var bytes = [UInt8](repeating: 0, count: Format.frameHeaderByteCount)
    _ = bytes.withUnsafeMutableBytes { header.encode(into: $0) }
    change(&bytes)
    seal(&bytes, at: 60)
    do throws(FormatError) {
      _ = try FrameHeader(bytes)
      return nil
    } catch {
      return error
    }
  }

  private func seal(_ bytes: inout [UInt8], at offset: Int) {
    put(bytes.checksum(0..<offset), &bytes, at: offset)
  }

  private func put<T: FixedWidthInteger>(_ value: T, _ bytes: inout [UInt8], at offset: Int) {
    bytes.withUnsafeMutableBytes {
      $0.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
    }
  }

  @Test("frame headers: magic, version, flags, reserved bytes, lengths, counts and numbers")
  func frameHeaders() {
    let lengthMax = UInt32(Format.bodyByteCountMax)
    #expect(header { _ in } == nil)
    #expect(header { $0[0] ^= 1 } == .badMagic)
    for version in [0, Format.version + 1, .max] as [UInt8] {
      #expect(header { $0[4] = version } == .unknownVersion(version))
    }
    #expect(header { $0[4] = 1 } == nil)
    #expect(header { ($0[4], $0[5]) = (1, BodyEncoding.continues.rawValue) } == .badField("flags"))
    for encoding in [2, 4, .max] as [UInt8] {
      #expect(header { $0[5] = encoding } == .badField("flags"))
    }
    for at in 6...7 { #expect(header { $0[at] = 1 } == .badField("flags")) }
    for at in [8, 12] {
      #expect(header { put(lengthMax, &$0, at: at) } == nil)
      #expect(
        header { put(lengthMax + 1, &$0, at: at) } == .lengthOutOfBounds(UInt64(lengthMax) + 1))
    }
    #expect(header { put(UInt32(20), &$0, at: 16) } == nil)
    for count in [0, 21] as [UInt32] {
      #expect(header { put(count, &$0, at: 16) } == .badField("count"))
    }
    #expect(header { $0[5] = BodyEncoding.stored.rawValue } == .badField("count"))
    #expect(header { put(Format.sequenceMax, &$0, at: 24) } == nil)
    for first in [0, Format.sequenceMax + 1] as [UInt64] {
      #expect(header { put(first, &$0, at: 24) } == .badField("count"))
    }
  }

  private func checkpoint(_ change: (inout [UInt8]) -> Void) -> FormatError? {
    let head = StateHead(
      sequence: SequenceNumber(9), at: Timestamp(rawValue: 5), opened: nil, isClosed: false)
    var bytes = CheckpointHeader(
      number: 1, journalID: JournalID(high: 1, low: 2), head: head, digest: 0, entryCount: 0,
      position: .start(of: 1), bootTime: 0, gapFirst: SequenceNumber(9)
    ).encoded()
    change(&bytes)
    seal(&bytes, at: 124)
    do throws(FormatError) {
      _ = try CheckpointHeader.decode(bytes)
      return nil
    } catch {
      return error
    }
  }

  @Test("checkpoint headers: magic, version, flags, numbers, time and place")
  func checkpointHeaders() {
    #expect(checkpoint { _ in } == nil)
    #expect(checkpoint { $0[0] ^= 1 } == .badMagic)
    #expect(checkpoint { $0[8] = 1 } == nil)
    #expect(checkpoint { $0[8] = 3 } == .unknownVersion(3))
    #expect(checkpoint { $0[9] = 1 } == .unknownVersion(2))
    #expect(checkpoint { $0[68] = 3 } == nil)
    #expect(checkpoint { $0[68] = 4 } == .badField("flags"))
    #expect(checkpoint { put(Format.sequenceMax, &$0, at: 32) } == nil)
    #expect(checkpoint { put(Format.sequenceMax + 1, &$0, at: 32) } == .badField("flags"))
    #expect(checkpoint { put(UInt64(10), &$0, at: 88) } == .badField("gap"))
    #expect(checkpoint { put(Int64(-1), &$0, at: 40) } == .badField("at"))
    #expect(checkpoint { put(UInt32(0), &$0, at: 64) } == .badField("position"))
    #expect(checkpoint { put(UInt64(63), &$0, at: 72) } == .badField("position"))
    #expect(checkpoint { put(Format.fileByteCountMax, &$0, at: 72) } == nil)
    #expect(checkpoint { put(Format.fileByteCountMax + 1, &$0, at: 72) } == .badField("position"))
  }

  @Test("a checkpoint under another one's name is none")
  func otherName() throws {
    let storage = SimulatedStorage()
    let head = StateHead(
      sequence: SequenceNumber(9), at: Timestamp(rawValue: 5), opened: nil, isClosed: false)
    let header = CheckpointHeader(
      number: 1, journalID: JournalID(high: 1, low: 2), head: head, digest: 0, entryCount: 0,
      position: .start(of: 1), bootTime: 0)
    for name in [1, 2] as [UInt32] {
      storage.setBytes(header.encoded(), of: FileName.checkpoint(name))
    }
    #expect(try CheckpointReader(storage, number: 1).header.number == 1)
    let error = #expect(throws: DamageError.self) { try CheckpointReader(storage, number: 2) }
    guard case .format("00000002.checkpoint", _, .badField("number"))? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  // MARK: Entries of a checkpoint

  /// The error that a checkpoint's one entry gives, of a state at number 9 and time 5.
  private func entry(
    key: Int = 1, distance: UInt64 = 8, age: UInt64 = 5, valueByteCount: UInt64 = 1,
    hash: UInt64 = XXH64.hash([7]), memory: UInt64 = 1, store: UInt64 = 0, entryCount: UInt64 = 1
  ) throws -> FormatError? {
    let storage = SimulatedStorage()
    let head = StateHead(
      sequence: SequenceNumber(9), at: Timestamp(rawValue: 5), opened: nil, isClosed: false)
    let header = CheckpointHeader(
      number: 1, journalID: JournalID(high: 1, low: 2), head: head, digest: 0,
      entryCount: entryCount,
      position: .start(of: 1), bootTime: 0)
    var block: [UInt8] = []
    block.append(varint: UInt64(key))
    block.append(contentsOf: [UInt8](repeating: 0x61, count: key))
    block.append(varint: distance)
    block.append(varint: age)
    block.append(2)
    block.append(varint: valueByteCount)
    block.append(fixed: hash)
    block.append(varint: memory)
    block.append(varint: store)
    block.append(1)
    block.append(7)
    var bytes = header.encoded()
    bytes.append(fixed: UInt32(block.count))
    bytes.append(fixed: UInt32(block.count))
    bytes.append(fixed: block.checksum(0..<block.count))
    bytes += block
    var end: [UInt8] = []
    end.append(fixed: UInt64(0))
    end.append(fixed: end.checksum(0..<8))
    storage.setBytes(bytes + end, of: header.name)
    do throws(DamageError) {
      var count = 0
      try CheckpointReader(storage, number: 1).forEachEntry(hashSeed: 0) { _, _ in count += 1 }
      #expect(count == 1)
      return nil
    } catch {
      guard case .format(_, _, let error) = error else { throw error }
      return error
    }
  }

  @Test("a checkpoint's entries: key, origin, times, value and its hash")
  func entries() throws {
    let key = Bounds.keyByteCountMax
    let most = UInt64(Int64.max)
    #expect(try entry() == nil)
    #expect(try entry(key: key) == nil)
    for count in [0, 2] as [UInt64] {
      #expect(try entry(entryCount: count) == .badField("entry count"))
    }
    #expect(try entry(key: key + 1) == .badField("key"))
    #expect(try entry(key: 0) == .badField("origin"))
    #expect(try entry(distance: 0) == nil)
    #expect(try entry(distance: 9) == .badField("origin"))
    #expect(try entry(age: 6) == .badField("set at"))
    #expect(
      try entry(valueByteCount: UInt64(Bounds.valueByteCountMax) + 1) == .badField("value"))
    #expect(try entry(valueByteCount: 2) == .truncated)
    #expect(try entry(hash: 1) == .badField("value hash"))
    #expect(try entry(memory: most + 1, store: most + 1) == nil)
    #expect(try entry(memory: most + 2) == .badField("expiry"))
    #expect(try entry(age: 4, memory: most + 1) == .badField("expiry"))
    #expect(try entry(age: 4, store: most + 1) == .badField("expiry"))
  }

  @Test("a checkpoint's configuration that claims more than one can be is not inflated")
  func configuration() throws {
    let storage = SimulatedStorage()
    let hour = Microseconds(rawValue: 3_600_000_000)
    let opened = Opened(
      memoryLimit: TierLimit(entryCountMax: 1), storeLimit: nil, memoryTTL: hour, storeTTL: hour,
      accessLog: .recency, formatVersion: 2, softwareVersion: "test", bootID: 0)
    let head = StateHead(
      sequence: SequenceNumber(9), at: Timestamp(rawValue: 5), opened: opened, isClosed: false)
    let header = CheckpointHeader(
      number: 1, journalID: JournalID(high: 1, low: 2), head: head, digest: 0, entryCount: 0,
      position: .start(of: 1), bootTime: 0)
    let stored = RunCompressor().encode([UInt8](repeating: 0, count: 4_097)).stored
    var bytes = header.encoded()
    bytes.append(fixed: UInt32(stored.count))
    bytes.append(fixed: UInt32(4_097))
    bytes.append(fixed: stored.checksum(0..<stored.count))
    storage.setBytes(bytes + stored, of: header.name)
    #expect {
      try CheckpointReader(storage, number: 1)
    } throws: { error in
      guard case .format(_, _, let error)? = error as? DamageError else { return false }
      return error == .lengthOutOfBounds(4_097)
    }
  }
}
