internal import CHindsightPrefetch

/// The entries by slot, in chunks that never move, so that growing costs no pause and no copy. Slots are
/// handed out and taken back. Slot 0 is never handed out: it is the head of the recency ring.
///
/// What a hit looks at is one line of the processor's cache (`Entry`). The links of the ring lie apart,
/// eight entries to a line, so that moving an entry meets its neighbours in lines that are at hand; and what
/// the store's tier needs lies apart where some entry of the chunk ever was in the store.
///
/// Proof of Sendable: it can't be copied, and the memory behind its pointers is its own until `deinit`.
struct EntryPool: ~Copyable, Sendable {
  private static var chunkShift: UInt32 { 10 }
  /// In each chunk.
  private static var slotCount: Int { 1 << 10 }

  private struct Chunk {
    let entries: UnsafeMutablePointer<Entry>
    let links: UnsafeMutablePointer<Links>
    var stored: UnsafeMutablePointer<StoreResidency>?

    init() {
      entries = UnsafeMutableRawPointer.allocate(
        byteCount: slotCount * MemoryLayout<Entry>.stride, alignment: Entry.lineByteCount
      ).bindMemory(to: Entry.self, capacity: slotCount)
      entries.initialize(repeating: .none, count: slotCount)
      links = .allocate(capacity: slotCount)
      links.initialize(repeating: Links(newer: noSlot, older: noSlot), count: slotCount)
    }

    @inline(never)
    mutating func makeStored() -> UnsafeMutablePointer<StoreResidency> {
      let made = UnsafeMutablePointer<StoreResidency>.allocate(capacity: slotCount)
      made.initialize(repeating: .none, count: slotCount)
      stored = made
      return made
    }

    func deallocate() {
      entries.deallocate()
      links.deallocate()
      stored?.deallocate()
    }
  }

  nonisolated(unsafe) private var chunks: UnsafeMutablePointer<Chunk>
  private var chunkCount = 0
  private var chunkCountMax = 16
  private var unused: Slot = 1
  private var free: [Slot] = []

  init() {
    chunks = .allocate(capacity: chunkCountMax)
    addChunk()
  }

  deinit {
    for at in 0..<chunkCount { chunks[at].deallocate() }
    chunks.deallocate()
  }

  // MARK: Slots

  /// One more than the highest slot ever handed out.
  var end: Slot { unused }

  /// The slot that `allocate` gives next, if there is room without another chunk; else `noSlot`.
  @inline(__always)
  var next: Slot { free.last ?? (Int(unused) < chunkCount * Self.slotCount ? unused : noSlot) }

  /// A slot for a new entry. It holds whatever its last user left, without residencies.
  mutating func allocate() -> Slot {
    if !free.isEmpty { return free.removeLast() }
    if Int(unused) == chunkCount * Self.slotCount { addChunk() }
    unused += 1
    return unused - 1
  }

  /// Takes back the slot of an entry that has no residency.
  mutating func release(_ slot: Slot) { free.append(slot) }

  private mutating func addChunk() {
    if chunkCount == chunkCountMax {
      chunkCountMax *= 2
      let larger = UnsafeMutablePointer<Chunk>.allocate(capacity: chunkCountMax)
      larger.moveInitialize(from: chunks, count: chunkCount)
      chunks.deallocate()
      chunks = larger
    }
    (chunks + chunkCount).initialize(to: Chunk())
    chunkCount += 1
  }

  // Unsafe memory: valid because slots come from `allocate` only, or are `noSlot`, and chunks are freed by
  // `deinit` only.
  @inline(__always)
  private func chunk(of slot: Slot) -> UnsafeMutablePointer<Chunk> {
    assert(slot >> Self.chunkShift < chunkCount)
    return chunks + Int(slot >> Self.chunkShift)
  }

  @inline(__always)
  private static func place(of slot: Slot) -> Int { Int(slot) & (slotCount - 1) }

  // MARK: Entries

  /// The entry in `slot`.
  subscript(slot: Slot) -> Entry {
    @inline(__always)
    unsafeAddress { UnsafePointer(chunk(of: slot).pointee.entries + Self.place(of: slot)) }
    @inline(__always)
    unsafeMutableAddress { chunk(of: slot).pointee.entries + Self.place(of: slot) }
  }

  /// The next one towards the front of the recency ring.
  @inline(__always)
  func newer(than slot: Slot) -> Slot { links(of: slot).pointee.newer }

  /// The next one towards the back of the recency ring.
  @inline(__always)
  func older(than slot: Slot) -> Slot { links(of: slot).pointee.older }

  @inline(__always)
  mutating func setNewer(_ newer: Slot, than slot: Slot) { links(of: slot).pointee.newer = newer }

  @inline(__always)
  mutating func setOlder(_ older: Slot, than slot: Slot) { links(of: slot).pointee.older = older }

  @inline(__always)
  private func links(of slot: Slot) -> UnsafeMutablePointer<Links> {
    chunk(of: slot).pointee.links + Self.place(of: slot)
  }

