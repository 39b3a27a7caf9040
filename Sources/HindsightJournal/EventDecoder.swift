import HindsightCore

/// Decodes the events of one frame's body, one after the other. Keys and values share its buffer.
struct EventDecoder {
  private var reader: ByteReader
  private var next: SequenceNumber
  private var previousAt = Timestamp.zero
  private var isFirst = true

  init(_ body: [UInt8], first: SequenceNumber) {
    reader = ByteReader(body)
    next = first
  }

  var isAtEnd: Bool { reader.isAtEnd }
  var remaining: Int { reader.remaining }

  /// The next event.
  /// - Throws: `FormatError` where the bytes are none.
  mutating func record() throws(FormatError) -> Record {
    let raw = try reader.byte()
    guard let tag = EventTag(rawValue: raw) else { throw .unknownTag(raw) }
    try passTime()
    let event = try event(tag)
    if case .gap(let gap) = event {
      guard isFirst, gap.last.next == next else { throw .badField("gap") }
    }
    isFirst = false
    defer { next = next.next }
    return Record(sequence: next, at: previousAt, event: event)
  }

  /// The next event where it is a `set` without a reason, its key and value as places in the body;
  /// else `nil`, and `record` gives it.
  /// - Throws: as `record`.
  mutating func setPlace() throws(FormatError) -> SetPlace? {
    guard reader.peek() == EventTag.set.rawValue else { return nil }
    _ = try reader.byte()
    try passTime()
    let fields = try setFields()
    isFirst = false
    defer { next = next.next }
    return SetPlace(
      fact: SetFact(
        sequence: next, at: previousAt, coder: fields.coder, memoryExpiry: fields.memoryExpiry,
        storeExpiry: fields.storeExpiry),
      key: fields.key, value: fields.value,
      valueHash: XXH64.hash(reader.bytes[fields.value]))
  }

  /// How long after the event before it the next one came about.
  private mutating func passTime() throws(FormatError) {
    let (at, overflow) = previousAt.rawValue.addingReportingOverflow(
      try positive(try reader.varint(), "at"))
    guard !overflow else { throw .badField("at") }
    previousAt = Timestamp(rawValue: at)
  }

  private mutating func event(_ tag: EventTag) throws(FormatError) -> Event {
    switch tag {
    case .opened: .opened(try opened())
    case .closed: .closed(clean: try reader.byte() == 1)
    case .set: .set(try set(hasReason: false))
    case .setWithReason: .set(try set(hasReason: true))
    case .invalidated:
      .invalidated(Invalidated(subject: .origin(try origin()), reason: try reason()))
    case .invalidatedNothing:
      .invalidated(Invalidated(subject: .key(try key()), reason: try reason()))
    case .cleared: .cleared(try cleared())
    case .expired: try expired()
    case .evicted: try evicted()
    case .promoted: .promoted(origin: try origin(), memoryExpiry: try requiredExpiry())
    case .touched: .touched(try origins())
    case .lookedUp: try lookedUp(nothing: false)
    case .lookedUpNothing: try lookedUp(nothing: true)
    case .recovered: .recovered(try recovered())
    case .gap: .gap(try gap())
    }
  }

  private mutating func set(hasReason: Bool) throws(FormatError) -> ValueSet {
    let fields = try setFields()
    let reason: String? = hasReason ? try reasonText(try reader.varint()) : nil
    return ValueSet(
      key: reader.bytes[fields.key], value: reader.bytes[fields.value], coder: fields.coder,
      memoryExpiry: fields.memoryExpiry, storeExpiry: fields.storeExpiry, reason: reason)
  }

  private struct SetFields {
    var coder: UInt8
    var memoryExpiry: Timestamp?
    var storeExpiry: Timestamp?
    var key: Range<Int>
    var value: Range<Int>
  }

  private mutating func setFields() throws(FormatError) -> SetFields {
    let coder = try reader.byte()
    let memory = try expiry()
    let store = try expiry()
    return SetFields(
      coder: coder, memoryExpiry: memory, storeExpiry: store, key: try keyRange(),
      value: try reader.prefixedRange(max: Bounds.valueByteCountMax, "value"))
  }

  private mutating func cleared() throws(FormatError) -> Cleared {
    let prefix = try reader.prefixed(max: Bounds.keyByteCountMax, "prefix")
    let reason = try reason()
    return Cleared(
      prefix: prefix, reason: reason, memoryCount: try reader.varint(),
      storeCount: try reader.varint())
  }

  private mutating func expired() throws(FormatError) -> Event {
    guard let tier = Tier(rawValue: try reader.byte()) else { throw .badField("tier") }
    return .expired(origin: try origin(), tier: tier)
  }

  private mutating func evicted() throws(FormatError) -> Event {
    let raw = try reader.byte()
    guard let tier = Tier(rawValue: raw & 1), let cause = EvictionCause(rawValue: raw >> 1) else {
      throw .badField("tier")
    }
    return .evicted(origin: try origin(), tier: tier, cause: cause)
  }

