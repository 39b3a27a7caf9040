import HindsightCore

/// The last frames of a segment as a replay has read them, for a recovery that writes again what nothing proves to
/// be durable: reading them a second time took a tenth of an opening.
///
/// They begin with the run in which the first such frame stands, since what continues a run can be decoded only
/// behind what came before it.
struct KeptFrames: Sendable {
  /// Of bodies; where there are more, which takes a disk that wasn't synced for long, none are kept.
  private let byteCountMax: Int
  private var frames: [FrameReader.Frame] = []
  private var byteCount = 0
  private var isGivenUp = false

  init(byteCountMax: Int) { self.byteCountMax = byteCountMax }

  var count: Int { frames.count }

  /// The frame before which `at` others are kept.
  subscript(at: Int) -> FrameReader.Frame { frames[at] }

  /// Keeps a frame, and drops those that are no longer needed.
  /// - Parameter proven: the last event that is proven to be durable.
  mutating func append(_ frame: FrameReader.Frame, proven: SequenceNumber) {
    guard !isGivenUp, byteCountMax > 0 else { return }
    frames.append(frame)
    byteCount += frame.stored.count
    if frame.header.encoding == .begins {
      drop(
        frames.lastIndex { $0.header.encoding == .begins && $0.header.first <= proven.next } ?? 0)
    }
    if byteCount > byteCountMax {
      drop(frames.count)
      isGivenUp = true
    }
  }

  private mutating func drop(_ count: Int) {
    byteCount -= frames[..<count].reduce(0) { $0 + $1.stored.count }
    frames.removeFirst(count)
  }
}
