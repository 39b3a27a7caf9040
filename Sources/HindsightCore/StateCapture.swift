/// Entries as they were when a capture began. Their keys lie one behind the other in a buffer that is used
/// again: an array for each took a quarter of a checkpoint's time, most of it under the lock.
public struct CapturedSlice: Sendable {
  public struct Entry: Sendable {
    fileprivate var key: Range<Int>
    public var numbers: EntryNumbers
    /// Its encoded value, as the shell gave it (see `CacheState.takeCaptured`).
    public var value: Bytes?
    /// Where the entry still is, unchanged: the shell fills in its value from there.
    public var slot: Slot?
  }

  private var keys: [UInt8] = []
  public var entries: [Entry] = []

  public init() {}

  /// Calls `body` with each entry and its key, which is valid during the call only.
  public func forEachEntry<E: Error>(
    _ body: (UnsafeRawBufferPointer, Entry) throws(E) -> Void
  ) throws(E) {
    let entries = entries.span
    try keys.span.bytes.withUnsafeBytes { (keys) throws(E) in
      for at in entries.indices {
        try body(UnsafeRawBufferPointer(rebasing: keys[entries[at].key]), entries[at])
      }
    }
  }

  /// Empties it, keeping its storage.
  public mutating func removeAll() {
    keys.removeAll(keepingCapacity: true)
    entries.removeAll(keepingCapacity: true)
  }

  fileprivate mutating func append(
    _ key: UnsafeRawBufferPointer, _ numbers: EntryNumbers, value: Bytes?, slot: Slot?
  ) {
    keys.append(contentsOf: key)
    entries.append(
      Entry(key: keys.count - key.count..<keys.count, numbers: numbers, value: value, slot: slot))
  }
}

/// The state as it was at one moment, walked in slices while the state goes on.
///
/// The walk goes through the recency list from the front. What happens behind it is no longer its
/// concern, and new entries come in at the front, behind it. Ahead of it:
///
/// - An entry that is about to change is *pictured* first; the walk then takes the picture.
/// - An entry that is about to leave its place (moved to the front, or removed) is pictured and
///   filed as standing *before* its older neighbour. Everything ahead of the walk is older and in
///   its old order, so that neighbour is what followed it when the capture began, or what followed
///   those that left before. Who is filed later stood further to the front.
///
/// So the walk gives every entry once, in the order of that moment. A change costs one picture an
/// entry at most; a slice costs what it holds.
///
/// Proof of its variables: it is reachable only through the one state that it belongs to, or by
/// whoever took it out of there to let it go. And nothing in here calls anybody who has it, so that no access
/// can overlap another one: to look for that at run time took a fortieth of a set.
public final class StateCapture: Sendable {
  private struct Picture {
    /// In `keys`.
    var key: UnsafeMutableRawBufferPointer
    var numbers: EntryNumbers
    var slot: Slot
    var value: Bytes?
  }

  /// Where a picture is filed. Apart from it: a look at one of its fields would retain all that it refers to.
  private struct Filed {
    /// The last one filed before this entry, and the one filed before the same entry earlier; both
    /// one-based.
    var before: UInt32 = 0
    var next: UInt32 = 0
  }

  private struct Mark {
    /// 0: as it was. 1: taken, filed, or new. Beyond: pictured, unmoved; the picture's place + 2.
    var place: UInt32 = 0
    /// The last picture filed before this entry, one-based.
    var before: UInt32 = 0
  }

  private static let done: UInt32 = 1

  private let slotEnd: Slot
  @exclusivity(unchecked) nonisolated(unsafe) private var marks: LazyTable<Mark>
  @exclusivity(unchecked) nonisolated(unsafe) private var pictures = LazyTable<Picture?>(
    count: 0, initial: nil)
  @exclusivity(unchecked) nonisolated(unsafe) private var filed = LazyTable<Filed>(
    count: 0, initial: Filed())
  @exclusivity(unchecked) nonisolated(unsafe) private var pictureCount = 0
  /// Those of pictures. Memory for each was asked of the system with the lock held.
  @exclusivity(unchecked) nonisolated(unsafe) private var keys = KeyArena()
  /// Pictures up to here have their values.
  @exclusivity(unchecked) nonisolated(unsafe) private var valuedCount = 0
  /// The entry that the walk takes next.
  @exclusivity(unchecked) nonisolated(unsafe) private var cursor: Slot
  /// Pictures that come before `cursor`, innermost last.
  @exclusivity(unchecked) nonisolated(unsafe) private var stack: [UInt32] = []

  init(front: Slot, slotEnd: Slot) {
    cursor = front
    self.slotEnd = slotEnd
    marks = LazyTable(count: Int(slotEnd), initial: Mark())
  }

  // MARK: Before changes

  /// A new entry has come into `slot`.
  func inserted(_ slot: Slot) {
    if slot < slotEnd { marks[Int(slot)].place = Self.done }
  }

  /// The entry is about to change where it stands.
  func willChange(_ slot: Slot, _ entries: borrowing EntryPool) {
    guard slot < slotEnd, marks[Int(slot)].place == 0 else { return }
    marks[Int(slot)].place = picture(slot, entries) + 2
  }

  /// The entry is about to leave its place in the recency list.
  func willLeave(_ slot: Slot, _ entries: borrowing EntryPool) {
    guard slot < slotEnd, marks[Int(slot)].place != Self.done else { return }
    let mark = marks[Int(slot)]
    let place = mark.place == 0 ? picture(slot, entries) : mark.place - 2
    let older = Int(entries.older(than: slot))
    filed[Int(place)] = Filed(before: mark.before, next: marks[older].before)
    marks[older].before = place + 1
    marks[Int(slot)] = Mark(place: Self.done)
    if cursor == slot { cursor = Slot(older) }
  }

