internal import CHindsightPrefetch

// The index of 100,000 entries is larger than any cache, and a set touches a dozen of its lines, most
// of which are where the one before says: waited for one after the other, they were a quarter of it.

extension CacheState {
  /// Asks for the object at the address that is attached to an entry.
  @inline(__always)
  func prefetchAttached(_ slot: Slot) {
    hindsight_prefetch(
      UnsafeRawPointer(bitPattern: UInt(truncatingIfNeeded: entries[slot].attachment & ~7)))
  }

  /// Asks for the memory of the entry that most likely is the one with this key.
  public func prefetchEntry(_ keyHash: UInt64) {
    entries.prefetch(keys.candidate(tag: UInt32(truncatingIfNeeded: keyHash)))
  }

  /// Asks for an entry's links in the list, whose neighbours `prefetchForTouch(_:)` will ask for.
  @inline(__always)
  public func prefetchLinks(_ slot: Slot) { entries.prefetchLinks(slot) }

  /// Asks for the memory of some entries' neighbours in the list: what `touch` needs of them. For a few
  /// dozen at a time, all of which are moved next.
  public func prefetchForTouch(_ slots: UnsafeBufferPointer<Slot>) {
    for slot in slots { entries.prefetchLinks(slot) }
    for slot in slots {
      entries.prefetchLinks(entries.newer(than: slot))
      entries.prefetchLinks(entries.older(than: slot))
    }
  }

  /// Asks for the memory of some entries and what is attached to them: for a few dozen at a time, all of
  /// which are looked for next.
  public func prefetch(_ origins: ArraySlice<SequenceNumber>) {
    for origin in origins { self.origins.prefetch(tag: tag(of: origin)) }
    for origin in origins { entries.prefetch(self.origins.candidate(tag: tag(of: origin))) }
    for origin in origins { prefetchAttached(self.origins.candidate(tag: tag(of: origin))) }
  }

  /// Asks for the memory that the next set will need, as far as it can be foretold: what leaves then is
  /// known, and where the new entry goes.
  func prefetchForSet() {
    entries.prefetch(entries.next)
    // The set at hand isn't counted yet.
    var sequence = head.sequence.next.next
    origins.prefetch(tag: tag(of: sequence))
    for tier in [Tier.memory, .store] {
      guard let limit = rules.limit(of: tier),
        UInt64(residentCount(in: tier)) >= limit.entryCountMax,
        let victim = recency.leastRecent(in: tier)
      else { continue }
      // Its own was asked for a set ago.
      entries.prefetch(entries.newer(than: victim))
      keys.prefetch(tag: entries[victim].keyTag)
      origins.prefetch(tag: tag(of: entries[victim].origin))
      hindsight_prefetch(entries[victim].keyBlock)
      prefetchAttached(victim)
      sequence = sequence.next
      origins.prefetch(tag: tag(of: sequence))
    }
  }

  /// Asks for the memory that removing an entry needs, and which hangs on what is in it.
  func prefetchNeighbours(_ slot: Slot) {
    entries.prefetchLinks(entries.newer(than: slot))
    entries.prefetchLinks(entries.older(than: slot))
    origins.prefetch(tag: tag(of: entries[slot].origin))
    for tier in [Tier.memory, .store] {
      let place = entries.expiryPlace(slot, in: tier)
      guard place.isResident, !place.isInHeap else { continue }
      if ExpiryPlace.run(place.before) == nil { entries.prefetch(place.before) }
      if ExpiryPlace.run(place.after) == nil { entries.prefetch(place.after) }
    }
  }
}
