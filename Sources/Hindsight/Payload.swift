import HindsightCore

/// A caller's value as an object, so that the engine need not be generic.
typealias BoxedValue = AnyObject & Sendable

/// What the engine keeps beside an index entry: its value.
struct Payload: Sendable {
  /// The decoded value, boxed; only for memory residents, and there once it is first needed.
  var box: (any BoxedValue)?
  /// The store doesn't have the value yet. A pin is not residency.
  var isPinned = false
  /// A whole array: a slice would take 32 bytes instead of 8.
  private var array: [UInt8]?

  init() {}

  init(box: (any BoxedValue)?, bytes: Bytes?, isPinned: Bool = false) {
    self.box = box
    self.isPinned = isPinned
    array = bytes.map { Array($0) }
  }

  init(box: (any BoxedValue)?, bytes: [UInt8], isPinned: Bool) {
    self.box = box
    self.isPinned = isPinned
    array = bytes
  }

  /// The encoded value: of memory residents, for checkpoints, and of what the store lacks. Set from
  /// the whole of an array, it shares that.
  var bytes: Bytes? {
    get { array.map { $0[...] } }
    set { array = newValue.map { Array($0) } }
  }

  var isEmpty: Bool { box == nil && array == nil }
}

// Only entries that have a payload take room for one: most entries of a large cache are in the
// store alone. The index keeps with each entry where its payload is, 0 where it has none.

extension EngineState {
  /// The payload of the entry in `slot`; an empty one where it has none.
  func payload(_ slot: Slot) -> Payload { payloads[core.attachment(of: slot)] }

  /// Gives the entry in `slot` a payload where it has none, and changes it.
  mutating func updatePayload(_ slot: Slot, _ change: (inout Payload) -> Void) {
    if core.attachment(of: slot) == 0 { core.attach(payloads.allocate(), to: slot) }
    changePayload(slot, change)
  }

  /// Gives the entry in `slot` a payload in place of the one that it has, or has not.
  mutating func give(_ payload: consuming Payload, to slot: Slot) {
    var place = core.attachment(of: slot)
    if place == 0 {
      place = payloads.allocate()
      core.attach(place, to: slot)
    }
    payloads[place] = payload
  }

  /// Changes the payload of the entry in `slot`, where it has one. An empty one is let go.
  @inline(__always)
  mutating func changePayload(_ slot: Slot, _ change: (inout Payload) -> Void) {
    let place = core.attachment(of: slot)
    guard place != 0 else { return }
    change(&payloads[place])
    if payloads[place].isEmpty {
      payloads[place] = Payload()
      payloads.release(place)
      core.attach(0, to: slot)
    }
  }
}
