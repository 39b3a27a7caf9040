public import HindsightCore

/// A `set` as a replay lends it: nothing of it is retained and released on its way.
public struct LentSet {
  public var fact: SetFact
  /// 1 to 1,024 bytes. Key and value are valid up to the end of the frame, `endFrame` included.
  public var key: UnsafeRawBufferPointer
  /// The encoded value.
  public var value: UnsafeRawBufferPointer
  /// XXH64 of the value, seed 0.
  public var valueHash: UInt64

  public init(
    fact: SetFact, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, valueHash: UInt64
  ) {
    self.fact = fact
    self.key = key
    self.value = value
    self.valueHash = valueHash
  }
}

extension CacheState {
  /// Takes a lent set into the state.
  /// - Throws: as `apply` of a record.
  public mutating func apply(_ set: LentSet, into effects: inout [Effect]) throws(StateError) {
    let value = LentValue(
      key: set.key, keyHash: hash(of: set.key), coder: set.fact.coder,
      valueByteCount: UInt32(set.value.count), valueHash: set.valueHash)
    try apply(set.fact, value, into: &effects)
  }
}

/// A `set`, its key and value as places in a frame's body.
struct SetPlace: Sendable {
  let fact: SetFact
  let valueHash: UInt64
  private let keyStart: UInt32
  private let keyCount: UInt32
  private let valueStart: UInt32
  private let valueCount: UInt32

  /// - Parameters:
  ///   - key, value: within a body, of `Format.bodyByteCountMax` bytes at most.
  init(fact: SetFact, key: Range<Int>, value: Range<Int>, valueHash: UInt64) {
    self.fact = fact
    self.valueHash = valueHash
    (keyStart, keyCount) = (UInt32(key.lowerBound), UInt32(key.count))
    (valueStart, valueCount) = (UInt32(value.lowerBound), UInt32(value.count))
  }

  /// The same, lent out of that body.
  func lent(_ body: UnsafeRawBufferPointer) -> LentSet {
    func part(_ start: UInt32, _ count: UInt32) -> UnsafeRawBufferPointer {
      UnsafeRawBufferPointer(rebasing: body[Int(start)..<Int(start) + Int(count)])
    }
    return LentSet(
      fact: fact, key: part(keyStart, keyCount), value: part(valueStart, valueCount),
      valueHash: valueHash)
  }
}

/// The events of one frame, all of which have been decoded once.
///
/// A frame of 64 MiB may hold 20 million events, which take a hundred times more once decoded than a
/// stranger's file has bytes: where they are many, they are decoded again as they are asked for.
struct FrameEvents: Sendable {
  /// So many are kept decoded at most.
  static let keptCountMax = 1 << 16

  /// Bytes of memory, about.
  let byteCount: Int
  private let body: [UInt8]
  private let header: FrameHeader
  private let lendsSets: Bool
  private let isKept: Bool
  /// What is kept: the sets that can be lent, and the other events, each in their order.
  private let sets: [SetPlace]
  private let others: [Record]

  /// Checks a body, and decodes it.
  /// - Parameter lendsSets: whether sets are given lent, as far as they have no reason.
  /// - Throws: `FormatError` where an event is wrong.
  init(_ body: [UInt8], _ header: FrameHeader, lendsSets: Bool) throws(FormatError) {
    (self.body, self.header, self.lendsSets) = (body, header, lendsSets)
    isKept = header.count <= UInt32(Self.keptCountMax)
    var sets: [SetPlace] = []
    var others: [Record] = []
    if isKept, lendsSets { sets.reserveCapacity(Int(header.count)) }
    if isKept, !lendsSets { others.reserveCapacity(Int(header.count)) }
    var decoder = EventDecoder(body, first: header.first)
    for _ in 0..<header.count {
      if lendsSets, let set = try decoder.setPlace() {
        if isKept { sets.append(set) }
      } else {
        let record = try decoder.record()
        if isKept { others.append(record) }
      }
    }
    guard decoder.isAtEnd else { throw .trailingBytes(decoder.remaining) }
    (self.sets, self.others) = (sets, others)
    byteCount =
      body.count + sets.count * MemoryLayout<SetPlace>.stride
      + others.count * MemoryLayout<Record>.stride
  }

  /// Calls `record` or `set` with each event, in their order, and `end` after the last one.
  /// - Parameter set: never called unless sets are lent.
  func forEach<Failure>(
    record: (Record) throws(Failure) -> Void, set: (LentSet) throws(Failure) -> Void,
    end: () throws(Failure) -> Void
  ) throws(Failure) {
    try body.span.withUnsafeBytes { (body) throws(Failure) in
      if isKept {
        try forEachKept(body, record, set)
      } else {
        try decodeAgain(body, record, set)
      }
      try end()
    }
  }

  private func forEachKept<Failure>(
    _ body: UnsafeRawBufferPointer, _ record: (Record) throws(Failure) -> Void,
    _ set: (LentSet) throws(Failure) -> Void
  ) throws(Failure) {
    // Spans lend their elements; arrays copy them, and both threads count the references.
    let (sets, others) = (sets.span, others.span)
    var nextSet = 0
    for at in others.indices {
      let sequence = others[at].sequence
      while nextSet < sets.count, sets[nextSet].fact.sequence < sequence {
        try set(sets[nextSet].lent(body))
        nextSet += 1
      }
      try record(others[at])
    }
    while nextSet < sets.count {
      try set(sets[nextSet].lent(body))
      nextSet += 1
    }
  }

  private func decodeAgain<Failure>(
    _ body: UnsafeRawBufferPointer, _ record: (Record) throws(Failure) -> Void,
    _ set: (LentSet) throws(Failure) -> Void
  ) throws(Failure) {
    var decoder = EventDecoder(self.body, first: header.first)
    for _ in 0..<header.count {
      if lendsSets, let place = Self.again({ () throws(FormatError) in try decoder.setPlace() }) {
        try set(place.lent(body))
      } else {
        try record(Self.again { () throws(FormatError) in try decoder.record() })
      }
    }
  }

  private static func again<T>(_ decode: () throws(FormatError) -> T) -> T {
    do throws(FormatError) {
      return try decode()
    } catch {
      preconditionFailure("the same bytes were events before: \(error)")
    }
  }
}
