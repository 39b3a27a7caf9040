public import HindsightCore

/// Writes a checkpoint: entries most recent first, then the end, then the header, whose digest is
/// known by then. It appears under its name whole, or not at all.
public final class CheckpointWriter {
  private let storage: any JournalStorage
  private let file: any JournalFile
  private let name: String
  private var header: CheckpointHeader
  private let compressor = RunCompressor()
  private var block: [UInt8] = []
  /// How much of the block values are.
  private var valueByteCount = 0
  private var offset: UInt64
  private var written: UInt64 = 0
  /// Bytes of blocks with values, as they are stored.
  private var storedValueByteCount: UInt64 = 0

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
      do throws(StorageError) {
        try endBlock()
      } catch {
        discard()
        throw error
      }
    }
  }

  /// Adds the next entry, with its encoded value where it is a memory resident's, or is to be found
  /// nowhere else.
  public func append(
    key: UnsafeRawBufferPointer, _ numbers: EntryNumbers, value: Bytes?
  ) throws(StorageError) {
    // Blocks with values are compressed, those without aren't.
    if value == nil, valueByteCount >= Format.valueBlockByteCountMin { try endBlock() }
    block.append(varint: UInt64(key.count))
    block.append(contentsOf: key)
    block.append(varint: header.head.sequence.rawValue - numbers.origin.rawValue)
    block.append(varint: UInt64(header.head.at.rawValue - numbers.setAt.rawValue))
    block.append(numbers.coder)
    block.append(varint: UInt64(numbers.valueByteCount))
    block.append(fixed: numbers.valueHash)
    block.append(expiry: numbers.memoryExpiry, after: numbers.setAt)
    block.append(expiry: numbers.storeExpiry, after: numbers.setAt)
    block.append(value == nil ? 0 : 1)
    if let value {
      block.append(contentsOf: value)
      valueByteCount += value.count
    }
    written += 1
    if block.count >= Format.blockByteCount { try endBlock() }
  }

  /// Syncs the checkpoint and gives it its name.
  /// - Parameter digest: of the state whose entries were appended.
  /// - Returns: how much journal it is worth, in stored bytes: its size, but values count four times,
  ///   since compressing them takes time.
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
    return offset + 3 * storedValueByteCount
  }

  /// Removes what was written of a checkpoint that isn't wanted any more.
  /// - Throws: `StorageError`.
  public func abandon() throws(StorageError) {
    try file.close()
    try storage.remove(name + ".tmp")
  }

  /// Removes what was written of a checkpoint whose writing has failed.
  public func discard() { storage.removeUnfinished(name + ".tmp") }

  private func endBlock() throws(StorageError) {
    let stored = isCompressed ? compressed() : block
    if isMostlyValues { storedValueByteCount += UInt64(stored.count) }
    var bytes: [UInt8] = []
    bytes.append(fixed: UInt32(stored.count))
    bytes.append(fixed: UInt32(block.count))
    bytes.append(fixed: stored.withUnsafeBytes { crc32($0) })
    try file.write(bytes + stored, at: offset)
    offset += UInt64(bytes.count + stored.count)
    block.removeAll(keepingCapacity: true)
    valueByteCount = 0
  }

  /// Keys and hashes get little smaller, at a third of what a checkpoint costs and half of what
  /// reading one does; but one at a segment's start stays as long as the segment does.
  private var isCompressed: Bool {
    isMostlyValues || header.position.byteOffset == UInt64(Format.segmentHeaderByteCount)
  }

  private var isMostlyValues: Bool { 2 * valueByteCount >= block.count }

  private func compressed() -> [UInt8] {
    compressor.endRun()
    let compressed = compressor.encode(block).stored
    return compressed.count < block.count ? compressed : block
  }
}
