internal import CPrefetch

/// Elements in chunks that never move, so that growing costs no pause and no copy. Places are
/// handed out and taken back; one that isn't in use holds whatever its last user left.
///
/// Place 0 is never handed out: it stands for "none", and is there to be read.
///
/// Proof of Sendable: it can't be copied, the chunks are its own from `addChunk` to `deinit`, and elements
/// are Sendable.
public struct ChunkedPool<Element: Sendable>: ~Copyable, Sendable {
  @usableFromInline static var chunkShift: UInt32 { 10 }
  @usableFromInline static var chunkCount: Int { 1 << 10 }

  @usableFromInline nonisolated(unsafe) var chunks: [UnsafeMutablePointer<Element>] = []
  private var unused: UInt32 = 1
  private var free: [UInt32] = []

  /// What new places hold, on the heap: it would make the pool larger than it need be.
  nonisolated(unsafe) private let empty: UnsafeMutablePointer<Element>

  /// A pool whose new places hold `empty`.
  public init(_ empty: Element) {
    self.empty = .allocate(capacity: 1)
    self.empty.initialize(to: empty)
    addChunk()
  }

  deinit {
    empty.deinitialize(count: 1)
    empty.deallocate()
    for chunk in chunks {
      chunk.deinitialize(count: Self.chunkCount)
      chunk.deallocate()
    }
  }

  /// One more than the highest place ever handed out.
  public var end: UInt32 { unused }

  /// The element in `place`. Unsafe memory: valid because places come from `allocate` only, or are
  /// 0, and chunks are freed by `deinit` only.
  @inlinable
  public subscript(place: UInt32) -> Element {
    @inline(__always)
    unsafeAddress {
      UnsafePointer(chunks[Int(place >> Self.chunkShift)] + Int(place) & (Self.chunkCount - 1))
    }
    @inline(__always)
    unsafeMutableAddress {
      chunks[Int(place >> Self.chunkShift)] + Int(place) & (Self.chunkCount - 1)
    }
  }

  /// The place that `allocate` gives next, if it has room.
  @inline(__always)
  var next: UInt32 { free.last ?? (Int(unused) < chunks.count * Self.chunkCount ? unused : 0) }

  /// Asks for the memory of the element in `place`.
  @inline(__always)
  func prefetch(_ place: UInt32) {
    hindsight_prefetch(address(of: place))
    hindsight_prefetch(address(of: place) + 64)
    hindsight_prefetch(address(of: place) + MemoryLayout<Element>.size - 1)
  }

  @inline(__always)
  func address(of place: UInt32) -> UnsafeRawPointer {
    UnsafeRawPointer(
      chunks[Int(place >> Self.chunkShift)] + Int(place) & (Self.chunkCount - 1))
  }

  /// A place for a new element.
  public mutating func allocate() -> UInt32 {
    if let place = free.popLast() { return place }
    if Int(unused) == chunks.count * Self.chunkCount { addChunk() }
    unused += 1
    return unused - 1
  }

  public mutating func release(_ place: UInt32) { free.append(place) }

  private mutating func addChunk() {
    let chunk = UnsafeMutablePointer<Element>.allocate(capacity: Self.chunkCount)
    chunk.initialize(repeating: empty.pointee, count: Self.chunkCount)
    chunks.append(chunk)
  }
}
