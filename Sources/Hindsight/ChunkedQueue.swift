import DequeModule

/// A queue that grows without moving what is in it: a long one never pauses to be copied.
struct ChunkedQueue<Element> {
  /// Few, since a chunk goes when the last of its elements does, and those may hold values of megabytes.
  private static var shift: Int { 6 }
  private static var chunkCount: Int { 1 << shift }

  private var chunks: Deque<[Element]> = []
  /// Elements of the first chunk that are removed already; they go with it.
  private var offset = 0
  private(set) var count = 0

  var first: Element? { count == 0 ? nil : self[0] }

  /// The element that so many others precede.
  subscript(at: Int) -> Element {
    let place = at + offset
    return chunks[place >> Self.shift][place & (Self.chunkCount - 1)]
  }

  /// The first elements, sharing their chunks: a constant cost for each of those.
  func prefix(_ count: Int) -> [ArraySlice<Element>] {
    precondition(count <= self.count)
    var slices: [ArraySlice<Element>] = []
    var at = offset
    while at < offset + count {
      let chunk = chunks[at >> Self.shift]
      let first = at & (Self.chunkCount - 1)
      let slice = chunk[first..<min(chunk.count, first + offset + count - at)]
      slices.append(slice)
      at += slice.count
    }
    return slices
  }

  mutating func append(_ element: consuming Element) {
    if chunks.last.map({ $0.count == Self.chunkCount }) ?? true {
      var chunk: [Element] = []
      chunk.reserveCapacity(Self.chunkCount)
      chunks.append(chunk)
    }
    chunks[chunks.count - 1].append(element)
    count += 1
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