  @inline(__always)
  private func stored(_ slot: Slot) -> StoreResidency {
    guard let stored = chunk(of: slot).pointee.stored else { return .none }
    return stored[Self.place(of: slot)]
  }

  /// Of an entry whose expiry in the store has been set.
  @inline(__always)
  private func storedAddress(of slot: Slot) -> UnsafeMutablePointer<StoreResidency> {
    chunk(of: slot).pointee.stored! + Self.place(of: slot)
  }

  // MARK: Residencies

  @inline(__always)
  func isResident(_ slot: Slot, in tier: Tier) -> Bool { expiryPlace(slot, in: tier).isResident }

  /// Whether it is resident in any tier.
  func isResident(_ slot: Slot) -> Bool {
    isResident(slot, in: .memory) || isResident(slot, in: .store)
  }

  /// INV016: expired means now ≥ expiry, and what is expired counts as absent.
  @inline(__always)
  func isLive(_ slot: Slot, in tier: Tier, at now: Timestamp) -> Bool {
    isResident(slot, in: tier) && now < expiry(slot, in: tier)
  }

  /// The expiry in `tier`; meaningful only for a resident.
  @inline(__always)
  func expiry(_ slot: Slot, in tier: Tier) -> Timestamp {
    switch tier {
    case .memory: self[slot].memoryExpiry
    case .store: stored(slot).expiry
    }
  }

  /// Sets the expiry of an entry that is about to be resident in `tier`.
  mutating func setExpiry(_ expiry: Timestamp, of slot: Slot, in tier: Tier) {
    switch tier {
    case .memory: self[slot].memoryExpiry = expiry
    case .store:
      let stored = chunk(of: slot).pointee.stored ?? chunk(of: slot).pointee.makeStored()
      stored[Self.place(of: slot)].expiry = expiry
    }
  }

  /// Where the entry stands in the tier's `ExpiryOrder`.
  @inline(__always)
  func expiryPlace(_ slot: Slot, in tier: Tier) -> ExpiryPlace {
    switch tier {
    case .memory: self[slot].memoryPlace
    case .store: stored(slot).place
    }
  }

  /// Sets that of an entry whose expiry has been set.
  @inline(__always)
  mutating func setExpiryPlace(_ place: ExpiryPlace, of slot: Slot, in tier: Tier) {
    switch tier {
    case .memory: self[slot].memoryPlace = place
    case .store: storedAddress(of: slot).pointee.place = place
    }
  }

  /// Sets who comes before a resident in a run.
  @inline(__always)
  mutating func setExpiring(before: UInt32, _ slot: Slot, in tier: Tier) {
    switch tier {
    case .memory: self[slot].memoryPlace.before = before
    case .store: storedAddress(of: slot).pointee.place.before = before
    }
  }

  /// Sets who comes after a resident in a run.
  @inline(__always)
  mutating func setExpiring(after: UInt32, _ slot: Slot, in tier: Tier) {
    switch tier {
    case .memory: self[slot].memoryPlace.after = after
    case .store: storedAddress(of: slot).pointee.place.after = after
    }
  }

  /// What the index knows of the entry besides its key and its place.
  func numbers(of slot: Slot) -> EntryNumbers {
    let (entry, stored) = (self[slot], stored(slot))
    return EntryNumbers(
      origin: entry.origin, setAt: entry.setAt, coder: entry.coder,
      valueByteCount: entry.valueByteCount, valueHash: entry.valueHash,
      memoryExpiry: entry.memoryPlace.isResident ? entry.memoryExpiry : nil,
      storeExpiry: stored.place.isResident ? stored.expiry : nil)
  }

  /// Everything about the entry, its key copied.
  func image(of slot: Slot) -> EntryImage {
    EntryImage(key: Bytes(self[slot].keyBytes), numbers: numbers(of: slot))
  }

  func forEachAttachment(_ body: (UInt64) -> Void) {
    for slot in 1..<end where self[slot].attachment != 0 { body(self[slot].attachment) }
  }

  // MARK: Asking for memory

  /// Asks for all that there is of the entry.
  @inline(__always)
  func prefetch(_ slot: Slot) {
    let (chunk, place) = (chunk(of: slot).pointee, Self.place(of: slot))
    hindsight_prefetch(chunk.entries + place)
    hindsight_prefetch(chunk.links + place)
    if let stored = chunk.stored { hindsight_prefetch(stored + place) }
  }

  /// Asks for the entry's links in the recency ring.
  @inline(__always)
  func prefetchLinks(_ slot: Slot) { hindsight_prefetch(links(of: slot)) }
}

/// Neighbours in the recency ring: `newer` towards the front, `older` towards the back.
private struct Links {
  var newer: Slot
  var older: Slot
}

/// What the store's tier needs of an entry. 16 bytes.
private struct StoreResidency {
  var expiry: Timestamp
  var place: ExpiryPlace

  static let none = StoreResidency(expiry: .zero, place: .none)
}
