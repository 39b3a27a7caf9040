/// The state machine of the cache: one index, one recency list, two residencies.
///
/// The live cache, recovery, the verifier and every replay share it. It does no I/O and has no
/// clock, lock or randomness: time enters as data, and the same events give the same state and the
/// same digest on every machine. It knows slots, sizes and hashes; values are its shell's concern.
///
/// - `decide…` turns intent into facts. Each fact is applied before the next one is decided, since
///   the next one depends on it.
/// - `apply(_:into:)` takes a fact, from `decide…` or from a journal, and checks it: an event that
///   breaks INV016 or INV017 doesn't get in.
public struct CacheState: ~Copyable, Sendable {
  public internal(set) var head = StateHead(
    sequence: .zero, at: .zero, opened: nil, isClosed: true)

  /// Whether the events so far tell the whole order of use; not after a session without an access
  /// log, until a `touched` has told all of it.
  public internal(set) var orderIsTold = true
  /// Where it isn't: of how many entries it is, since the cache was opened.
  var toldCount = 0

  /// What of the configuration every decision asks for.
  var rules = Rules()

  var entries = EntryPool()
  var keyArena = KeyArena()
  var keys = SlotTable(.key)
  var origins: SlotTable
  var recency = RecencyRing()
  var expiries = (memory: ExpiryOrder(tier: .memory), store: ExpiryOrder(tier: .store))
  var byteCounts = (memory: UInt64(0), store: UInt64(0))
  /// What a checkpoint is taken from, while one is.
  var capture: StateCapture?
  /// An empty index for the decision under way, which may clear everything.
  var spare: DetachedIndex?
  /// What keys and origins are hashed with.
  public let hashSeed: UInt64

  /// Always `nil`. A type that holds an opaque existential is passed by its address; one of this
  /// size would else be copied to the stack by every call that borrows it and isn't inlined, which
  /// was a tenth of a `set` and a fifth of a hit.
  private let byAddress: (any Sendable)? = nil

  /// An empty state.
  /// - Parameter hashSeed: seeds the hashes of keys and origins, so that nobody who chooses them can
  ///   make them collide: take a random one wherever they come from outside. It never shows in
  ///   events, order or digest.
  public init(hashSeed: UInt64 = 0) {
    self.hashSeed = hashSeed
    origins = SlotTable(.origin(seed: hashSeed))
  }

  // MARK: Reading

  /// Where keys are filed at present.
  @inline(__always)
  public var keyCells: CellsPlace { keys.place }

  /// Entries resident in at least one tier, whether or not they are past their expiry.
  public var entryCount: Int { keys.count }

  /// Entries resident in `tier`, whether or not they are past their expiry.
  public func residentCount(in tier: Tier) -> Int {
    tier == .memory ? expiries.memory.count : expiries.store.count
  }

  /// Bytes of the keys and encoded values resident in `tier`.
  public func byteCount(in tier: Tier) -> UInt64 {
    tier == .memory ? byteCounts.memory : byteCounts.store
  }

  /// About how much memory the index takes, in bytes: keys, and the highest number of entries there
  /// was, about 100 each.
  public var indexByteCount: Int { keyArena.byteCount + 100 * Int(entries.end) }

  /// Entries in `tier` that are not past their expiry. O(number of those that are).
  public func liveCount(in tier: Tier, at now: Timestamp) -> Int {
    var expired = 0
    withExpiries(tier) { $0.forEachExpired(at: now, entries) { _ in expired += 1 } }
    return residentCount(in: tier) - expired
  }

  /// Calls `body` for every resident of `tier`, whether or not it is past its expiry.
  public func forEachResident(in tier: Tier, _ body: (Slot) -> Void) {
    withExpiries(tier) { $0.forEachExpired(at: Timestamp(rawValue: .max), entries, body) }
  }

  /// The earliest expiry of any residency; `nil` where there is none.
  public var nextExpiry: Timestamp? {
    let memory = expiries.memory.first(entries).map { entries[$0].memoryExpiry }
    let store = expiries.store.first(entries).map { entries.expiry($0, in: .store) }
    guard let memory, let store else { return memory ?? store }
    return min(memory, store)
  }

