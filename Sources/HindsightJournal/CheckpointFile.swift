public import HindsightCore

/// A checkpoint's fixed facts; see Format.swift.
public struct CheckpointHeader: Equatable, Sendable {
  public var number: UInt32
  public var journalID: JournalID
  public var head: StateHead
  public var digest: UInt64
  public var entryCount: UInt64
  /// Where replay goes on.
  public var position: JournalPosition
  /// Boot time of the last frame that the state contains, in µs.
  public var bootTime: UInt64
  /// Where the state bridges a gap: the first event that the journal lacks. What it lacks ends with
  /// the state's own sequence.
  public var gapFirst: SequenceNumber?

  public init(
    number: UInt32, journalID: JournalID, head: StateHead, digest: UInt64, entryCount: UInt64,
    position: JournalPosition, bootTime: UInt64, gapFirst: SequenceNumber? = nil
  ) {
    self.number = number
    self.journalID = journalID
    self.head = head
    self.digest = digest
    self.entryCount = entryCount
    self.position = position
    self.bootTime = bootTime
    self.gapFirst = gapFirst
  }

  func encoded() -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(fixed: Format.checkpointMagic)
    bytes.append(fixed: UInt32(Format.version))
    bytes.append(fixed: number)
    bytes.append(fixed: journalID.high)
    bytes.append(fixed: journalID.low)
    bytes.append(fixed: head.sequence.rawValue)
    bytes.append(fixed: head.at.rawValue)
    bytes.append(fixed: digest)
    bytes.append(fixed: entryCount)
    bytes.append(fixed: position.segment)
    bytes.append(fixed: UInt32((head.isClosed ? 1 : 0) | (head.opened == nil ? 0 : 2)))
    bytes.append(fixed: position.byteOffset)
    bytes.append(fixed: bootTime)
    bytes.append(fixed: gapFirst?.rawValue ?? 0)
    bytes.append(contentsOf: repeatElement(0, count: 28))
    bytes.append(fixed: bytes.checksum(0..<124))
    return bytes
  }

  /// Decodes all but the configuration, which comes in the first block.
  static func decode(
    _ bytes: [UInt8]
  ) throws(FormatError) -> (CheckpointHeader, hasConfiguration: Bool) {
    guard bytes.count >= Format.checkpointHeaderByteCount else { throw .truncated }
    guard bytes.fixed(0, as: UInt64.self) == Format.checkpointMagic else { throw .badMagic }
    guard bytes.fixed(124, as: UInt32.self) == bytes.checksum(0..<124) else {
      throw .headerChecksum
    }
    let version: UInt32 = bytes.fixed(8)
    guard version == UInt32(Format.version) else {
      throw .unknownVersion(UInt8(truncatingIfNeeded: version))
    }
    let flags: UInt32 = bytes.fixed(68)
    let sequence: UInt64 = bytes.fixed(32)
    guard flags <= 3, sequence <= Format.sequenceMax else { throw .badField("flags") }
    let gapFirst: UInt64 = bytes.fixed(88)
    guard gapFirst <= sequence else { throw .badField("gap") }
    let head = StateHead(
      sequence: SequenceNumber(sequence), at: Timestamp(rawValue: bytes.fixed(40, as: Int64.self)),
      opened: nil, isClosed: flags & 1 == 1)
    let header = CheckpointHeader(
      number: bytes.fixed(12), journalID: JournalID(high: bytes.fixed(16), low: bytes.fixed(24)),
      head: head, digest: bytes.fixed(48), entryCount: bytes.fixed(56),
      position: JournalPosition(segment: bytes.fixed(64), byteOffset: bytes.fixed(72)),
      bootTime: bytes.fixed(80), gapFirst: gapFirst == 0 ? nil : SequenceNumber(gapFirst))
    return (header, flags & 2 == 2)
  }
}

/// Writes a checkpoint: entries most recent first, then the end, then the header, whose digest is
/// known by then. It appears under its name whole, or not at all.
public final class CheckpointWriter {
  private let storage: any JournalStorage
  private let file: any JournalFile
  private let name: String
  private var header: CheckpointHeader
  private let deflater = Deflater()
  private var block: [UInt8] = []
  private var offset: UInt64
  private var written: UInt64 = 0

  /// - Throws: `StorageError`.
  public init(_ storage: any JournalStorage, _ header: CheckpointHeader) throws(StorageError) {
    self.storage = storage
    self.header = header
    name = FileName.checkpoint(header.number)
    if try storage.list().contains(name + ".tmp") { try storage.remove(name + ".tmp") }
    file = try storage.create(name + ".tmp")
    offset = UInt64(Format.checkpointHeaderByteCount)
    if let opened = header.head.opened {
      block.append(EventTag.opened.rawValue)
      block.append(varint: 0)
      block.append(opened)
      try endBlock()
    }
  }

  /// Adds the next entry, with its encoded value where it is a memory resident's, or is to be found
  /// nowhere else.
  public func append(_ image: EntryImage, value: Bytes?) throws(StorageError) {
    block.append(prefixed: image.key)
    block.append(varint: header.head.sequence.rawValue - image.origin.rawValue)
    block.append(varint: UInt64(header.head.at.rawValue - image.setAt.rawValue))
    block.append(image.coder)
    block.append(varint: UInt64(image.valueByteCount))
    block.append(fixed: image.valueHash)
    block.append(expiry: image.memoryExpiry, after: image.setAt)
    block.append(expiry: image.storeExpiry, after: image.setAt)
    block.append(value == nil ? 0 : 1)
    if let value { block.append(contentsOf: value) }
    written += 1
    if block.count >= Format.blockByteCount { try endBlock() }
  }

