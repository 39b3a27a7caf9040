import DequeModule

/// A queue that grows without moving what is in it: a long one never pauses to be copied. Elements may have bytes
/// in their chunk, all in one piece: memory for each of them, freed by another thread, had whoever next asked for
/// a large piece of memory put a hundred thousand small ones together first. That may befall who asks for a chunk,
/// too: so a queue that is appended to under a lock may be given its next one, made without.
struct ChunkedQueue<Element> {
  /// Elements that stand one behind the other, and the bytes of their chunk.
  struct Slice {
    var elements: ArraySlice<Element>
    var bytes: [UInt8]

    func prefix(_ count: Int) -> Slice { Slice(elements: elements.prefix(count), bytes: bytes) }
  }

  /// Memory for a number of elements.
  struct Chunk {
    /// Those that are left: what was removed is let go of at once, for it may hold a value of megabytes.
    fileprivate var elements: [Element] = []
    fileprivate var bytes: [UInt8] = []

    /// None at all.
    fileprivate init(empty: Void) {}

    /// - Parameter withBytes: whether they will have some.
    init(withBytes: Bool = false) {
      elements.reserveCapacity(ChunkedQueue.chunkCount)
      if withBytes { bytes.reserveCapacity(ChunkedQueue.byteCount) }
    }

    /// Elements that are shared with a slice stay with that: whoever has it lets go of them.
    fileprivate mutating func removeFirst(_ count: Int) {
      guard count > 0 else { return }
      var left: [Element] = []
      left.reserveCapacity(ChunkedQueue.chunkCount)
      left.append(contentsOf: elements[count...])
      elements = left
    }
  }

  /// Few, since they are copied where they are shared: by an append, and by a removal of some.
  private static var shift: Int { 6 }
  fileprivate static var chunkCount: Int { 1 << shift }
  /// What a chunk's bytes have room for at first.
  fileprivate static var byteCount: Int { 32 * chunkCount }

  /// Those that take no more. All but the first one are whole, as long as that isn't the open one.
  private var closed: Deque<Chunk> = []
  /// The one that is appended to, beside the others: what is in a deque is looked for at each append.
  private var open = Chunk(empty: ())
  private(set) var count = 0
  /// How many have been appended to the open chunk, those included that were removed since; one that is
  /// empty is none.
  private var appendedCount = chunkCount
  private var spare: Chunk?
  private var isSpareAskedFor = false

  var first: Element? { count == 0 ? nil : self[0] }

  /// The element that so many others precede.
  subscript(at: Int) -> Element {
    let firstCount = chunk(0).elements.count
    if at < firstCount { return chunk(0).elements[at] }
    let place = at - firstCount
    return chunk(1 + (place >> Self.shift)).elements[place & (Self.chunkCount - 1)]
  }

  @inline(__always)
  private func chunk(_ at: Int) -> Chunk { at < closed.count ? closed[at] : open }

  /// The first elements, sharing their chunks: a constant cost for each of those.
  func prefix(_ count: Int) -> [Slice] {
    precondition(count <= self.count)
    var slices: [Slice] = []
    var left = count
    for at in 0...closed.count {
      if left == 0 { break }
      let chunk = chunk(at)
      let elements = chunk.elements.prefix(left)
      slices.append(Slice(elements: elements, bytes: chunk.bytes))
      left -= elements.count
    }
    return slices
  }

  mutating func append(_ element: consuming Element) {
    makeRoom()
    open.elements.append(element)
    appendedCount += 1
    count += 1
  }

  /// Puts bytes into the chunk of the element that is appended next.
  /// - Returns: their place.
  mutating func append(bytes: UnsafeRawBufferPointer) -> Range<Int> {
    makeRoom()
    if open.bytes.isEmpty { open.bytes.reserveCapacity(max(Self.byteCount, bytes.count)) }
    let start = open.bytes.count
    open.bytes.append(contentsOf: bytes)
    return start..<open.bytes.count
  }

  /// Has the open chunk have room for an element.
  private mutating func makeRoom() {
    guard appendedCount == Self.chunkCount else { return }
    if count > 0 { closed.append(open) }
    open = spare.take() ?? Chunk()
    isSpareAskedFor = false
    appendedCount = 0
  }

  /// Whether a spare chunk is to be made, since the last one is half full; asked again, it is not.
  mutating func asksForSpare() -> Bool {
    guard !isSpareAskedFor, count > 0, appendedCount >= Self.chunkCount / 2 else { return false }
    isSpareAskedFor = true
    return spare == nil
  }

  /// Gives the queue its next chunk.
  mutating func give(_ spare: consuming Chunk) { self.spare = spare }

  /// Removes the first elements.
  mutating func removeFirst(_ count: Int) {
    precondition(count <= self.count)
    self.count -= count
    guard self.count > 0 else { return removeAll() }
    var left = count
    while !closed.isEmpty, left >= closed[0].elements.count {
      left -= closed.removeFirst().elements.count
    }
    if closed.isEmpty { open.removeFirst(left) } else { closed[0].removeFirst(left) }
  }

  private mutating func removeAll() {
    closed.removeAll()
    open = Chunk(empty: ())
    appendedCount = Self.chunkCount
  }
}

extension ChunkedQueue: Sendable where Element: Sendable {}
extension ChunkedQueue.Slice: Sendable where Element: Sendable {}
extension ChunkedQueue.Chunk: Sendable where Element: Sendable {}
