/// The bytes of keys, in blocks without headers: `malloc` adds 8 bytes to each and rounds up to 16,
/// as much as many a key has itself.
///
/// Blocks come in steps of 8 bytes, cut from slabs one after the other. One that is released is
/// chained to the free ones of its size, through its own first bytes. Slabs are never given back:
/// the arena is as large as the keys of each size were at their most.
///
/// Proof of Sendable: it can't be copied, and the memory behind its pointers is its own until `deinit`.
struct KeyArena: ~Copyable, Sendable {
  private static let step = 8
  private static let slabByteCount = 16 << 10

  nonisolated(unsafe) private var slabs: [UnsafeMutableRawPointer] = []
  nonisolated(unsafe) private var next: UnsafeMutableRawPointer?
  private var remaining = 0
  /// By size in steps: the first free block.
  nonisolated(unsafe) private var free = [UnsafeMutableRawPointer?](
    repeating: nil, count: Bounds.keyByteCountMax / KeyArena.step + 1)

  /// Bytes that are allocated.
  var byteCount: Int { slabs.count * Self.slabByteCount }

  deinit {
    for slab in slabs { slab.deallocate() }
  }

  /// A block with a copy of `bytes`, which are 1 to 1,024. It stays where it is until it is
  /// released.
  mutating func allocate(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutableRawPointer {
    let block = take(Self.steps(bytes.count))
    block.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    return block
  }

  /// Takes back a block with so many bytes in use.
  mutating func release(_ block: UnsafeMutableRawPointer, byteCount: Int) {
    chain(block, Self.steps(byteCount))
  }

  private static func steps(_ byteCount: Int) -> Int { (byteCount + step - 1) / step }

  private mutating func take(_ steps: Int) -> UnsafeMutableRawPointer {
    if let block = free[steps] {
      free[steps] = block.load(as: UnsafeMutableRawPointer?.self)
      return block
    }
    let byteCount = steps * Self.step
    if remaining < byteCount { addSlab() }
    defer {
      next = next! + byteCount
      remaining -= byteCount
    }
    return next!
  }

  private mutating func chain(_ block: UnsafeMutableRawPointer, _ steps: Int) {
    block.storeBytes(of: free[steps], as: UnsafeMutableRawPointer?.self)
    free[steps] = block
  }

  private mutating func addSlab() {
    // What is left of the last one is smaller than a key may be: a free block like any other.
    if let next, remaining > 0 { chain(next, remaining / Self.step) }
    let slab = UnsafeMutableRawPointer.allocate(
      byteCount: Self.slabByteCount, alignment: Self.step)
    slabs.append(slab)
    next = slab
    remaining = Self.slabByteCount
  }
}