  private func picture(_ slot: Slot, _ entries: borrowing EntryPool) -> UInt32 {
    pictures.grow(to: pictureCount + 1)
    filed.grow(to: pictureCount + 1)
    let key = entries[slot].keyBytes
    pictures[pictureCount] = Picture(
      key: UnsafeMutableRawBufferPointer(start: keys.allocate(key), count: key.count),
      numbers: entries.numbers(of: slot), slot: slot)
    pictureCount += 1
    return UInt32(pictureCount - 1)
  }

  // MARK: Values of pictures

  /// The slot of a picture whose value the shell has yet to give, which it does with `give` before
  /// anything happens to that value.
  var unvalued: Slot? {
    valuedCount < pictureCount ? pictures[valuedCount]!.slot : nil
  }

  func give(_ value: Bytes?) {
    pictures[valuedCount]!.value = value
    valuedCount += 1
  }

  // MARK: The walk

  /// Takes up to `count` further entries.
  /// - Returns: whether there may be more.
  func take(
    _ count: Int, _ entries: borrowing EntryPool, into slice: inout CapturedSlice
  ) -> Bool {
    precondition(unvalued == nil, "a picture without its value")
    for _ in 0..<count {
      if let top = stack.last {
        let before = filed[Int(top)].before
        if before != 0 {
          filed[Int(top)].before = 0
          stack.append(before - 1)
          continue
        }
        stack.removeLast()
        let next = filed[Int(top)].next
        if next != 0 { stack.append(next - 1) }
        emit(top, &slice)
        continue
      }
      let mark = marks[Int(cursor)]
      if mark.before != 0 {
        marks[Int(cursor)].before = 0
        stack.append(mark.before - 1)
        continue
      }
      if cursor == noSlot { return false }
      if mark.place == 0 {
        slice.append(
          entries[cursor].keyBytes, entries.numbers(of: cursor), value: nil, slot: cursor)
      } else {
        emit(mark.place - 2, &slice)
      }
      marks[Int(cursor)].place = Self.done
      cursor = entries.older(than: cursor)
    }
    return true
  }

  private func emit(_ place: UInt32, _ slice: inout CapturedSlice) {
    guard let picture = pictures[Int(place)].take() else {
      preconditionFailure("a picture taken twice")
    }
    slice.append(
      UnsafeRawBufferPointer(picture.key), picture.numbers, value: picture.value, slot: nil)
    keys.release(picture.key.baseAddress!, byteCount: picture.key.count)
  }
}

extension CacheState {
  /// Begins a capture of the state as it is now: a constant cost. One that is under way is void.
  /// - Returns: its memory, to be released where nobody waits for it: tens of milliseconds for a million
  ///   entries.
  public mutating func beginCapture() -> StateCapture? {
    let replaced = endCapture()
    capture = StateCapture(front: entries.older(than: noSlot), slotEnd: entries.end)
    return replaced
  }

  /// Takes up to `count` further entries of the capture that is under way, most recent first. Every
  /// picture must have its value (`unvaluedSlot`); where `slot` is set, the shell adds the value
  /// before it unlocks.
  /// - Returns: whether there may be more.
  public mutating func takeCaptured(_ count: Int, into slice: inout CapturedSlice) -> Bool {
    capture?.take(count, entries, into: &slice) ?? false
  }

  /// Ends the capture.
  /// - Returns: its memory, to be released where nobody waits for it.
  public mutating func endCapture() -> StateCapture? {
    defer { capture = nil }
    return capture
  }

  /// The slot of an entry that a capture had to picture, and whose value it lacks. The shell gives
  /// it before it changes any value. `nil`: there is none.
  @inline(__always)
  public var unvaluedSlot: Slot? { capture?.unvalued }

  /// Gives the value of the entry in `unvaluedSlot`.
  public mutating func giveCaptured(_ value: Bytes?) { capture?.give(value) }

  /// The shell is about to drop a value that a capture may want.
  public mutating func willDropValue(of slot: Slot) { capture?.willChange(slot, entries) }

  /// Moves an entry to the front of the recency list.
  @inline(__always)
  mutating func moveToFront(_ slot: Slot) {
    capture?.willLeave(slot, entries)
    recency.moveToFront(slot, &entries)
  }
}

/// A table whose parts are allocated when they are first used, so that having a large one costs no
/// pause.
private struct LazyTable<Element> {
  private static var shift: Int { 7 }
  private static var partCount: Int { 1 << shift }

  private var parts: [[Element]]
  private let initial: Element

  init(count: Int, initial: Element) {
    self.initial = initial
    parts = Array(repeating: [], count: count >> Self.shift + 1)
  }

  mutating func grow(to count: Int) {
    while parts.count << Self.shift < count { parts.append([]) }
  }

  subscript(at: Int) -> Element {
    get {
      let part = parts[at >> Self.shift]
      return part.isEmpty ? initial : part[at & (Self.partCount - 1)]
    }
    _modify {
      if parts[at >> Self.shift].isEmpty {
        parts[at >> Self.shift] = Array(repeating: initial, count: Self.partCount)
      }
      yield &parts[at >> Self.shift][at & (Self.partCount - 1)]
    }
  }
}
