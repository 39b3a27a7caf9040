import HindsightCore

/// Tags of the events; see Format.swift.
enum EventTag: UInt8 {
  case opened = 1
  case closed, set, setWithReason, invalidated, invalidatedNothing, cleared, expired, evicted
  case promoted, touched, lookedUp, lookedUpNothing, recovered, gap
}

extension [UInt8] {
  /// Appends one encoded event. Hot: it runs under the cache's lock.
  mutating func append(_ record: Record, previousAt: Timestamp) {
    let sequence = record.sequence
    func begin(_ tag: EventTag, _ bytes: inout [UInt8]) {
      bytes.append(tag.rawValue)
      bytes.append(varint: UInt64(record.at.rawValue - previousAt.rawValue))
    }
    switch record.event {
    case .opened(let opened):
      begin(.opened, &self)
      append(opened)
    case .closed(let clean):
      begin(.closed, &self)
      append(clean ? 1 : 0)
    case .set(let set):
      let fact = SetFact(
        sequence: sequence, at: record.at, coder: set.coder, memoryExpiry: set.memoryExpiry,
        storeExpiry: set.storeExpiry)
      set.key.withUnsafeBytes { key in
        set.value.withUnsafeBytes { value in
          append(fact, key: key, value: value, reason: set.reason, previousAt: previousAt)
        }
      }
    case .invalidated(let it):
      switch it.subject {
      case .origin(let origin):
        begin(.invalidated, &self)
        append(origin: origin, before: sequence)
      case .key(let key):
        begin(.invalidatedNothing, &self)
        append(prefixed: key)
      }
      append(reason: it.reason)
    case .cleared(let it):
      begin(.cleared, &self)
      append(prefixed: it.prefix)
      append(reason: it.reason)
      append(varint: it.memoryCount)
      append(varint: it.storeCount)
    case .expired(let origin, let tier):
      append(.expired, tier.rawValue, origin, sequence, at: record.at, previousAt: previousAt)
    case .evicted(let origin, let tier, let cause):
      append(
        .evicted, tier.rawValue + 2 * cause.rawValue, origin, sequence, at: record.at,
        previousAt: previousAt)
    case .promoted(let origin, let expiry):
      begin(.promoted, &self)
      append(origin: origin, before: sequence)
      append(expiry: expiry, after: record.at)
    case .touched(let origins):
      begin(.touched, &self)
      append(varint: UInt64(origins.count))
      for origin in origins { append(origin: origin, before: sequence) }
    case .lookedUp(.origin(let origin), let outcome):
      begin(.lookedUp, &self)
      append(outcome.rawValue)
      append(origin: origin, before: sequence)
    case .lookedUp(.key(let key), let outcome):
      begin(.lookedUpNothing, &self)
      append(outcome.rawValue)
      append(prefixed: key)
    case .recovered(let it):
      begin(.recovered, &self)
      append(it.cause.rawValue)
      append(varint: UInt64(it.segment))
      append(varint: it.byteOffset)
      append(varint: it.byteCountDropped)
    case .gap(let gap):
      begin(.gap, &self)
      append(gap.cause.rawValue)
      append(varint: gap.first.rawValue)
      append(varint: gap.last.rawValue - gap.first.rawValue + 1)
    }
  }

  /// Appends an encoded `set`, whose key and value are lent.
  mutating func append(
    _ fact: SetFact, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, reason: String?,
    previousAt: Timestamp
  ) {
    let room = Self.numbersByteCountMax + key.count + value.count
    append(atMost: room) { cursor in
      cursor.put(
        reason == nil ? .set : .setWithReason, at: fact.at, previousAt: previousAt)
      cursor.put(fact.coder)
      cursor.put(varint: Self.lifetime(until: fact.memoryExpiry, from: fact.at))
      cursor.put(varint: Self.lifetime(until: fact.storeExpiry, from: fact.at))
      cursor.put(varint: UInt64(key.count))
      cursor.put(key)
      cursor.put(varint: UInt64(value.count))
      cursor.put(value)
    }
    if let reason { append(prefixed: Bytes(reason.utf8)) }
  }

  /// Appends an event that tells of one tier of one entry.
  private mutating func append(
    _ tag: EventTag, _ flags: UInt8, _ origin: SequenceNumber, _ sequence: SequenceNumber,
    at: Timestamp, previousAt: Timestamp
  ) {
    append(atMost: Self.numbersByteCountMax) { cursor in
      cursor.put(tag, at: at, previousAt: previousAt)
      cursor.put(flags)
      cursor.put(varint: sequence.rawValue - origin.rawValue)
    }
  }

  /// Bytes that an event's numbers take at most, for which there is room before they are put: a tag, a byte of
  /// flags, and five varints.
  static var numbersByteCountMax: Int { 2 + 5 * ByteCursor.varintByteCountMax }

  mutating func append(_ opened: Opened) {
    append(varint: opened.memoryLimit.entryCountMax)
    append(varint: opened.memoryLimit.byteCountMax.map { $0 &+ 1 } ?? 0)
    append(varint: opened.storeLimit?.entryCountMax ?? 0)
    append(varint: (opened.storeLimit?.byteCountMax).map { $0 &+ 1 } ?? 0)
    append(varint: UInt64(opened.memoryTTL.rawValue))
    append(varint: UInt64(opened.storeTTL.rawValue))
    append(opened.accessLog.rawValue)
    append(opened.formatVersion)
    append(fixed: opened.bootID)
    append(prefixed: Bytes(opened.softwareVersion.utf8))
  }

  private mutating func append(origin: SequenceNumber, before sequence: SequenceNumber) {
    append(varint: sequence.rawValue - origin.rawValue)
  }

  mutating func append(expiry: Timestamp?, after at: Timestamp) {
    append(varint: Self.lifetime(until: expiry, from: at))
  }

  /// An expiry as events tell it: one more than what is left of the life, 0 for none.
  private static func lifetime(until expiry: Timestamp?, from at: Timestamp) -> UInt64 {
    expiry.map { UInt64($0.rawValue - at.rawValue) + 1 } ?? 0
  }

  private mutating func append(reason: String?) {
    guard let reason else { return append(varint: 0) }
    append(varint: UInt64(reason.utf8.count) + 1)
    append(contentsOf: reason.utf8)
  }
}

extension ByteCursor {
  /// What every event begins with.
  fileprivate mutating func put(_ tag: EventTag, at: Timestamp, previousAt: Timestamp) {
    put(tag.rawValue)
    put(varint: UInt64(at.rawValue - previousAt.rawValue))
  }
}
