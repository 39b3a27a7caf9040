import HindsightCore

extension Engine {
  var count: TierCounts {
    let reading = clock.coarseReading()
    return locked { state in
      let now = state.timeline.peek(reading, last: state.core.head.at)
      return TierCounts(
        memory: state.core.liveCount(in: .memory, at: now),
        store: state.core.liveCount(in: .store, at: now))
    }
  }

  var statistics: CacheStatistics {
    var result = locked { state in state.snapshotCounters() }
    result.count(journal?.writer.journalByteCount, store.map { Int($0.readers.queryCount) })
    return result
  }

  func registryStatistics() -> [String: RegistryStatistics] {
    var result: [String: RegistryStatistics] = [:]
    let slotEnd = locked { state in state.core.slotEnd }
    var slot: Slot = 1
    while slot < slotEnd {
      let end = min(slot + 4_096, slotEnd)
      locked { state in state.core.addRegistries(slots: slot..<end, to: &result) }
      slot = end
    }
    return result
  }
}

extension CacheStatistics {
  fileprivate mutating func count(_ journalByteCount: UInt64?, _ storeQueries: Int?) {
    self.journalByteCount = journalByteCount ?? 0
    self.storeQueries = storeQueries ?? 0
  }
}

extension EngineState {
  fileprivate func snapshotCounters() -> CacheStatistics {
    var result = counters
    result.entries = TierCounts(
      memory: core.residentCount(in: .memory), store: core.residentCount(in: .store))
    result.bytes = TierCounts(
      memory: Int(core.byteCount(in: .memory)), store: Int(core.byteCount(in: .store)))
    result.lastSequence = core.head.sequence.rawValue
    result.writtenSequence = commit.written.rawValue
    result.durableSequence = commit.durable.rawValue
    result.unsyncedByteCount = commit.unsyncedByteCount
    if hasStore {
      result.appliedSequence = projection.applied.rawValue
      result.projectionLag =
        commit.durable > projection.applied
        ? commit.durable.rawValue - projection.applied.rawValue : 0
      result.pinnedByteCount = projection.pinnedByteCount
      result.storeLogByteCount = projection.logByteCount
      result.isStoreLogHeld = projection.isLogHeld
    }
    result.journalTrouble = commit.trouble?.error.description
    result.storeTrouble = (projection.trouble ?? projection.logTrouble)?.description
    return result
  }
}

extension RegistryStatistics {
  fileprivate mutating func add(_ entryByteCount: Int) {
    entries += 1
    bytes += entryByteCount
  }
}

extension CacheState {
  /// Adds the entries of a slice of slots to the statistics of their registries.
  fileprivate func addRegistries(
    slots: Range<Slot>, to registries: inout [String: RegistryStatistics]
  ) {
    // A clear since the last slice leaves fewer slots.
    for slot in slots.clamped(to: 0..<slotEnd) where isOccupied(slot) {
      let (name, bytes) = withKey(of: slot) { key in
        let colon = key.firstIndex(of: UInt8(ascii: ":"))
        let name = colon.map { String(decoding: key[..<$0], as: UTF8.self) } ?? ""
        return (name, key.count + Int(valueByteCount(of: slot)))
      }
      registries[name, default: RegistryStatistics()].add(bytes)
    }
  }
}
