public import HindsightCore

/// Reads a checkpoint, block by block.
public struct CheckpointReader {
  public let header: CheckpointHeader
  /// The file.
  public var name: String { FileName.checkpoint(header.number) }
  /// The file's size.
  let byteCount: UInt64
  private let file: any JournalFile
  private let firstEntryOffset: UInt64

  /// An entry with the hash of its key.
  private struct Entry: Sendable {
    var image: EntryImage
    var value: Bytes?
    var keyHash: UInt64
  }

  /// A block's entries, or what is wrong with it.
  private enum Found: Sendable {
    case entries
    case end
    case damaged(FormatError)
    case failed(StorageError)
  }

  /// What stands at an offset.
  private struct Step: Sendable {
    var found: Found
    var offset: UInt64
    /// The last one first: each is moved out of the array, which copies nothing.
    var entries: [Entry] = []
    /// Where the index will file them, in order.
    var filings: [Filing] = []
    /// The digest of all entries, at the end.
    var digest: UInt64 = 0
  }

  /// How far the decoding is.
  private struct Place {
    /// Where the block stands, and the next one.
    var start: UInt64 = 0
    var offset: UInt64
    var block = ByteReader([])
    /// Of the entries so far; the reader's thread has the time for it.
    var digest: StateDigest

    init(offset: UInt64, _ head: StateHead) {
      self.offset = offset
      digest = StateDigest(head, orderIsTold: true)
    }
  }

  /// Entries that are handed over at once: few enough that their memory is used again and again.
  private static let stepCount = 128
  /// Decoded entries that wait, in bytes.
  private static let costMax = 8 << 20
  /// Below it, a thread costs more than it gains.
  private static let byteCountMin: UInt64 = 128 << 10

  /// Reads header and configuration.
  /// - Throws: `DamageError` naming file and offset; `StorageError` inside it.
  public init(_ storage: any JournalStorage, number: UInt32) throws(DamageError) {
    let name = FileName.checkpoint(number)
    do {
      file = try storage.open(name, forWriting: false)
      byteCount = try file.size()
      let bytes = try file.read(at: 0, count: Format.checkpointHeaderByteCount)
      var (header, hasConfiguration) = try CheckpointHeader.decode(bytes)
      guard header.number == number else { throw FormatError.badField("number") }
      var offset = UInt64(Format.checkpointHeaderByteCount)
      if hasConfiguration {
        let block = try Self.block(file, &offset, BodyDecoder(), version: header.version)
        var decoder = EventDecoder(block, first: SequenceNumber(1))
        guard case .opened(let opened) = try decoder.record().event, decoder.isAtEnd else {
          throw FormatError.badField("configuration")
        }
        header.head.opened = opened
      }
      self.header = header
      firstEntryOffset = offset
    } catch let error as StorageError {
      throw .storage(error)
    } catch let error as FormatError {
      throw .format(file: name, offset: 0, error)
    } catch {
      preconditionFailure("no other error is thrown here: \(error)")
    }
  }

  /// Calls `body` for every entry, most recent first. Blocks are decoded ahead, on another core.
  /// - Throws: `DamageError`; whatever `body` throws, wrapped with the place.
  public func forEachEntry(
    _ body: (EntryImage, Bytes?) throws(StateError) -> Void
  ) throws(DamageError) {
    _ = try forEachEntry(
      hashSeed: 0, ahead: { _ in },
      body: { (image, value, _) throws(StateError) in try body(image, value) })
  }

  /// The same, with each key's hash, and `ahead` called before some of them with where they belong.
  /// - Parameter hashSeed: that of the state.
  /// - Returns: the digest of a state with these entries, if their order is told.
  func forEachEntry(
    hashSeed: UInt64, ahead: (borrowing Span<Filing>) -> Void,
    body: (EntryImage, Bytes?, UInt64) throws(StateError) -> Void
  ) throws(DamageError) -> UInt64 {
    let decoder = BodyDecoder()
    var place = Place(offset: firstEntryOffset, header.head)
    let produce = { step(&place, decoder, hashSeed) }
    let isLong = byteCount >= Self.byteCountMin
    let readAhead = isLong ? ReadAhead(costMax: Self.costMax, produce: produce) : nil
    defer { readAhead?.stop() }
    var count: UInt64 = 0
    while true {
      var step = readAhead?.next() ?? produce().element
      switch step.found {
      case .entries:
        count += UInt64(step.entries.count)
        ahead(step.filings.span)
        while let entry = step.entries.popLast() {
          do throws(StateError) {
            try body(entry.image, entry.value, entry.keyHash)
          } catch {
            throw .state(file: name, offset: step.offset, error)
          }
        }
      case .end:
        if count == header.entryCount { return step.digest }
        throw .format(file: name, offset: step.offset, .badField("entry count"))
      case .damaged(let error): throw .format(file: name, offset: step.offset, error)
      case .failed(let error): throw .storage(error)
      }
    }
  }

