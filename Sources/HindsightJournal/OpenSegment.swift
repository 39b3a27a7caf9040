import HindsightCore

/// The segment that is written to.
struct OpenSegment {
  var file: any JournalFile
  var number: UInt32
  var salt: UInt64
  var offset: UInt64
  var previousChecksum: UInt32
  /// Up to here it has been written to: frames, and zeros ahead of them.
  var writtenEnd: UInt64 = 0

  /// Creates a segment by write, sync, rename, directory sync: it is there whole, or not at all.
  /// - Parameters:
  ///   - compresses: whether `frames` are compressed. A few that an opening has to wait for aren't.
  ///   - copied: frames behind those, the first of which begins a run.
  static func create(
    _ storage: any JournalStorage, _ options: JournalOptions, _ journalID: JournalID,
    number: UInt32, follows: SequenceNumber, frames: [StampedFrame], compresses: Bool = true,
    copied: [CopiedFrame] = []
  ) throws(StorageError) -> OpenSegment {
    let name = FileName.segment(number)
    if try storage.list().contains(name + ".tmp") { try storage.remove(name + ".tmp") }
    do throws(StorageError) {
      return try writeNew(
        storage, options, journalID, number: number, follows: follows, frames: frames,
        compresses: compresses, copied: copied)
    } catch {
      storage.removeUnfinished(name + ".tmp")
      throw error
    }
  }

  private static func writeNew(
    _ storage: any JournalStorage, _ options: JournalOptions, _ journalID: JournalID,
    number: UInt32, follows: SequenceNumber, frames: [StampedFrame], compresses: Bool,
    copied: [CopiedFrame]
  ) throws(StorageError) -> OpenSegment {
    let name = FileName.segment(number)
    let header = SegmentHeader(
      number: number, journalID: journalID, salt: options.random(), follows: follows,
      createdAt: options.now())
    let (bytes, checksum) = header.encoded()
    let file = try storage.create(name + ".tmp")
    var segment = OpenSegment(
      file: file, number: number, salt: header.salt, offset: UInt64(bytes.count),
      previousChecksum: checksum)
    try file.allocate(options.segmentByteCount)
    try file.write(bytes, at: 0)
    let compressor = compresses ? RunCompressor() : nil
    for frame in frames { try segment.write(frame, compressor) }
    for frame in copied {
      try segment.append(
        frame.encoded(salt: segment.salt, previousChecksum: segment.previousChecksum))
    }
    try file.sync()
    try storage.rename(name + ".tmp", to: name)
    try storage.syncDirectory()
    return segment
  }

  /// Writes a frame at its end.
  mutating func write(
    _ frame: StampedFrame, _ compressor: RunCompressor?
  ) throws(StorageError) {
    try append(frame.encoded(compressor, salt: salt, previousChecksum: previousChecksum))
  }

  private mutating func append(
    _ frame: (bytes: [UInt8], checksum: UInt32)
  ) throws(StorageError) {
    try file.write(frame.bytes, at: offset)
    offset += UInt64(frame.bytes.count)
    writtenEnd = max(writtenEnd, offset)
    previousChecksum = frame.checksum
  }

  /// Has the next frames stand where something was written already: the first write to space that was only
  /// set aside changes the file system's records of the file, which a sync then has to write, too.
  mutating func writeAhead(upTo end: UInt64) {
    let start = max(writtenEnd, offset)
    let wanted = min(offset + Format.aheadByteCount, end)
    guard start < offset + Format.aheadByteCountMin, start < wanted else { return }
    do throws(StorageError) {
      try file.write([UInt8](repeating: 0, count: Int(wanted - start)), at: start)
      writtenEnd = wanted
    } catch {
      // Nothing is lost by it; the frames' own writes tell what is wrong. Not tried again.
      writtenEnd = .max
    }
  }
}