  /// One more than the highest slot in use: the size of an array that runs beside the index.
  public var slotEnd: Slot { entries.end }

  /// The hash under which `key` is filed.
  @inline(__always)
  public func hash(of key: UnsafeRawBufferPointer) -> UInt64 { KeyHash.hash(key, seed: hashSeed) }

  /// The slot of `key`, live or not. O(1).
  @inline(__always)
  public func find(_ key: UnsafeRawBufferPointer, hash: UInt64) -> Slot? {
    keys.find(tag: UInt32(truncatingIfNeeded: hash)) { slot in
      entries[slot].keyBytes.elementsAreEqual(to: key)
    }
  }

  /// The slot of `key` and its attachment, if it is resident in memory and not past its expiry there, at `now` or at
  /// the last event, whichever is later. O(1).
  public func findMemoryResident(
    _ key: UnsafeRawBufferPointer, hash: UInt64, at now: Timestamp
  ) -> (slot: Slot, attachment: UInt64)? {
    let found = keys.find(tag: UInt32(truncatingIfNeeded: hash)) { slot in
      prefetchAttached(slot)
      return entries[slot].keyBytes.elementsAreEqual(to: key)
    }
    guard let slot = found, entries.isLive(slot, in: .memory, at: max(now, head.at)) else {
      return nil
    }
    return (slot, entries[slot].attachment)
  }

  /// The slot of `key`, live or not. O(1).
  public func find(_ key: Bytes) -> Slot? {
    key.withUnsafeBytes { find($0, hash: hash(of: $0)) }
  }

  /// The slot of the entry that the `set` at `origin` made. O(1).
  public func find(origin: SequenceNumber) -> Slot? {
    origins.find(tag: tag(of: origin)) { entries[$0].origin == origin }
  }

  public func origin(of slot: Slot) -> SequenceNumber { entries[slot].origin }
  public func setAt(of slot: Slot) -> Timestamp { entries[slot].setAt }
  public func coder(of slot: Slot) -> UInt8 { entries[slot].coder }
  public func valueHash(of slot: Slot) -> UInt64 { entries[slot].valueHash }
  public func isResident(_ slot: Slot, in tier: Tier) -> Bool {
    entries.isResident(slot, in: tier)
  }
  /// INV016: resident in `tier` and not past its expiry there.
  @inline(__always)
  public func isLive(_ slot: Slot, in tier: Tier, at now: Timestamp) -> Bool {
    entries.isLive(slot, in: tier, at: now)
  }
  /// The expiry in `tier`; meaningful only for a resident.
  public func expiry(of slot: Slot, in tier: Tier) -> Timestamp { entries.expiry(slot, in: tier) }

  /// A number that the shell keeps with a slot; 0 until it sets one. It says nothing to the core,
  /// and stays when an entry leaves the slot: resetting it is the shell's business.
  @inline(__always)
  public func attachment(of slot: Slot) -> UInt64 { entries[slot].attachment }
  @inline(__always)
  public mutating func attach(_ number: UInt64, to slot: Slot) { entries[slot].attachment = number }

  /// Calls `body` with every slot's attachment that isn't 0.
  public func forEachAttachment(_ body: (UInt64) -> Void) { entries.forEachAttachment(body) }

  /// Whether an entry is in `slot`, for a walk over the slots below `slotEnd`.
  public func isOccupied(_ slot: Slot) -> Bool {
    entries.isResident(slot)
  }

  /// Whether the order of use has changed in a way that an event is to tell.
  public var hasUntoldTouches: Bool {
    recency.untold != noSlot && head.tellsOrder
  }

  /// Whether so many entries were touched since the last telling, or came in since the first of them was,
  /// that it should not wait longer: it names all of them at once.
  @inline(__always)
  public var hasManyUntoldTouches: Bool { recency.untoldCount >= Bounds.untoldCountMax }