  // MARK: Blocks

  private func step(
    _ place: inout Place, _ decoder: BodyDecoder, _ hashSeed: UInt64
  ) -> ReadAhead<Step>.Produced {
    do {
      if place.block.isAtEnd {
        place.start = place.offset
        let block = try Self.block(file, &place.offset, decoder, version: header.version)
        if block.isEmpty {
          return (Step(found: .end, offset: place.start, digest: place.digest.value), 0, true)
        }
        place.block = ByteReader(block)
      }
      let remaining = place.block.remaining
      var step = Step(found: .entries, offset: place.start)
      try addEntries(to: &step, &place, hashSeed)
      let taken = remaining - place.block.remaining
      return (step, taken + step.entries.count * MemoryLayout<Entry>.stride, false)
    } catch let error as FormatError {
      return (Step(found: .damaged(error), offset: place.start), 0, true)
    } catch let error as StorageError {
      return (Step(found: .failed(error), offset: place.start), 0, true)
    } catch {
      preconditionFailure("no other error is thrown here: \(error)")
    }
  }

  private static func block(
    _ file: any JournalFile, _ offset: inout UInt64, _ decoder: BodyDecoder, version: UInt8
  ) throws -> [UInt8] {
    let header = try file.read(at: offset, count: Format.blockHeaderByteCount)
    guard header.count == Format.blockHeaderByteCount else { throw FormatError.truncated }
    let (stored, raw, checksum): (UInt32, UInt32, UInt32) = (
      header.fixed(0), header.fixed(4), header.fixed(8)
    )
    offset += UInt64(header.count)
    if stored == 0 {
      guard raw == 0, checksum == header.checksum(0..<8) else { throw FormatError.headerChecksum }
      return []
    }
    guard stored <= raw, raw <= UInt32(Format.bodyByteCountMax) else {
      throw FormatError.lengthOutOfBounds(UInt64(raw))
    }
    guard try file.size() >= offset + UInt64(stored) else { throw FormatError.truncated }
    let bytes = try file.read(at: offset, count: Int(stored))
    guard bytes.withUnsafeBytes({ crc32($0) }) == checksum, bytes.count == Int(stored) else {
      throw FormatError.bodyChecksum
    }
    offset += UInt64(stored)
    return try decoder.decode(
      bytes, stored == raw ? .stored : .begins, version: version, count: Int(raw))
  }

  private func addEntries(
    to step: inout Step, _ place: inout Place, _ hashSeed: UInt64
  ) throws(FormatError) {
    step.entries.reserveCapacity(Self.stepCount)
    step.filings.reserveCapacity(Self.stepCount)
    while !place.block.isAtEnd, step.entries.count < Self.stepCount {
      let (image, value) = try entry(&place.block)
      place.digest.add(image)
      let hash = image.key.withUnsafeBytes { XXH64.hash($0, seed: hashSeed) }
      step.filings.append(Filing(keyHash: hash, origin: image.origin))
      step.entries.append(Entry(image: image, value: value, keyHash: hash))
    }
    step.entries.reverse()
  }

  private func entry(_ reader: inout ByteReader) throws(FormatError) -> (EntryImage, Bytes?) {
    let key = try reader.prefixed(max: Bounds.keyByteCountMax, "key")
    let distance = try reader.varint()
    guard !key.isEmpty, distance < header.head.sequence.rawValue else { throw .badField("origin") }
    let age = try reader.varint()
    guard age <= UInt64(header.head.at.rawValue) else { throw .badField("set at") }
    let setAt = Timestamp(rawValue: header.head.at.rawValue - Int64(age))
    let coder = try reader.byte()
    let valueByteCount = try reader.varint()
    guard valueByteCount <= UInt64(Bounds.valueByteCountMax) else { throw .badField("value") }
    let hash = try reader.fixed64()
    let memory = try expiry(&reader, after: setAt)
    let store = try expiry(&reader, after: setAt)
    let value = try reader.byte() == 0 ? nil : try reader.slice(valueByteCount)
    if let value, XXH64.hash(value) != hash { throw .badField("value hash") }
    let image = EntryImage(
      key: key, origin: SequenceNumber(header.head.sequence.rawValue - distance), setAt: setAt,
      coder: coder, valueByteCount: UInt32(valueByteCount), valueHash: hash, memoryExpiry: memory,
      storeExpiry: store)
    return (image, value)
  }

  private func expiry(
    _ reader: inout ByteReader, after at: Timestamp
  ) throws(FormatError) -> Timestamp? {
    let raw = try reader.varint()
    if raw == 0 { return nil }
    guard raw - 1 <= UInt64(Int64.max) else { throw .badField("expiry") }
    let (expiry, overflow) = at.rawValue.addingReportingOverflow(Int64(raw - 1))
    guard !overflow else { throw .badField("expiry") }
    return Timestamp(rawValue: expiry)
  }
}
