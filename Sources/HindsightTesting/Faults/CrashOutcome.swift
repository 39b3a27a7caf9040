import Synchronization

// What a loss of power leaves of what was not synced. Devices and kernels write back in any order,
// metadata before data or after it; a sector is whole or isn't, and a page may be half there.

extension SimulatedStorage {
  /// Power is lost: what is left of what was not synced, the injector decides. Of its enabled crash
  /// outcomes one is chosen for the files' bytes and one for their names; none: all of it is gone.
  /// - Returns: the kinds that made a difference, and were counted.
  @discardableResult
  public func crash(_ injector: FaultInjector) -> [FaultKind] {
    let hasData = !unsyncedChanges.isEmpty
    let data = hasData ? injector.choose(Self.dataOutcomes) : nil
    let hasNames = hasUnsyncedNames
    let naming = hasNames ? injector.choose(Self.nameOutcomes) : nil
    var random = injector.dice()
    let outcome = CrashOutcome(
      kind: data ?? .unsyncedDropped, changes: unsyncedChanges, stale: staleBytes, &random)
    restart { directory in
      let names = Set(directory.entries.keys).union(directory.synced.keys).sorted()
      var left: [String: Node] = [:]
      for name in names {
        let (new, old) = (directory.entries[name], directory.synced[name])
        var isNew = false
        if new !== old {
          switch naming {
          case .namesKept: isNew = true
          case .namesMixed: isNew = random.next() % 2 == 0
          default: break
          }
        }
        guard let node = isNew ? new : old else { continue }
        let contents = node.contents.withLock { $0 }
        left[name] = Node(SimulatedContents(synced: outcome.extent(contents, &random)))
      }
      directory.entries = left
    }
    for kind in [data, naming].compactMap(\.self) { injector.note(kind, at: "crash") }
    return [data, naming].compactMap(\.self)
  }

  private static let dataOutcomes: [FaultKind] = [
    .unsyncedDropped, .unsyncedKept, .unsyncedRandomPages, .unsyncedReordered, .tornSector512,
    .tornSector4K, .zeroFilledTail, .garbageTail, .staleTail,
  ]
  private static let nameOutcomes: [FaultKind] = [.namesDropped, .namesKept, .namesMixed]

  /// All changes that the disk lacks, in their order.
  private var unsyncedChanges: [SimulatedContents.Change] {
    let nodes = directory.withLock { directory in
      directory.entries.keys.sorted().compactMap { directory.entries[$0] }
    }
    return nodes.flatMap { node in node.contents.withLock { $0.pending } }
      .sorted { $0.order < $1.order }
  }

  private var hasUnsyncedNames: Bool {
    directory.withLock { directory in
      directory.entries.count != directory.synced.count
        || directory.entries.contains { directory.synced[$0.key] !== $0.value }
    }
  }

  /// Bytes of a file that is gone, or of the oldest segment: what a reused block may hold.
  private var staleBytes: [UInt8] {
    directory.withLock { directory in
      if let last = directory.graveyard.last { return last }
      let oldest = directory.entries.keys.sorted().first { $0.hasSuffix(".journal") }
      return oldest.flatMap { directory.entries[$0] }.map { node in
        node.contents.withLock { $0.synced.data }
      } ?? []
    }
  }
}

/// One way in which unsynced changes come out.
private struct CrashOutcome {
  private let kind: FaultKind
  /// The orders of the changes that are made.
  private var made: Set<Int> = []
  /// Changes of which only a part is.
  private var partial: Set<Int> = []
  private let stale: [UInt8]

  init(
    kind: FaultKind, changes: [SimulatedContents.Change], stale: [UInt8],
    _ random: inout SplitMix64
  ) {
    self.kind = kind
    self.stale = stale
    let orders = changes.map(\.order)
    switch kind {
    case .unsyncedKept: made = Set(orders)
    case .unsyncedRandomPages: partial = Set(orders)
    case .unsyncedReordered:
      made = Set(orders.filter { _ in random.next() % 2 == 0 })
      // At least: the last without the first.
      if let first = orders.first { made.remove(first) }
      if orders.count > 1, let last = orders.last { made.insert(last) }
    case .tornSector512, .tornSector4K:
      made = Set(orders)
      if let last = changes.last(where: { $0.write != nil }) {
        made.remove(last.order)
        partial = [last.order]
      }
    case .zeroFilledTail, .garbageTail, .staleTail:
      let count = orders.isEmpty ? 0 : Int(random.next() % UInt64(orders.count))
      made = Set(orders.prefix(count))
      partial = Set(orders.dropFirst(count))
    default: break
    }
  }

  /// What the disk has of a file.
  func extent(
    _ contents: SimulatedContents, _ random: inout SplitMix64
  ) -> SimulatedContents.Extent {
    var extent = contents.synced
    for change in contents.pending {
      if made.contains(change.order) {
        extent.apply(change.kind)
      } else if partial.contains(change.order) {
        extent = partially(change, extent, writtenOnce: contents.synced.data.count, &random)
      }
    }
    return extent
  }

  /// - Parameter writtenOnce: up to here the file has blocks of its own. Where such a block is
  ///   written again, its sectors are old or new; what else may be in a block that the file only
  ///   just got, stands behind.
  private func partially(
    _ change: SimulatedContents.Change, _ old: SimulatedContents.Extent, writtenOnce: Int,
    _ random: inout SplitMix64
  ) -> SimulatedContents.Extent {
    var new = old
    guard let (bytes, offset) = change.write else {
      new.apply(change.kind)
      // A file is as long as it became, or as it was.
      return kind == .unsyncedRandomPages && random.next() % 2 == 0 ? old : new
    }
    let fresh = max(offset, writtenOnce)
    let count = max(0, offset + bytes.count - fresh)
    switch kind {
    case .zeroFilledTail where count == 0, .garbageTail where count == 0,
      .staleTail where count == 0:
      return old
    case .zeroFilledTail: new.write(Array(repeating: 0, count: count), at: fresh)
    case .garbageTail:
      new.write((0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }, at: fresh)
    case .staleTail: new.write(staleBytes(at: fresh, count: count), at: fresh)
    default:
      new.apply(change.kind)
      let byteCount = kind == .tornSector512 ? 512 : 4_096
      return new.mixed(with: old, sectorByteCount: byteCount) { _ in random.next() % 2 == 0 }
    }
    return new
  }

  private func staleBytes(at offset: Int, count: Int) -> [UInt8] {
    let end = min(stale.count, offset + count)
    let found = offset < end ? Array(stale[offset..<end]) : []
    return found + Array(repeating: 0, count: count - found.count)
  }
}
