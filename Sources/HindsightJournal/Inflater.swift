import HindsightCore

/// Raw inflate (RFC 1951) into a buffer of exactly the stated length: a stream of its own (format 1), or
/// a part of a stream that was flushed behind it (format 2).
///
/// What a part may refer to lies in front of it in one piece of memory, so that a match is copied with two
/// comparisons; zlib, which takes and gives any number of bytes at a time, needs twice as long. For use by
/// one owner at a time. What it refuses, zlib refuses, and the other way round (tests compare them); only
/// a part that doesn't end with a flush is refused here alone.
final class Inflater {
  // Proof of the pointers: `window` has `capacity` bytes, of which the first `filled` are the run's so far;
  // `room` sees to it that `Bounds.slack` bytes are left behind what is to be filled. `BlockReader` has the
  // rest of the proof. Window and codes live until `deinit`.
  private var window: UnsafeMutablePointer<UInt8>
  private var capacity = 0
  private var filled = 0
  /// The run's first part, not yet in the window: there may be no other.
  private var lead: [UInt8]?
  private let codes = InflateCodes()

  enum Bounds {
    static let distanceMax = 32 << 10
    /// A run of ours has 1 MiB at most; where one is longer, its end is moved to the front.
    static let windowByteCount = distanceMax + (1 << 20)
    /// Eight literals, or six and a match, may be begun with one byte of room, and a match is copied 16 bytes
    /// at a time, 32 at least.
    static let slack = 8 + 258 + 32
  }

  init() { window = .allocate(capacity: 0) }

  deinit {
    window.deallocate()
    codes.deallocate()
  }

  /// A whole stream.
  /// - Throws: `.inflation` where the bytes are not a deflated stream of that length;
  ///   `.lengthOutOfBounds` where the length can't be, before anything is allocated.
  func inflate(_ stored: [UInt8], count: Int) throws(FormatError) -> [UInt8] {
    try check(count, of: stored)
    return try first(stored, count: count, isFlushed: false)
  }

  /// What follows belongs to another stream.
  func beginRun() {
    filled = 0
    lead = nil
  }

  /// The next part of a stream, less the marker of the flush that ended it.
  /// - Throws: as `inflate`; the rest of the stream is void then.
  func inflateInRun(_ stored: [UInt8], count: Int) throws(FormatError) -> [UInt8] {
    try check(count, of: stored)
    guard filled > 0 || lead != nil else {
      let part = try first(stored, count: count, isFlushed: true)
      lead = part
      return part
    }
    room(for: count)
    let start = window + filled
    let isWell = read(stored, into: start, count: count, behind: filled, isFlushed: true)
    guard isWell else { throw .inflation }
    filled += count
    return [UInt8](UnsafeBufferPointer(start: start, count: count))
  }

  private func check(_ count: Int, of stored: [UInt8]) throws(FormatError) {
    guard count <= Format.bodyByteCountMax,
      count <= stored.count * Format.deflateRatioMax + Format.frameHeaderByteCount
    else { throw .lengthOutOfBounds(UInt64(count)) }
  }

  /// A stream's first part, or all of it: into an array at once.
  private func first(
    _ stored: [UInt8], count: Int, isFlushed: Bool
  ) throws(FormatError) -> [UInt8] {
    var isWell = false
    // Where `read` succeeds, it has written all `count` bytes.
    let part = [UInt8](unsafeUninitializedCapacity: count + Bounds.slack) { part, initialized in
      isWell = read(stored, into: part.baseAddress!, count: count, behind: 0, isFlushed: isFlushed)
      initialized = isWell ? count : 0
    }
    guard isWell else { throw .inflation }
    return part
  }

  /// - Parameters:
  ///   - output: `count + Bounds.slack` bytes, with so many in front of them that may be referred to.
  /// - Returns: whether the bytes gave exactly `count` bytes.
  private func read(
    _ stored: [UInt8], into output: UnsafeMutablePointer<UInt8>, count: Int, behind: Int,
    isFlushed: Bool
  ) -> Bool {
    stored.withUnsafeBufferPointer { stored in
      var reader = BlockReader(stored, output, count: count, behind: behind, codes)
      return reader.readAll(isFlushed: isFlushed) && reader.isFull
    }
  }

  /// Makes room for so many bytes behind what they may refer to, and puts that in front of it.
  private func room(for count: Int) {
    guard lead != nil || filled + count + Bounds.slack > capacity else { return }
    let kept = min(lead?.count ?? filled, Bounds.distanceMax)
    let wanted = max(kept + count + Bounds.slack, Bounds.windowByteCount)
    let target = wanted == capacity ? window : .allocate(capacity: wanted)
    if let lead {
      lead.withUnsafeBufferPointer {
        // A part without bytes has no address, and none are kept of it.
        if kept > 0 { target.update(from: $0.baseAddress! + (lead.count - kept), count: kept) }
      }
    } else {
      target.update(from: window + (filled - kept), count: kept)
    }
    if target != window { window.deallocate() }
    (window, capacity, filled, lead) = (target, wanted, kept, nil)
  }
}
