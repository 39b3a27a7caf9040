import HindsightTesting
import Testing

@testable import HindsightCore

/// The parts of the index, under random use.
@Suite("S040 index")
struct IndexTests {
  private func entry(_ tag: UInt32) -> Entry {
    var entry = Entry.none
    entry.keyTag = tag
    return entry
  }

  @Test("an entry takes one line of the processor's cache, and what shares a word in it comes back")
  func packedEntry() {
    #expect(MemoryLayout<Entry>.size == Entry.lineByteCount)
    #expect(MemoryLayout<Entry>.stride == Entry.lineByteCount)
    let bytes = [UInt8](repeating: 7, count: Bounds.keyByteCountMax)
    for (count, coder, valueByteCount) in [
      (1, UInt8(0), UInt32(0)), (Bounds.keyByteCountMax, .max, UInt32(Bounds.valueByteCountMax)),
    ] {
      var arena = KeyArena()
      bytes.withUnsafeBytes { bytes in
        let value = LentValue(
          key: UnsafeRawBufferPointer(rebasing: bytes[..<count]), keyHash: .max, coder: coder,
          valueByteCount: valueByteCount, valueHash: 5)
        let fact = SetFact(
          sequence: SequenceNumber(3), at: .zero, coder: coder, memoryExpiry: nil, storeExpiry: nil)
        let block = arena.allocate(value.key)
        var entry = Entry(fact, value, key: block, attachment: .max)
        for telling: UInt8 in [0, 1, 127] {
          entry.telling = telling
          #expect(entry.telling == telling)
          #expect(entry.valueByteCount == valueByteCount)
        }
        #expect(entry.keyBlock == block)
        #expect(entry.keyBytes.elementsEqual(value.key))
        #expect(entry.coder == coder)
        #expect(entry.keyTag == .max)
        #expect(entry.attachment == .max)
      }
    }
  }

  @Test("a slot table finds what is filed, whatever was taken out, also where tags collide")
  func slotTable() {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    for round in 0..<60 {
      var entries = EntryPool()
      var table = SlotTable(.key)
      var filed: [Slot: UInt32] = [:]
      var slots: [Slot] = []
      let spread = UInt32.random(in: 1...200, using: &random)
      if round % 3 == 0 { table.reserve(300, entries) }
      for _ in 0..<400 {
        if Int.random(in: 0..<10, using: &random) < 6 || slots.isEmpty {
          let slot = entries.allocate()
          // Same low bits, same high bits, or neither.
          let low = UInt32.random(in: 0..<spread, using: &random)
          let tag = low | UInt32.random(in: 0..<3, using: &random) << 28
          entries[slot] = entry(tag)
          if round % 2 == 0 {
            table.insert(slot, entries)
          } else {
            entries[slot].setAt = Timestamp(rawValue: Int64(slot))
            let other = slots.randomElement(using: &random) ?? slot
            let isFiled = table.insert(slot, entries) {
              $0.keyTag == tag && $0.setAt.rawValue == Int64(other)
            }
            #expect(isFiled == (filed[other] != tag), "seed \(seed), round \(round)")
            guard isFiled else {
              entries.release(slot)
              continue
            }
          }
          filed[slot] = tag
          slots.append(slot)
        } else {
          let slot = slots.remove(at: Int.random(in: 0..<slots.count, using: &random))
          table.remove(slot, entries)
          entries.release(slot)
          filed[slot] = nil
        }
        table.checkInvariants(entries)
        for (slot, tag) in filed {
          #expect(table.find(tag: tag) { $0 == slot } == slot, "seed \(seed), round \(round)")
        }
        #expect(table.find(tag: spread | 1 << 31) { _ in true } == nil)
      }
    }
  }

  @Test("a key arena's blocks keep their bytes, and are used again")
  func keyArena() {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    var arena = KeyArena()
    var blocks: [(at: UnsafeMutableRawPointer, bytes: [UInt8])] = []
    func check(_ block: (at: UnsafeMutableRawPointer, bytes: [UInt8])) {
      let kept = UnsafeRawBufferPointer(start: block.at, count: block.bytes.count)
      #expect(kept.elementsEqual(block.bytes), "seed \(seed)")
    }
    for _ in 0..<5_000 {
      if Int.random(in: 0..<10, using: &random) < 6 || blocks.isEmpty {
        let count = Int.random(in: 1...(Bool.random(using: &random) ? 40 : 1_024), using: &random)
        let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        blocks.append((bytes.withUnsafeBytes { arena.allocate($0) }, bytes))
      } else {
        let block = blocks.remove(at: Int.random(in: 0..<blocks.count, using: &random))
        check(block)
        arena.release(block.at, byteCount: block.bytes.count)
      }
    }
    for block in blocks { check(block) }
    let block = [UInt8](repeating: 1, count: 21).withUnsafeBytes { arena.allocate($0) }
    arena.release(block, byteCount: 21)
    #expect([UInt8](repeating: 2, count: 24).withUnsafeBytes { arena.allocate($0) } == block)
  }

  @Test("a key arena gives back what keys of another length took")
  func keyArenaOfChangingLengths() {
    var arena = KeyArena()
    var kept: [(at: UnsafeMutableRawPointer, byteCount: Int)] = []
    func key(_ byteCount: Int) -> [UInt8] {
      [UInt8](repeating: UInt8(byteCount & 0xff), count: byteCount)
    }
    for byteCount in stride(from: 8, through: Bounds.keyByteCountMax, by: 8) {
      let bytes = key(byteCount)
      let blocks = (0..<2_000).map { _ in bytes.withUnsafeBytes { arena.allocate($0) } }
      #expect(arena.byteCount >= 2_000 * byteCount)
      // All but one of each length.
      kept.append((blocks[1_000], byteCount))
      for (index, block) in blocks.enumerated() where index != 1_000 {
        arena.release(block, byteCount: byteCount)
      }
    }
    #expect(arena.byteCount <= kept.count * 2 * 16 << 10)
    for (block, byteCount) in kept {
      let bytes = UnsafeRawBufferPointer(start: block, count: byteCount)
      #expect(bytes.elementsEqual(key(byteCount)))
      arena.release(block, byteCount: byteCount)
    }
    #expect(arena.byteCount <= kept.count * 16 << 10)
  }
}
