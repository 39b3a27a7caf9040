import HindsightCore

/// A caller's value as an object, so that the engine need not be generic.
typealias BoxedValue = AnyObject & Sendable

/// What the engine keeps beside an index entry: its value.
struct Payload: Sendable {
  /// The decoded value, boxed; only for memory residents, and there once it is first needed.
  var box: (any BoxedValue)?
  /// The encoded value: of memory residents, for checkpoints, and of what the store lacks.
  var bytes: Bytes?
  /// The store doesn't have the value yet. A pin is not residency.
  var isPinned = false
  /// Where the hit log has the entry last.
  var hitPlace: UInt32 = 0

  var isEmpty: Bool { box == nil && bytes == nil }
}

// Only entries that have a payload take room for one: most entries of a large cache are in the
// store alone. The index keeps with each entry where its payload is, 0 where it has none.

extension EngineState {
  /// The payload of the entry in `slot`; an empty one where it has none.
  func payload(_ slot: Slot) -> Payload { payloads[core.attachment(of: slot)] }

  /// Changes the payload of the entry in `slot`, which may make it or empty it.
  mutating func updatePayload(_ slot: Slot, _ change: (inout Payload) -> Void) {
    var place = core.attachment(of: slot)
    if place == 0 {
      place = payloads.allocate()
      core.attach(place, to: slot)
    }
    change(&payloads[place])
    if payloads[place].isEmpty {
      payloads[place] = Payload()
      payloads.release(place)
      core.attach(0, to: slot)
    }
  }
}
