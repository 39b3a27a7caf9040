/// A file as a kernel and a disk have it: what reads see, what the disk holds, and the changes in
/// between, in their order.
struct SimulatedContents: Sendable {
  /// Bytes, then zeros up to the size: space that was allocated and never written.
  struct Extent: Equatable, Sendable {
    var data: [UInt8] = []
    private(set) var size = 0

    init(_ bytes: [UInt8] = []) {
      data = bytes
      size = bytes.count
    }

    /// So many bytes, or fewer at the end.
    func bytes(at offset: Int, count: Int) -> [UInt8] {
      let end = min(size, offset + count)
      guard offset < end else { return [] }
      let stored = offset < data.count ? Array(data[offset..<min(end, data.count)]) : []
      if stored.count == end - offset { return stored }
      return stored + Array(repeating: 0, count: end - offset - stored.count)
    }

    var all: [UInt8] { bytes(at: 0, count: size) }

    mutating func write(_ bytes: some Collection<UInt8>, at offset: Int) {
      if data.count < offset + bytes.count {
        data.append(contentsOf: repeatElement(0, count: offset + bytes.count - data.count))
      }
      data.replaceSubrange(offset..<offset + bytes.count, with: bytes)
      size = max(size, data.count)
    }

    mutating func allocate(_ count: Int) { size = max(size, count) }

    mutating func truncate(to count: Int) {
      if data.count > count { data.removeLast(data.count - count) }
      size = count
    }
  }

  /// A change that the disk doesn't have yet.
  struct Change: Sendable {
    enum Kind: Sendable {
      case write([UInt8], at: Int)
      case allocate(Int)
      case truncate(Int)
    }

    var kind: Kind
    /// Its place among all changes of the storage.
    var order: Int

    /// The bytes that it writes, and where.
    var write: (bytes: [UInt8], offset: Int)? {
      if case .write(let bytes, let offset) = kind { return (bytes, offset) }
      return nil
    }
  }

  /// What reads see.
  private(set) var current = Extent()
  /// What survives a loss of power.
  private(set) var synced = Extent()
  /// What lies between the two. Where the disk lies, not all of it does.
  private(set) var pending: [Change] = []
  /// So many changes were ever pending.
  private(set) var changeCount = 0

  init() {}

  /// A file that is wholly on the disk.
  init(synced extent: Extent) {
    current = extent
    synced = extent
  }

  mutating func change(_ kind: Change.Kind, order: Int) {
    change(kind, onDisk: kind, order: order)
  }

  /// A change that reads see, though the disk gets another one; `nil`: none.
  mutating func change(_ kind: Change.Kind, onDisk other: Change.Kind?, order: Int) {
    current.apply(kind)
    guard let other else { return }
    pending.append(Change(kind: other, order: order))
    changeCount += 1
  }

  /// A sync has ended, which covers the changes that there were when it began: what came later stays pending.
  /// - Parameter count: the `changeCount` of that moment.
  mutating func sync(through count: Int) {
    let covered = max(0, count - (changeCount - pending.count))
    for change in pending.prefix(covered) { synced.apply(change.kind) }
    pending.removeFirst(covered)
  }

  /// A sync failed: what was not written back will never be (fsync(2), errors), though some pages may have been.
  /// - Parameters:
  ///   - isReverted: whether reads see that at once.
  ///   - isWrittenBack: whether the page of this number was.
  mutating func failSync(isReverted: Bool, isWrittenBack: (Int) -> Bool = { _ in false }) {
    synced = onDisk { _ in true }.mixed(
      with: synced, sectorByteCount: Self.pageByteCount, isWrittenBack)
    pending.removeAll()
    if isReverted { current = synced }
  }

  private static let pageByteCount = 4_096

  /// The disk's contents with some of the pending changes made.
  func onDisk(_ isMade: (Change) -> Bool) -> Extent {
    var extent = synced
    for change in pending where isMade(change) { extent.apply(change.kind) }
    return extent
  }
}

extension SimulatedContents.Extent {
  mutating func apply(_ change: SimulatedContents.Change.Kind) {
    switch change {
    case .write(let bytes, let offset): write(bytes, at: offset)
    case .allocate(let count): allocate(count)
    case .truncate(let count): truncate(to: count)
    }
  }

  /// Sectors of this where they are chosen, else of what was there before.
  func mixed(
    with old: Self, sectorByteCount: Int = 512, _ isChosen: (Int) -> Bool
  ) -> Self {
    var bytes = old.all
    if size > old.size {
      bytes.append(contentsOf: repeatElement(0, count: size - old.size))
    }
    for start in stride(from: 0, to: max(data.count, old.data.count), by: sectorByteCount) {
      let end = min(start + sectorByteCount, bytes.count)
      guard start < end else { break }
      let mine = self.bytes(at: start, count: end - start)
      let isSame = bytes[start..<end].elementsEqual(mine)
      guard !isSame, isChosen(start / sectorByteCount) else { continue }
      bytes.replaceSubrange(start..<start + mine.count, with: mine)
    }
    return Self(bytes)
  }
}