  /// Syncs the checkpoint and gives it its name.
  /// - Parameter digest: of the state whose entries were appended.
  /// - Returns: its size in bytes.
  public func finish(digest: UInt64) throws(StorageError) -> UInt64 {
    header.digest = digest
    precondition(written == header.entryCount, "a checkpoint must hold what its header says")
    if !block.isEmpty { try endBlock() }
    var end: [UInt8] = []
    end.append(fixed: UInt64(0))
    end.append(fixed: end.checksum(0..<8))
    try file.write(end, at: offset)
    try file.write(header.encoded(), at: 0)
    try file.sync()
    try file.close()
    try storage.rename(name + ".tmp", to: name)
    try storage.syncDirectory()
    return offset + UInt64(end.count)
  }

  /// Removes what was written of a checkpoint that isn't wanted any more.
  /// - Throws: `StorageError`.
  public func abandon() throws(StorageError) {
    try file.close()
    try storage.remove(name + ".tmp")
  }

  private func endBlock() throws(StorageError) {
    var stored: [UInt8] = []
    if !deflater.append(block, to: &stored) { stored = block }
    var bytes: [UInt8] = []
    bytes.append(fixed: UInt32(stored.count))
    bytes.append(fixed: UInt32(block.count))
    bytes.append(fixed: stored.withUnsafeBytes { crc32($0) })
    try file.write(bytes + stored, at: offset)
    offset += UInt64(bytes.count + stored.count)
    block.removeAll(keepingCapacity: true)
  }
}

/// Reads a checkpoint, block by block.
public struct CheckpointReader {
  public let header: CheckpointHeader
  /// The file.
  public var name: String { FileName.checkpoint(header.number) }
  private let file: any JournalFile
  private let firstEntryOffset: UInt64

  /// Reads header and configuration.
  /// - Throws: `DamageError` naming file and offset; `StorageError` inside it.
  public init(_ storage: any JournalStorage, number: UInt32) throws(DamageError) {
    let name = FileName.checkpoint(number)
    do {
      file = try storage.open(name, forWriting: false)
      let bytes = try file.read(at: 0, count: Format.checkpointHeaderByteCount)
      var (header, hasConfiguration) = try CheckpointHeader.decode(bytes)
      guard header.number == number else { throw FormatError.badField("number") }
      var offset = UInt64(Format.checkpointHeaderByteCount)
      if hasConfiguration {
        let block = try Self.block(file, &offset, Inflater())
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

  /// Calls `body` for every entry, most recent first.
  /// - Throws: `DamageError`; whatever `body` throws, wrapped with the place.
  public func forEachEntry(
    _ body: (EntryImage, Bytes?) throws(StateError) -> Void
  ) throws(DamageError) {
    let name = FileName.checkpoint(header.number)
    let inflater = Inflater()
    var offset = firstEntryOffset
    var count: UInt64 = 0
    while true {
      let start = offset
      do {
        let block = try Self.block(file, &offset, inflater)
        if block.isEmpty {
          guard count == header.entryCount else { throw FormatError.badField("entry count") }
          return
        }
        var reader = ByteReader(block)
        while !reader.isAtEnd {
          let (image, value) = try entry(&reader)
          try body(image, value)
          count += 1
        }
      } catch let error as FormatError {
        throw .format(file: name, offset: start, error)
      } catch let error as StateError {
        throw .state(file: name, offset: start, error)
      } catch let error as StorageError {
        throw .storage(error)
      } catch {
        preconditionFailure("no other error is thrown here: \(error)")
      }
    }
  }

  private static func block(
    _ file: any JournalFile, _ offset: inout UInt64, _ inflater: Inflater
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
    if stored == raw { return bytes }
    return try inflater.inflate(bytes, count: Int(raw))
  }

  private func entry(_ reader: inout ByteReader) throws(FormatError) -> (EntryImage, Bytes?) {
    let key = try reader.prefixed(max: Bounds.keyByteCountMax, "key")
    let distance = try reader.varint()
    guard !key.isEmpty, distance < header.head.sequence.rawValue else { throw .badField("origin") }
    let age = try reader.varint()
    guard age <= UInt64(Int64.max) else { throw .badField("set at") }
    let setAt = Timestamp(rawValue: header.head.at.rawValue &- Int64(age))
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

/// Damage, with the file and the place in it.
public enum DamageError: Error, Sendable, CustomStringConvertible {
  case storage(StorageError)
  case format(file: String, offset: UInt64, FormatError)
  /// The checksums are right, but the event can't be: see `StateError`.
  case state(file: String, offset: UInt64, StateError)
  /// Files are missing, or don't belong together.
  case structure(file: String, String)

  public var description: String {
    switch self {
    case .storage(let error): error.description
    case .format(let file, let offset, let error): "\(file), offset \(offset): \(error)"
    case .state(let file, let offset, let error): "\(file), offset \(offset): \(error)"
    case .structure(let file, let what): "\(file): \(what)"
    }
  }
}
