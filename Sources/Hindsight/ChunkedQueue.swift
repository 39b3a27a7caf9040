import DequeModule

/// A queue that grows without moving what is in it: a long one never pauses to be copied. Elements may have bytes
/// in their chunk, all in one piece: memory for each of them, freed by another thread, had whoever next asked for
/// a large piece of memory put a hundred thousand small ones together first.
struct ChunkedQueue<Element> {
  /// Elements that stand one behind the other, and the bytes of their chunk.
  struct Slice {
    var elements: ArraySlice<Element>
    var bytes: [UInt8]

    func prefix(_ count: Int) -> Slice { Slice(elements: elements.prefix(count), bytes: bytes) }
  }

  fileprivate struct Chunk {
    var elements: [Element] = []
    var bytes: [UInt8] = []
  }

  /// Few, since a chunk goes when the last of its elements does, and those may hold values of megabytes.
  private static var shift: Int { 6 }
  private static var chunkCount: Int { 1 << shift }
  /// What a chunk's bytes have room for at first.
  private static var byteCount: Int { 32 * chunkCount }

  private var chunks: Deque<Chunk> = []
  /// Elements of the first chunk that are removed already; they go with it.
  private var offset = 0
  private(set) var count = 0

  var first: Element? { count == 0 ? nil : self[0] }

  /// The element that so many others precede.
  subscript(at: Int) -> Element {
    let place = at + offset
    return chunks[place >> Self.shift].elements[place & (Self.chunkCount - 1)]
  }

  /// The first elements, sharing their chunks: a constant cost for each of those.
  func prefix(_ count: Int) -> [Slice] {
    precondition(count <= self.count)
    var slices: [Slice] = []
    var at = offset
    while at < offset + count {
      let chunk = chunks[at >> Self.shift]
      let first = at & (Self.chunkCount - 1)
      let slice = chunk.elements[first..<min(chunk.elements.count, first + offset + count - at)]
      slices.append(Slice(elements: slice, bytes: chunk.bytes))
      at += slice.count
    }
    return slices
  }

  mutating func append(_ element: consuming Element) {
    openChunk()
    chunks[chunks.count - 1].elements.append(element)
    count += 1
  }

  /// - Parameter make: gives the element; it gets the place of `bytes` in the chunk.
  mutating func append(_ bytes: UnsafeRawBufferPointer, _ make: (Range<Int>) -> Element) {
    openChunk()
    let last = chunks.count - 1
    if chunks[last].bytes.isEmpty {
      chunks[last].bytes.reserveCapacity(max(Self.byteCount, bytes.count))
    }
    let start = chunks[last].bytes.count
    chunks[last].bytes.append(contentsOf: bytes)
    chunks[last].elements.append(make(start..<start + bytes.count))
    count += 1
  }

  /// Has the last chunk have room for an element.
  private mutating func openChunk() {
    guard chunks.last.map({ $0.elements.count == Self.chunkCount }) ?? true else { return }
    var chunk = Chunk()
    chunk.elements.reserveCapacity(Self.chunkCount)
    chunks.append(chunk)
  }

  /// Removes the first elements.
  mutating func removeFirst(_ count: Int) {
    precondition(count <= self.count)
    self.count -= count
    offset += count
    while offset >= Self.chunkCount {
      chunks.removeFirst()
      offset -= Self.chunkCount
    }
    guard self.count == 0 else { return }
    // Nobody knows when more will come: what was removed mustn't wait for that.
    chunks.removeAll()
    offset = 0
  }
}

extension ChunkedQueue: Sendable where Element: Sendable {}
extension ChunkedQueue.Slice: Sendable where Element: Sendable {}
extension ChunkedQueue.Chunk: Sendable where Element: Sendable {}