  private mutating func lookedUp(nothing: Bool) throws(FormatError) -> Event {
    guard let outcome = LookupOutcome(rawValue: try reader.byte()) else {
      throw .badField("outcome")
    }
    return .lookedUp(nothing ? .key(try key()) : .origin(try origin()), outcome)
  }

  private mutating func origins() throws(FormatError) -> [SequenceNumber] {
    let count = try reader.varint()
    // Each entry is named once, so there are no more short distances than there are numbers: what
    // is allocated stays near what was read.
    guard count <= UInt64(reader.remaining), Self.byteCountMin(distances: count) <= reader.remaining
    else { throw .badField("count") }
    var origins: [SequenceNumber] = []
    origins.reserveCapacity(Int(count))
    for _ in 0..<count { origins.append(try origin()) }
    return origins
  }

  /// The fewest bytes that so many different distances take as varints.
  private static func byteCountMin(distances: UInt64) -> Int {
    var rest = distances
    var sum: UInt64 = 0
    for (width, count) in [(1, 127), (2, 16_256), (3, 2_080_768)] as [(UInt64, UInt64)] {
      sum += width * min(rest, count)
      rest -= min(rest, count)
    }
    return Int(sum + 4 * rest)
  }

  private mutating func recovered() throws(FormatError) -> Recovered {
    guard let cause = Recovered.Cause(rawValue: try reader.byte()) else {
      throw .badField("cause")
    }
    guard let segment = UInt32(exactly: try reader.varint()) else { throw .badField("segment") }
    return Recovered(
      cause: cause, segment: segment, byteOffset: try reader.varint(),
      byteCountDropped: try reader.varint())
  }

  private mutating func gap() throws(FormatError) -> Gap {
    guard let cause = Gap.Cause(rawValue: try reader.byte()) else { throw .badField("cause") }
    let first = try reader.varint()
    let count = try reader.varint()
    guard first >= 1, count >= 1, first <= Format.sequenceMax, count <= Format.sequenceMax else {
      throw .badField("gap")
    }
    return Gap(first: SequenceNumber(first), last: SequenceNumber(first + count - 1), cause: cause)
  }

  mutating func opened() throws(FormatError) -> Opened {
    let memory = TierLimit(
      entryCountMax: try reader.varint(), byteCountMax: Self.less1(try reader.varint()))
    let storeEntries = try reader.varint()
    let storeBytes = Self.less1(try reader.varint())
    let memoryTTL = Microseconds(rawValue: try positive(try reader.varint(), "memory TTL"))
    let storeTTL = Microseconds(rawValue: try positive(try reader.varint(), "store TTL"))
    guard let accessLog = AccessLog(rawValue: try reader.byte()) else {
      throw .badField("access log")
    }
    let version = try reader.byte()
    let bootID = try reader.fixed64()
    let software = try reader.prefixed(
      max: Bounds.softwareVersionByteCountMax, "software version")
    return Opened(
      memoryLimit: memory,
      storeLimit: storeEntries == 0
        ? nil : TierLimit(entryCountMax: storeEntries, byteCountMax: storeBytes),
      memoryTTL: memoryTTL, storeTTL: storeTTL, accessLog: accessLog, formatVersion: version,
      softwareVersion: try reader.text(software, "software version"), bootID: bootID)
  }

  // MARK: Fields

  private static func less1(_ value: UInt64) -> UInt64? { value == 0 ? nil : value - 1 }

  private func positive(_ value: UInt64, _ field: String) throws(FormatError) -> Int64 {
    guard let signed = Int64(exactly: value) else { throw .badField(field) }
    return signed
  }

  private mutating func key() throws(FormatError) -> Bytes { reader.bytes[try keyRange()] }

  private mutating func keyRange() throws(FormatError) -> Range<Int> {
    let key = try reader.prefixedRange(max: Bounds.keyByteCountMax, "key")
    guard !key.isEmpty else { throw .badField("key") }
    return key
  }

  private mutating func origin() throws(FormatError) -> SequenceNumber {
    let distance = try reader.varint()
    guard distance >= 1, distance < next.rawValue else { throw .badField("origin") }
    return SequenceNumber(next.rawValue - distance)
  }

  private mutating func expiry() throws(FormatError) -> Timestamp? {
    let raw = try reader.varint()
    if raw == 0 { return nil }
    let (expiry, overflow) = previousAt.rawValue.addingReportingOverflow(
      try positive(raw - 1, "expiry"))
    guard !overflow else { throw .badField("expiry") }
    return Timestamp(rawValue: expiry)
  }

  private mutating func requiredExpiry() throws(FormatError) -> Timestamp {
    guard let expiry = try expiry() else { throw .badField("expiry") }
    return expiry
  }

  private mutating func reason() throws(FormatError) -> String? {
    let raw = try reader.varint()
    return raw == 0 ? nil : try reasonText(raw - 1)
  }

  private mutating func reasonText(_ count: UInt64) throws(FormatError) -> String {
    guard count <= UInt64(Bounds.reasonByteCountMax) else { throw .badField("reason") }
    return try reader.text(try reader.slice(count), "reason")
  }
}
