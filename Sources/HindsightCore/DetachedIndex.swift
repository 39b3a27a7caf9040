/// An index apart from a state: an empty one that is to take the place of a state's, and afterwards
/// the one that it has replaced.
///
/// So clearing everything takes a constant time however much there is: whoever holds a lock around the
/// state makes the empty one before, and lets go of the full one after.
///
/// Proof of its variables: nobody but the holder of the state changes them, while it is handed in; who
/// is handed it back only reads it and lets it go.
public final class DetachedIndex: Sendable {
  nonisolated(unsafe) var entries = EntryPool()
  nonisolated(unsafe) var keyArena = KeyArena()
  nonisolated(unsafe) var keys = SlotTable(.key)
  nonisolated(unsafe) var origins: SlotTable
  nonisolated(unsafe) var recency = RecencyRing()
  nonisolated(unsafe) var expiries = (
    memory: ExpiryOrder(tier: .memory), store: ExpiryOrder(tier: .store)
  )
  let hashSeed: UInt64

  /// An empty index with room for all that the limits allow.
  /// - Parameter hashSeed: that of the state.
  public convenience init(_ opened: Opened, hashSeed: UInt64) {
    self.init(hashSeed: hashSeed)
    let room = IndexRoom(opened)
    keys.reserve(room.entryCount, entries)
    origins.reserve(room.entryCount, entries)
  }

  init(hashSeed: UInt64) {
    self.hashSeed = hashSeed
    origins = SlotTable(.origin(seed: hashSeed))
  }

  /// Calls `body` with every slot's attachment that isn't 0.
  public func forEachAttachment(_ body: (UInt64) -> Void) { entries.forEachAttachment(body) }

  /// Calls `body` with the hashes of the most recent keys.
  public func forEachKeyHash(_ countMax: Int, _ body: (UInt64) -> Void) {
    var slot = entries.older(than: noSlot)
    for _ in 0..<countMax where slot != noSlot {
      body(KeyHash.hash(entries[slot].keyBytes, seed: hashSeed))
      slot = entries.older(than: slot)
    }
  }
}

/// For how many entries an index makes room at once, so that growing never pauses a set.
struct IndexRoom {
  var entryCount: Int

  init(_ opened: Opened) {
    // Whoever is in memory is nearly always in the store, too: it leaves that later.
    let entries = max(opened.memoryLimit.entryCountMax, opened.storeLimit?.entryCountMax ?? 0)
    entryCount = Int(min(entries, 1 << 20))
  }
}
