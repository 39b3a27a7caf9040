import HindsightCore

/// What the engine keeps beside an index entry: its value.
struct Payload: Sendable {
  /// The decoded value; only for memory residents, and there once it is first needed. It holds the
  /// encoded one, too.
  private(set) var decoded: DecodedValue?
  /// The store doesn't have the value yet. A pin is not residency.
  var isPinned = false
  /// The encoded value where there is no decoded one. A whole array: a slice would take 32 bytes
  /// instead of 8.
  private var array: [UInt8]?

  init() {}

  init(_ decoded: DecodedValue, isPinned: Bool) {
    self.decoded = decoded
    self.isPinned = isPinned
  }

  init(bytes: [UInt8], isPinned: Bool) {
    array = bytes
    self.isPinned = isPinned
  }

  /// The encoded value: of memory residents, for checkpoints, and of what the store lacks.
  var bytes: Bytes? { (decoded?.bytes ?? array).map { $0[...] } }

  var isEmpty: Bool { decoded == nil && array == nil }

  /// Takes in the encoded value. Given the whole of an array, it shares that.
  mutating func set(_ bytes: Bytes) {
    decoded = nil
    array = Array(bytes)
  }

  mutating func set(_ decoded: DecodedValue) {
    self.decoded = decoded
    array = nil
  }

  /// Drops the value as far as memory has it; what is pinned stays, encoded.
  /// - Returns: the caller's value.
  mutating func drop() -> HeldObject? {
    let object = decoded?.object
    array = isPinned ? decoded?.bytes ?? array : nil
    decoded = nil
    return object
  }

  /// The one object that is everything, with what it is.
  consuming func held() -> (object: HeldObject, isArray: Bool, isDecoded: Bool)? {
    if let decoded { return (decoded.object, decoded.isArray, true) }
    return array.map { (DecodedValue(bytes: $0).object, true, false) }
  }
}

/// Payloads are the index's attachments: who holds a state with some lets go of them at its end.
extension CacheState {
  /// The payload of the entry in `slot`; an empty one where it has none.
  func payload(_ slot: Slot) -> Payload { word(slot).payload }

  /// Gives the entry in `slot` a payload where it has none, and changes it.
  mutating func updatePayload(_ slot: Slot, _ change: (inout Payload) -> Void) {
    var payload = word(slot).take()
    change(&payload)
    attach(ValueWord(payload).rawValue, to: slot)
  }

  /// Gives the entry in `slot` its first payload.
  mutating func give(_ payload: consuming ValueWord, to slot: Slot) {
    precondition(attachment(of: slot) == 0, "a new entry with another one's value")
    attach(payload.rawValue, to: slot)
  }

  /// Drops the value of the entry in `slot` as far as memory has it.
  /// - Returns: the caller's value, if there is one, and nothing else holds it here.
  mutating func dropValue(_ slot: Slot) -> HeldObject? {
    let word = word(slot)
    guard word.rawValue != 0 else { return nil }
    if let object = word.takeDecoded() {
      attach(0, to: slot)
      return object
    }
    if let encoded = word.asEncoded() {
      attach(encoded.rawValue, to: slot)
      return nil
    }
    var object: HeldObject?
    updatePayload(slot) { object = $0.drop() }
    return object
  }

  /// Changes the payload of the entry in `slot`, where it has one. An empty one is let go.
  @inline(__always)
  mutating func changePayload(_ slot: Slot, _ change: (inout Payload) -> Void) {
    if attachment(of: slot) != 0 { updatePayload(slot, change) }
  }

  /// The value of the entry in `slot` is in the store, or will never be.
  mutating func unpinPayload(_ slot: Slot) {
    var word = word(slot)
    word.isPinned = false
    attach(word.rawValue, to: slot)
  }

  /// Lets go of all payloads, for the state's end.
  func releasePayloads() { forEachAttachment { _ = ValueWord(rawValue: $0).take() } }

  /// Takes the state out, payloads included: what stays is empty.
  mutating func handOver() -> CacheState {
    var taken = CacheState(hashSeed: hashSeed)
    swap(&taken, &self)
    return taken
  }

  private func word(_ slot: Slot) -> ValueWord { ValueWord(rawValue: attachment(of: slot)) }
}
