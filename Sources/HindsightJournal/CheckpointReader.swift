public import HindsightCore

/// Reads a checkpoint, block by block.
public struct CheckpointReader {
  public let header: CheckpointHeader
  /// The file.
  public var name: String { header.name }
  /// The file's size.
  let byteCount: UInt64
  private let file: any JournalFile
  private let firstEntryOffset: UInt64

  /// An entry, its key and value as places in the block: one that referred to them would be retained by
  /// one thread and released by the other.
  private struct Entry: Sendable {
    var key: Range<Int>
    var value: Range<Int>?
    var keyHash: UInt64
    var numbers: EntryNumbers
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
    /// Bytes that were read for it.
    var storedByteCount = 0
    var block: [UInt8] = []
    var entries: [Entry] = []
    /// Where the index will file them, in order.
    var filings: [Filing] = []
    /// The digest of all entries, at the end.
    var digest: UInt64 = 0

    func forEachEntry(
      _ body: (LentImage, UnsafeRawBufferPointer?) throws(StateError) -> Void
    ) throws(StateError) {
      let entries = entries.span
      try block.span.bytes.withUnsafeBytes { (block) throws(StateError) in
        for at in entries.indices {
          let entry = entries[at]
          let image = LentImage(
            key: UnsafeRawBufferPointer(rebasing: block[entry.key]), keyHash: entry.keyHash,
            numbers: entry.numbers)
          try body(image, entry.value.map { UnsafeRawBufferPointer(rebasing: block[$0]) })
        }
      }
    }
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
        let block = try Self.block(
          file, &offset, BodyDecoder(), version: header.version,
          byteCountMax: Format.configurationByteCountMax)
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

  /// A checkpoint's reader; `nil` where the file is gone, or its header is damaged. Such a one proves nothing, and
  /// bridges nothing; `verify` names it.
  /// - Throws: `StorageError` where it can't be read for another reason.
  static func ifWhole(
    _ storage: any JournalStorage, number: UInt32
  ) throws(StorageError) -> CheckpointReader? {
    do throws(DamageError) {
      return try CheckpointReader(storage, number: number)
    } catch {
      if let failure = error.storageFailure { throw failure }
      return nil
    }
  }

  /// Calls `body` for every entry, most recent first, lending its value where there is one. Blocks are
  /// decoded ahead, on another core.
  /// - Parameters:
  ///   - hashSeed: what keys are hashed with: that of the state which takes them.
  ///   - ahead: is called before some of them with where they belong.
  ///   - read: is told how many bytes of the file have been read since, before what they hold.
  /// - Returns: the digest of a state with these entries, if their order is told.
  /// - Throws: `DamageError`; whatever `body` throws, wrapped with the place.
  @discardableResult
  public func forEachEntry(
    hashSeed: UInt64, ahead: (borrowing Span<Filing>) -> Void = { _ in },
    read: (Int) throws(StateError) -> Void = { _ in },
    body: (LentImage, UnsafeRawBufferPointer?) throws(StateError) -> Void
  ) throws(DamageError) -> UInt64 {
    let decoder = BodyDecoder()
    var place = Place(offset: firstEntryOffset, header.head)
    let produce = { (_: ReadAhead<Step>?) in step(&place, decoder, hashSeed) }
    let isLong = byteCount >= Self.byteCountMin
    let readAhead = isLong ? ReadAhead(costMax: Self.costMax, produce: produce) : nil
    defer { readAhead?.stop() }
    var count: UInt64 = 0
    while true {
      let step = readAhead?.next() ?? produce(nil).element
      switch step.found {
      case .entries:
        count += UInt64(step.entries.count)
        ahead(step.filings.span)
        do throws(StateError) {
          try read(step.storedByteCount)
          try step.forEachEntry(body)
        } catch {
          throw .state(file: name, offset: step.offset, error)
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
      var storedByteCount = 0
      if place.block.isAtEnd {
        place.start = place.offset
        let block = try Self.block(file, &place.offset, decoder, version: header.version)
        if block.isEmpty {
          return (Step(found: .end, offset: place.start, digest: place.digest.value), 0, true)
        }
        place.block = ByteReader(block)
        storedByteCount = Int(place.offset - place.start)
      }
      let remaining = place.block.remaining
      var step = Step(
        found: .entries, offset: place.start, storedByteCount: storedByteCount,
        block: place.block.bytes)
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
    _ file: any JournalFile, _ offset: inout UInt64, _ decoder: BodyDecoder, version: UInt8,
    byteCountMax: Int = Format.bodyByteCountMax
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
    guard stored <= raw, raw <= UInt32(byteCountMax) else {
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
      var entry = try entry(&place.block)
      step.block.withUnsafeBytes { block in
        let key = UnsafeRawBufferPointer(rebasing: block[entry.key])
        entry.keyHash = KeyHash.hash(key, seed: hashSeed)
        place.digest.add(key: key, entry.numbers)
      }
      step.filings.append(Filing(keyHash: entry.keyHash, origin: entry.numbers.origin))
      step.entries.append(entry)
    }
  }

  /// The next entry, its key yet to be hashed.
  private func entry(_ reader: inout ByteReader) throws(FormatError) -> Entry {
    let key = try reader.prefixedRange(max: Bounds.keyByteCountMax, "key")
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
    let value = try reader.byte() == 0 ? nil : try reader.range(valueByteCount)
    if let value, XXH64.hash(reader.bytes[value]) != hash { throw .badField("value hash") }
    return Entry(
      key: key, value: value, keyHash: 0,
      numbers: EntryNumbers(
        origin: SequenceNumber(header.head.sequence.rawValue - distance), setAt: setAt,
        coder: coder, valueByteCount: UInt32(valueByteCount), valueHash: hash,
        memoryExpiry: memory, storeExpiry: store))
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
