public import HindsightCore

/// Reads single `set` events where they stand in the journal: for values that are to be in the
/// store, but aren't yet.
///
/// A read decodes at most one run of frames. Where frames stand is remembered, for the segments that
/// were asked about. For use by one owner at a time.
public struct JournalSets: Sendable {
  private let directory: JournalDirectory
  private var places: [UInt32: [ReplayEnd.FramePlace]] = [:]

  /// The journal as it is now: what is written later isn't found.
  /// - Throws: `DamageError` where a segment's header can't be read.
  public init(_ storage: any JournalStorage) throws(DamageError) {
    directory = try JournalDirectory(storage, forWriting: false)
  }

  /// The `set` with this number; `nil` where the journal has none there.
  /// - Throws: `DamageError` where it can't be read.
  public mutating func value(_ origin: SequenceNumber) throws(DamageError) -> ValueSet? {
    guard origin > .zero,
      let index = directory.segmentIndex(after: SequenceNumber(origin.rawValue - 1))
    else { return nil }
    let segment = directory.segments[index]
    let places = try DamageError.wrap { () throws(StorageError) in try self.places(segment) }
    guard let at = places.lastIndex(where: { $0.first <= origin }) else { return nil }
    // What continues a run can be decoded only behind what came before it.
    let start = places[...at].lastIndex { $0.encoding == .begins }
    var reader = FrameReader(segment, offset: places[start ?? at].offset)
    let decoder = BodyDecoder()
    while true {
      let offset = reader.offset
      let found = try DamageError.wrap { () throws(StorageError) in try reader.next() }
      guard case .frame(let frame) = found else { return nil }
      do throws(FormatError) {
        if offset < places[at].offset {
          // A frame that is stored as it is takes no part in a run.
          if frame.header.encoding != .stored { _ = try frame.header.body(frame.stored, decoder) }
          continue
        }
        return try Self.set(origin, frame, decoder)
      } catch {
        throw .format(file: segment.name, offset: offset, error)
      }
    }
  }

  private static func set(
    _ origin: SequenceNumber, _ frame: FrameReader.Frame, _ decoder: BodyDecoder
  ) throws(FormatError) -> ValueSet? {
    guard origin <= frame.header.last else { return nil }
    var events = EventDecoder(
      try frame.header.body(frame.stored, decoder), first: frame.header.first)
    while true {
      let record = try events.record()
      guard record.sequence == origin else { continue }
      if case .set(let set) = record.event { return set }
      return nil
    }
  }

  private mutating func places(
    _ segment: JournalDirectory.Segment
  ) throws(StorageError) -> [ReplayEnd.FramePlace] {
    let number = segment.header.number
    if let known = places[number] { return known }
    var reader = FrameReader(segment)
    var found: [ReplayEnd.FramePlace] = []
    while true {
      let offset = reader.offset
      guard let header = try reader.skip() else { break }
      found.append(
        ReplayEnd.FramePlace(
          offset: offset, first: header.first, follows: .zero, encoding: header.encoding))
    }
    places[number] = found
    return found
  }
}

extension JournalDirectory {
  /// The event after which the oldest segment continues.
  public var begin: SequenceNumber? { segments.first?.header.follows }

  /// Calls `body` with the `set` events after `first` and up to `last`, in their order, as far as their
  /// frames can be decoded: of what is damaged nothing else is lost than the run that it is in.
  /// - Parameter body: returns whether to go on. The value keeps its frame.
  /// - Throws: `DamageError.storage` where something can't be read.
  public func forEachWholeSet(
    after first: SequenceNumber, through last: SequenceNumber,
    _ body: (SequenceNumber, Bytes) -> Bool
  ) throws(DamageError) {
    guard first < last, var index = segmentIndex(after: first) ?? segments.indices.first else {
      return
    }
    while index < segments.count, segments[index].header.follows < last {
      let successor = index + 1 < segments.count ? segments[index + 1].header.follows : last
      let events = (first, min(last, successor))
      let goesOn = try DamageError.wrap { () throws(StorageError) in
        try segments[index].forEachWholeSet(of: events, body)
      }
      guard goesOn else { return }
      index += 1
    }
  }
}

extension JournalDirectory.Segment {
  fileprivate func forEachWholeSet(
    of events: (after: SequenceNumber, through: SequenceNumber),
    _ body: (SequenceNumber, Bytes) -> Bool
  ) throws(StorageError) -> Bool {
    var reader = FrameReader(self)
    var decoder = BodyDecoder()
    while true {
      switch try reader.next() {
      case .end: return true
      case .bad:
        guard try reader.skipDamage() != nil else { return true }
        // What continues a run that lacks a frame would give other bytes.
        decoder = BodyDecoder()
      case .frame(let frame):
        guard frame.header.first <= events.through else { return true }
        do throws(FormatError) {
          let raw = try frame.header.body(frame.stored, decoder)
          guard frame.header.last > events.after else { continue }
          var decoded = EventDecoder(raw, first: frame.header.first)
          for _ in 0..<frame.header.count {
            let record = try decoded.record()
            guard case .set(let set) = record.event, record.sequence > events.after,
              record.sequence <= events.through
            else { continue }
            guard body(record.sequence, set.value) else { return false }
          }
        } catch {
          decoder = BodyDecoder()
        }
      }
    }
  }
}
