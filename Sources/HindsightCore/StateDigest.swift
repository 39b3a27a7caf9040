/// The digest of everything observable: sequence, time, configuration, every entry with a hash of
/// its value, and the order of use where the events tell it.
///
/// XXH64, each part's bytes seeded with the digest so far: the head first, then each entry. All
/// numbers are little-endian. Entries come most recent first; without a told order, in the order of
/// their origins.
public struct StateDigest: Sendable {
  /// The digest of what was added so far.
  public private(set) var value: UInt64 = 0
  private var part: [UInt8] = []
  /// How many numbers an entry has beside its key's bytes.
  private static let numberCount = 8

  /// Begins with a state's head.
  public init(_ head: StateHead, orderIsTold: Bool) {
    add(head.sequence.rawValue)
    add(UInt64(bitPattern: head.at.rawValue))
    add(head.isClosed ? 1 : 0)
    add(orderIsTold ? 1 : 0)
    if let opened = head.opened { add(opened) }
    endPart()
  }

  /// Adds the next entry.
  public mutating func add(_ image: EntryImage) {
    image.key.withUnsafeBytes { add(key: $0, image.numbers) }
  }

  /// Adds the next entry, its key lent.
  public mutating func add(key: UnsafeRawBufferPointer, _ numbers: EntryNumbers) {
    withUnsafeTemporaryAllocation(
      byteCount: key.count + Self.numberCount * MemoryLayout<UInt64>.size, alignment: 8
    ) { part in
      // Written in place: an array's appending took more than the hash.
      var at = 0
      func put(_ word: UInt64) {
        part.storeBytes(of: word.littleEndian, toByteOffset: at, as: UInt64.self)
        at += MemoryLayout<UInt64>.size
      }
      func put(_ expiry: Timestamp?) {
        put(expiry.map { UInt64(bitPattern: $0.rawValue) } ?? .max)
      }
      put(UInt64(key.count))
      UnsafeMutableRawBufferPointer(rebasing: part[at...]).copyMemory(from: key)
      at += key.count
      put(numbers.origin.rawValue)
      put(UInt64(bitPattern: numbers.setAt.rawValue))
      put(UInt64(numbers.coder))
      put(UInt64(numbers.valueByteCount))
      put(numbers.valueHash)
      put(numbers.memoryExpiry)
      put(numbers.storeExpiry)
      value = XXH64.hash(UnsafeRawBufferPointer(part), seed: value)
    }
  }

  private mutating func add(_ opened: Opened) {
    for limit in [opened.memoryLimit, opened.storeLimit] {
      add(limit?.entryCountMax ?? .max)
      add(limit?.byteCountMax ?? .max)
    }
    add(UInt64(bitPattern: opened.memoryTTL.rawValue))
    add(UInt64(bitPattern: opened.storeTTL.rawValue))
    add(UInt64(opened.accessLog.rawValue))
  }

  private mutating func add(_ word: UInt64) {
    withUnsafeBytes(of: word.littleEndian) { part.append(contentsOf: $0) }
  }

  private mutating func endPart() {
    value = part.withUnsafeBytes { XXH64.hash($0, seed: value) }
    part.removeAll(keepingCapacity: true)
  }
}