  /// Everything about the entry in `slot`, its key copied.
  public func image(of slot: Slot) -> EntryImage { entries.image(of: slot) }

  /// Bytes of the encoded value of the entry in `slot`.
  public func valueByteCount(of slot: Slot) -> UInt32 { entries[slot].valueByteCount }

  /// Calls `body` for every entry, the most recent first.
  public func forEachSlot<E: Error>(_ body: (Slot) throws(E) -> Void) throws(E) {
    var slot = entries.older(than: noSlot)
    while slot != noSlot {
      try body(slot)
      slot = entries.older(than: slot)
    }
  }

  /// Calls `body` with the bytes of the key in `slot`, which are valid during the call only.
  public func withKey<R>(of slot: Slot, _ body: (UnsafeRawBufferPointer) -> R) -> R {
    body(entries[slot].keyBytes)
  }

  // MARK: Inside the core

  func tag(of origin: SequenceNumber) -> UInt32 { Self.tag(of: origin, seed: hashSeed) }

  /// Every bit of the origin, mixed with the seed, decides about each bit of the tag: a hostile
  /// checkpoint chooses its origins.
  @inline(__always)
  static func tag(of origin: SequenceNumber, seed: UInt64) -> UInt32 {
    var mixed = (origin.rawValue ^ seed) &* 0x9E37_79B9_7F4A_7C15
    mixed = (mixed ^ (mixed &>> 32)) &* 0xC2B2_AE3D_27D4_EB4F
    return UInt32(truncatingIfNeeded: mixed &>> 32)
  }

  func withExpiries<R>(_ tier: Tier, _ body: (borrowing ExpiryOrder) -> R) -> R {
    tier == .memory ? body(expiries.memory) : body(expiries.store)
  }

  mutating func addExpiry(_ slot: Slot, _ tier: Tier, inOrder: Bool) {
    switch tier {
    case .memory where inOrder: expiries.memory.insert(slot, &entries)
    case .memory: expiries.memory.append(slot, &entries)
    case .store where inOrder: expiries.store.insert(slot, &entries)
    case .store: expiries.store.append(slot, &entries)
    }
    switch tier {
    case .memory:
      byteCounts.memory += entries[slot].byteCount
    case .store:
      byteCounts.store += entries[slot].byteCount
    }
  }

  mutating func removeExpiry(_ slot: Slot, _ tier: Tier) {
    switch tier {
    case .memory:
      expiries.memory.remove(slot, &entries)
      byteCounts.memory -= entries[slot].byteCount
    case .store:
      expiries.store.remove(slot, &entries)
      byteCounts.store -= entries[slot].byteCount
    }
  }
}

extension UnsafeRawBufferPointer {
  @inline(__always)
  func hasPrefix(_ prefix: UnsafeRawBufferPointer) -> Bool {
    count >= prefix.count
      && UnsafeRawBufferPointer(rebasing: self[..<prefix.count]).elementsAreEqual(to: prefix)
  }

  @inline(__always)
  func elementsAreEqual(to other: UnsafeRawBufferPointer) -> Bool {
    guard count == other.count else { return false }
    guard count >= 8 else {
      for at in 0..<count where self[at] != other[at] { return false }
      return true
    }
    // Four words, which overlap in all but the longest keys: how many it takes can't be foretold, and a
    // branch taken in vain costs more than comparing some bytes twice.
    let last = count &- 8
    var difference = difference(from: other, at: 0)
    difference |= self.difference(from: other, at: Swift.min(8, last))
    difference |= self.difference(from: other, at: Swift.min(16, last))
    difference |= self.difference(from: other, at: Swift.min(24, last))
    guard difference == 0 else { return false }
    var at = 32
    while at < count {
      guard self.difference(from: other, at: Swift.min(at, last)) == 0 else { return false }
      at &+= 8
    }
    return true
  }

  @inline(__always)
  private func difference(from other: UnsafeRawBufferPointer, at offset: Int) -> UInt64 {
    loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      ^ other.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
  }
}
