/// The bytes of keys, in blocks without headers: `malloc` adds 8 bytes to each and rounds up to 16,
/// as much as many a key has itself.
///
/// Blocks come in steps of 8 bytes, from slabs of 16 KiB that hold blocks of one size each. A slab lies
/// at a multiple of its size, so that a block's address tells where the slab begins. One whose last
/// block was released is given back, unless no other of its size has room: the arena holds what the
/// keys take, slabs that are used in part, and at most one empty slab for each size.
///
/// Proof of Sendable: it can't be copied, and the memory behind its pointers is its own until it is given back, or
/// `deinit`. Proof of the pointers: a slab's first bytes are bound to `Header` as it is made and to nothing else;
/// what its blocks hold is untyped, and a free one has nothing but the link.
struct KeyArena: ~Copyable, Sendable {
  private static let step = 8
  private static let slabByteCount = 16 << 10
  /// Less than a slab's distance by what `malloc` puts in front of a block: so slabs can lie next to
  /// each other.
  private static let slabAllocatedByteCount = slabByteCount - 16

  /// What a slab begins with.
  private struct Header {
    /// The block that was released last, which begins with the address of the one before.
    var free: UnsafeMutableRawPointer?
    /// Its neighbours among the slabs of its size that have room.
    var next: UnsafeMutablePointer<Header>?
    var previous: UnsafeMutablePointer<Header>?
    /// Where it stands in `slabs`.
    var place: Int
    /// How many blocks it has room for, how many were ever taken, and how many are in use.
    var capacity: UInt16
    var begunCount: UInt16 = 0
    var liveCount: UInt16 = 0
  }
  private typealias Slab = UnsafeMutablePointer<Header>

  nonisolated(unsafe) private var slabs: [Slab] = []
  /// By size in steps: the first slab that has room.
  nonisolated(unsafe) private var roomy = [Slab?](
    repeating: nil, count: Bounds.keyByteCountMax / KeyArena.step + 1)

  /// Bytes that are allocated.
  var byteCount: Int { slabs.count * Self.slabByteCount }

  deinit {
    for slab in slabs { UnsafeMutableRawPointer(slab).deallocate() }
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
    let steps = Self.steps(byteCount)
    let slab = Self.slab(of: block)
    block.storeBytes(of: slab.pointee.free, as: UnsafeMutableRawPointer?.self)
    slab.pointee.free = block
    if slab.pointee.liveCount == slab.pointee.capacity { enlist(slab, steps) }
    slab.pointee.liveCount -= 1
    if slab.pointee.liveCount == 0 { giveBack(slab, steps) }
  }

  private static func steps(_ byteCount: Int) -> Int { (byteCount + step - 1) / step }

  private static func slab(of block: UnsafeMutableRawPointer) -> Slab {
    let address = UInt(bitPattern: block) & ~UInt(slabByteCount - 1)
    return Slab(bitPattern: address)!
  }

  private mutating func take(_ steps: Int) -> UnsafeMutableRawPointer {
    let slab = roomy[steps] ?? addSlab(steps)
    slab.pointee.liveCount += 1
    if slab.pointee.liveCount == slab.pointee.capacity { delist(slab, steps) }
    if let block = slab.pointee.free {
      slab.pointee.free = block.load(as: UnsafeMutableRawPointer?.self)
      return block
    }
    let offset = MemoryLayout<Header>.stride + Int(slab.pointee.begunCount) * steps * Self.step
    slab.pointee.begunCount += 1
    return UnsafeMutableRawPointer(slab) + offset
  }

  private mutating func addSlab(_ steps: Int) -> Slab {
    let slab = UnsafeMutableRawPointer.allocate(
      byteCount: Self.slabAllocatedByteCount, alignment: Self.slabByteCount
    ).bindMemory(to: Header.self, capacity: 1)
    let room = Self.slabAllocatedByteCount - MemoryLayout<Header>.stride
    slab.initialize(
      to: Header(place: slabs.count, capacity: UInt16(room / (steps * Self.step))))
    slabs.append(slab)
    enlist(slab, steps)
    return slab
  }

  private mutating func giveBack(_ slab: Slab, _ steps: Int) {
    guard slab.pointee.next != nil || slab.pointee.previous != nil else { return }
    delist(slab, steps)
    let last = slabs.removeLast()
    if last != slab {
      last.pointee.place = slab.pointee.place
      slabs[slab.pointee.place] = last
    }
    UnsafeMutableRawPointer(slab).deallocate()
  }

  private mutating func enlist(_ slab: Slab, _ steps: Int) {
    slab.pointee.next = roomy[steps]
    roomy[steps]?.pointee.previous = slab
    roomy[steps] = slab
  }

  private mutating func delist(_ slab: Slab, _ steps: Int) {
    if let previous = slab.pointee.previous {
      previous.pointee.next = slab.pointee.next
    } else {
      roomy[steps] = slab.pointee.next
    }
    slab.pointee.next?.pointee.previous = slab.pointee.previous
    slab.pointee.next = nil
    slab.pointee.previous = nil
  }
}
