import HindsightCore

// What a checkpoint is made of: the state as of one frame's end, handed out in slices.

extension EngineState {
  /// Begins a capture of the state as it is now, at a constant cost.
  /// - Parameter withPins: whether it holds the values that the store lacks, too.
  @discardableResult
  mutating func beginCapture(withPins: Bool) -> Checkpointing.Capture {
    release(core.beginCapture())
    let capture = Checkpointing.Capture(
      head: core.head, orderIsTold: core.orderIsTold, entryCount: core.entryCount,
      bootTime: UInt64(max(0, lastBoot.rawValue)), withPins: withPins)
    checkpointing.capture = capture
    return capture
  }

  /// Gives a capture the values of the entries that it had to picture. To be called before any
  /// value changes.
  @inline(__always)
  mutating func giveCapturedValues() {
    while let slot = core.unvaluedSlot { core.giveCaptured(core.payload(slot).bytes) }
  }

  /// Takes the next slice of a capture.
  /// - Returns: whether there is more; `nil`: another capture has taken its place.
  mutating func takeSlice(
    of capture: Checkpointing.Capture, into slice: inout CapturedSlice
  ) -> Bool? {
    guard checkpointing.isUnderWay(capture) else { return nil }
    giveCapturedValues()
    let hasMore = core.takeCaptured(EngineBounds.captureSliceCount, into: &slice)
    for at in slice.entries.indices {
      guard let slot = slice.entries[at].slot, capture.wantsValue(of: slice.entries[at].numbers)
      else { continue }
      slice.entries[at].value = core.payload(slot).bytes
    }
    return hasMore
  }

  /// Gives up a checkpoint that is under way, since its entries are all about to go; the next frame
  /// begins another one, which has little to write. One that bridges a gap is needed as it is.
  mutating func voidCapture() {
    guard let capture = checkpointing.capture, capture.isForUpkeep else { return }
    checkpointing.capture = nil
    checkpointing.capturedAt = 0
    release(core.endCapture())
  }

  /// Has the memory of a capture released after unlocking.
  private mutating func release(_ ended: StateCapture?) {
    if let ended { garbage.append(HeldObject(ended)) }
  }

  /// Ends a capture, unless another one has taken its place.
  /// - Returns: its memory, to be released after unlocking.
  mutating func endCapture(_ capture: Checkpointing.Capture) -> StateCapture? {
    guard checkpointing.isUnderWay(capture) else { return nil }
    checkpointing.capture = nil
    return core.endCapture()
  }
}

extension Checkpointing.Capture {
  /// Whether an entry's value belongs to the checkpoint. The others aren't even touched: while the store is
  /// behind there are values of most entries, each a cache miss away.
  func wantsValue(of numbers: EntryNumbers) -> Bool { numbers.memoryExpiry != nil || withPins }
}

extension Checkpointing {
  /// A state has one sequence once, so it tells captures apart.
  fileprivate func isUnderWay(_ other: Capture) -> Bool {
    capture?.head.sequence == other.head.sequence && capture?.gapFirst == other.gapFirst
  }
}
