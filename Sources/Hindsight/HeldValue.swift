/// One reference to an object that may be passed between threads: a caller's value, mostly, so that the engine need
/// not be generic.
struct HeldObject: Sendable {
  // Proof of Sendable: it is of a Sendable class; or made in this file, of a box, which is immutable and of Sendable
  // parts, or of an array's storage, which nobody changes while others refer to it.
  nonisolated(unsafe) let reference: AnyObject

  init(_ object: some AnyObject & Sendable) { reference = object }

  fileprivate init(reference: AnyObject) { self.reference = reference }
}

/// What a box has besides the caller's value: that encoded, in the same object. `Cache.Box` adds the value.
@usableFromInline
class ValueBox {
  @usableFromInline let bytes: [UInt8]
  @usableFromInline init(_ bytes: [UInt8]) { self.bytes = bytes }
}

/// A decoded value, with its encoded bytes: one object, which is the storage of the bytes where
/// they are the value.
///
/// An array is one reference to its storage, which is an object like any other (`Array` is frozen,
/// and so is this without Objective-C). Whoever holds that object holds the array: it is changed in
/// place only by who is the only one that refers to it.
@usableFromInline
struct DecodedValue: Sendable {
  let object: HeldObject
  /// Whether the object is an array's storage; if not, it is a `ValueBox`.
  let isArray: Bool

  @usableFromInline
  init(_ box: ValueBox) {
    object = HeldObject(reference: box)
    isArray = false
  }

  @usableFromInline
  init(bytes: [UInt8]) {
    object = HeldObject(reference: unsafeBitCast(bytes, to: AnyObject.self))
    isArray = true
  }

  fileprivate init(_ object: HeldObject, isArray: Bool) {
    self.object = object
    self.isArray = isArray
  }

  /// The encoded value.
  var bytes: [UInt8] {
    // The two `init` above are the only ways to an object.
    isArray
      ? unsafeBitCast(object.reference, to: [UInt8].self)
      : unsafeDowncast(object.reference, to: ValueBox.self).bytes
  }
}

/// One reference to a value, as a word that the index keeps with the entry: 0 for none.
///
/// Objects lie at multiples of 8, so three bits are free. The word owns a reference, of which only
/// `init` and `take` know.
struct ValueWord {
  private(set) var rawValue: UInt64

  private static let isPinned: UInt64 = 1
  /// The object is an array's storage.
  private static let isArray: UInt64 = 2
  /// The object answers a hit.
  private static let isDecoded: UInt64 = 4
  private static let flags: UInt64 = 7

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(_ payload: consuming Payload) {
    let isPinned = payload.isPinned
    guard let held = payload.held() else {
      self.init(rawValue: 0)
      return
    }
    self.init(held.object, isArray: held.isArray, isDecoded: held.isDecoded, isPinned: isPinned)
  }

  /// What a payload with this value comes to, and nothing is counted but the word's reference.
  init(_ value: DecodedValue, isPinned: Bool) {
    self.init(value.object, isArray: value.isArray, isDecoded: true, isPinned: isPinned)
  }

  private init(_ object: HeldObject, isArray: Bool, isDecoded: Bool, isPinned: Bool) {
    let address = UInt64(UInt(bitPattern: Unmanaged.passRetained(object.reference).toOpaque()))
    precondition(address & Self.flags == 0, "objects lie at multiples of 8")
    rawValue =
      address | (isArray ? Self.isArray : 0) | (isDecoded ? Self.isDecoded : 0)
      | (isPinned ? Self.isPinned : 0)
  }

  /// The object, and the word's reference with it, of a decoded value that isn't pinned: all there is then.
  func takeDecoded() -> HeldObject? {
    guard !isPinned, let decoded else { return nil }
    return HeldObject(reference: decoded.takeRetainedValue())
  }

  /// The same object as an encoded value only, where a pinned one is an array of bytes: nothing is counted.
  func asEncoded() -> ValueWord? {
    let flags = Self.isPinned | Self.isArray | Self.isDecoded
    return rawValue & Self.flags == flags ? ValueWord(rawValue: rawValue & ~Self.isDecoded) : nil
  }

  /// The payload, and the word's reference with it.
  func take() -> Payload { payload { $0.takeRetainedValue() } }

  /// The payload, while the word keeps its reference.
  var payload: Payload { payload { $0.takeUnretainedValue() } }

  private func payload(_ reference: (Unmanaged<AnyObject>) -> AnyObject) -> Payload {
    guard let address = UnsafeRawPointer(bitPattern: UInt(rawValue & ~Self.flags)) else {
      return Payload()
    }
    let object = HeldObject(reference: reference(.fromOpaque(address)))
    let isArray = rawValue & Self.isArray != 0
    let value = DecodedValue(object, isArray: isArray)
    return rawValue & Self.isDecoded != 0
      ? Payload(value, isPinned: isPinned) : Payload(bytes: value.bytes, isPinned: isPinned)
  }

  /// Whether the store lacks the value.
  var isPinned: Bool {
    get { rawValue & Self.isPinned != 0 }
    set { rawValue = newValue ? rawValue | Self.isPinned : rawValue & ~Self.isPinned }
  }

  /// The object that answers a hit, where there is one.
  @inline(__always)
  var decoded: Unmanaged<AnyObject>? {
    guard rawValue & Self.isDecoded != 0,
      let address = UnsafeRawPointer(bitPattern: UInt(rawValue & ~Self.flags))
    else { return nil }
    return .fromOpaque(address)
  }
}
