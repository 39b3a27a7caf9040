import HindsightCore

/// Walks the frames of one segment, checking everything; reads ahead in large pieces.
struct FrameReader {
  /// What stands at the reader's place.
  enum Found {
    case frame(Frame)
    /// The file's end, or nothing but zeros up to it.
    case end
    /// Something that is no frame of this segment.
    case bad(FormatError)
  }

  struct Frame: Sendable {
    var header: FrameHeader
    var headerChecksum: UInt32
    var offset: UInt64
    var stored: [UInt8]
    var end: UInt64 {
      offset + UInt64(Format.frameHeaderByteCount) + UInt64(stored.count)
    }
  }

  private static let readAhead = 1 << 20
  /// How much is read ahead where bodies are passed over.
  private static let headReadAhead = 8 << 10

  let file: any JournalFile
  let version: UInt8
  /// What every frame of the segment repeats; `nil`: any will do.
  let salt: UInt64?
  private(set) var offset: UInt64
  /// What the next frame must repeat; `nil` where that isn't known.
  private(set) var previousChecksum: UInt32?
  private var readAhead = Self.readAhead
  /// Where the data ended when the reader began: what a writer appends meanwhile isn't waited for.
  private var dataEnd: UInt64?
  private var buffer: [UInt8] = []
  private var bufferOffset: UInt64 = 0

  /// Reads from the segment's beginning, or from a frame's.
  /// - Parameters:
  ///   - offset: where that begins.
  ///   - previousChecksum: of the frame before that, where it is known.
  init(
    _ segment: JournalDirectory.Segment, offset: UInt64? = nil, previousChecksum: UInt32? = nil
  ) {
    file = segment.file
    version = segment.header.version
    salt = segment.header.salt
    self.offset = offset ?? UInt64(Format.segmentHeaderByteCount)
    self.previousChecksum = offset == nil ? segment.headerChecksum : previousChecksum
  }

  /// Of a file whose header is unknown: only for `aftermath`.
  init(file: any JournalFile) {
    self.file = file
    version = Format.version
    salt = nil
    offset = 0
    previousChecksum = nil
  }

  /// The next frame; the reader moves behind it only if it is one.
  mutating func next() throws(StorageError) -> Found {
    try findDataEnd()
    let head = try bytes(at: offset, count: Format.frameHeaderByteCount)
    if head.allSatisfy({ $0 == 0 }) {
      return try isZero(from: offset + UInt64(head.count)) ? .end : .bad(.badMagic)
    }
    let header: FrameHeader
    do throws(FormatError) {
      header = try FrameHeader(head)
    } catch {
      return .bad(error)
    }
    guard header.version == version else { return .bad(.unknownVersion(header.version)) }
    guard header.salt == salt else { return .bad(.badField("salt")) }
    if let previousChecksum, header.previousChecksum != previousChecksum {
      return .bad(.badField("previous checksum"))
    }
    let stored = try bytes(
      at: offset + UInt64(Format.frameHeaderByteCount), count: Int(header.storedByteCount))
    guard stored.count == Int(header.storedByteCount) else { return .bad(.truncated) }
    guard stored.withUnsafeBytes({ crc32($0) }) == header.bodyChecksum else {
      return .bad(.bodyChecksum)
    }
    let frame = Frame(
      header: header, headerChecksum: head.fixed(60), offset: offset, stored: stored)
    offset = frame.end
    previousChecksum = frame.headerChecksum
    return .frame(frame)
  }

  /// The next frame's header; the reader moves behind the frame, whose body it neither reads nor
  /// checks. `nil`: there is none.
  mutating func skip() throws(StorageError) -> FrameHeader? {
    readAhead = Self.headReadAhead
    let head = try bytes(at: offset, count: Format.frameHeaderByteCount)
    do throws(FormatError) {
      let header = try FrameHeader(head)
      guard header.version == version, header.salt == salt else { return nil }
      offset += UInt64(Format.frameHeaderByteCount) + UInt64(header.storedByteCount)
      previousChecksum = head.fixed(60)
      return header
    } catch {
      return nil
    }
  }

  /// Moves behind something bad, to the next whole header of this segment, or of any where the reader has no
  /// salt.
  /// - Returns: `nil`: there is none.
  mutating func skipDamage() throws(StorageError) -> FrameHeader? {
    let count = Format.frameHeaderByteCount
    var at = offset + 1
    while at < dataEnd ?? .max, try bytes(at: at, count: count).count == count {
      let end = buffer.count - count
      for start in Int(at - bufferOffset)...end
      where buffer[start] == UInt8(truncatingIfNeeded: Format.frameMagic) {
        guard let header = header(at: start) else { continue }
        offset = bufferOffset + UInt64(start)
        previousChecksum = nil
        return header
      }
      at = bufferOffset + UInt64(end) + 1
    }
    return nil
  }

  /// The whole header that begins there in the buffer, if one does.
  private func header(at start: Int) -> FrameHeader? {
    guard buffer.fixed(start, as: UInt32.self) == Format.frameMagic else { return nil }
    do throws(FormatError) {
      let header = try FrameHeader([UInt8](buffer[start..<start + Format.frameHeaderByteCount]))
      return salt.map { $0 == header.salt } ?? true ? header : nil
    } catch {
      return nil  // Chance bytes that look like a beginning.
    }
  }

  /// What the whole frame headers behind a bad place say.
  struct Aftermath {
    /// The highest sequence that one of them says had been durable: proof that what is bad before
    /// it was once good.
    var durable = SequenceNumber.zero
    /// The highest sequence that one of their events has.
    var highest = SequenceNumber.zero
  }

  /// Looks behind a bad place for whole headers of this segment.
  func aftermath() throws(StorageError) -> Aftermath {
    var found = Aftermath()
    var reader = self
    reader.readAhead = Self.readAhead
    try reader.findDataEnd()
    // The bad place may itself be a whole header, whose body isn't.
    let here = try reader.bytes(at: offset, count: Format.frameHeaderByteCount)
    if here.count == Format.frameHeaderByteCount,
      let header = reader.header(at: Int(offset - reader.bufferOffset))
    {
      found.highest = header.last
    }
    while let header = try reader.skipDamage() {
      found.durable = max(found.durable, header.durable)
      found.highest = max(found.highest, header.last)
    }
    return found
  }

  private mutating func findDataEnd() throws(StorageError) {
    if dataEnd == nil { dataEnd = try file.dataEnd(from: offset) }
  }

  private func isZero(from start: UInt64) throws(StorageError) -> Bool {
    var at = start
    while let dataEnd, at < dataEnd {
      let bytes = try file.read(at: at, count: Int(min(UInt64(Self.readAhead), dataEnd - at)))
      if bytes.isEmpty { return true }
      guard bytes.withUnsafeBytes({ $0.isZero }) else { return false }
      at += UInt64(bytes.count)
    }
    return true
  }

  /// So many bytes, or fewer at the file's end.
  private mutating func bytes(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
    let isBuffered =
      offset >= bufferOffset
      && offset + UInt64(count) <= bufferOffset + UInt64(buffer.count)
    if !isBuffered {
      // Never more than the file has: lengths come from the file itself.
      let left = try file.size()
      let ahead = dataEnd.map { min(UInt64(readAhead), $0 - min(offset, $0)) }
      let wanted = max(count, ahead.map(Int.init) ?? readAhead)
      buffer = try file.read(at: offset, count: Int(min(UInt64(wanted), left &- min(offset, left))))
      bufferOffset = offset
    }
    let start = Int(offset - bufferOffset)
    return [UInt8](buffer[start..<min(start + count, buffer.count)])
  }
}
