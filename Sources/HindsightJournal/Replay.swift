public import HindsightCore

/// Where a replay begins.
public enum ReplayStart: Equatable, Sendable {
  /// At the newest checkpoint that is whole.
  case newest
  /// At the newest whole checkpoint that contains nothing after this event.
  case notAfter(SequenceNumber)
  /// At the oldest place from which everything that is left can be replayed.
  case oldest
  /// At the oldest whole checkpoint that contains something after this event: to go on behind
  /// damage.
  case after(SequenceNumber)
}

/// Replays a journal into a sink; changes nothing.
public struct JournalReplay {
  let directory: JournalDirectory
  /// So many bytes of the last segment's unproven frames are kept for who writes them again.
  private let keptByteCountMax: Int

  public init(_ directory: JournalDirectory) { self.init(directory, keptByteCountMax: 0) }

  init(_ directory: JournalDirectory, keptByteCountMax: Int) {
    self.directory = directory
    self.keptByteCountMax = keptByteCountMax
  }

  /// Replays from `start` to the end of what is whole.
  /// - Throws: `DamageError` where something is damaged that a later segment proves to have been
  ///   whole, or an event can't be. What stands at the end of the last segment is not judged here.
  /// - Parameter stopsAtDamage: damage behind the replay's beginning ends it instead of throwing;
  ///   what can't be read for another reason still throws.
  /// - Parameter crossesGaps: whether it goes on behind events that were never journaled, from the
  ///   checkpoint that bridges them. The sink is told to begin again there.
  /// - Parameter last: the replay ends with the frame that has this event.
  public func run(
    from start: ReplayStart, through last: SequenceNumber? = nil, stopsAtDamage: Bool = false,
    crossesGaps: Bool = true, into sink: any ReplaySink
  ) throws(DamageError) -> ReplayEnd {
    var end = ReplayEnd()
    end.through = last
    sink.begin()
    try restore(start, sink, &end)
    if case .after(let least) = start, end.checkpoint == nil {
      // From the beginning it would only come to the same damage again.
      throw .structure(
        file: directory.segments.last?.name ?? FileName.segment(1),
        "no whole checkpoint contains anything after event \(least)")
    }
    guard let index = directory.segmentIndex(after: end.last) else {
      if directory.isEmpty, end.last == .zero { return end }
      // A checkpoint that couldn't be read is not one that isn't whole.
      if let failure = end.damagedCheckpoints.compactMap(\.storageFailure).first {
        throw .storage(failure)
      }
      let name = directory.segments.first?.name ?? FileName.segment(1)
      throw .structure(
        file: name, "the journal before it is missing, and no whole checkpoint reaches up to it")
    }
    end.follows = end.last
    if case .oldest = start, let first = directory.segments.first?.header.follows,
      first < end.last
    {
      end.unreached = first.next...end.last
    }
    try replay(from: index, stopsAtDamage: stopsAtDamage, crossesGaps: crossesGaps, sink, &end)
    return end
  }

  /// Goes on where the sink took no more, with the same sink, which is not told to begin again.
  /// - Parameter end: how the replay ended that is gone on with, of the same directory.
  public func run(
    on end: ReplayEnd, into sink: any ReplaySink
  ) throws(DamageError) -> ReplayEnd {
    var end = end
    end.isStopped = false
    let number = end.position.segment
    guard let index = directory.segments.firstIndex(where: { $0.header.number == number }) else {
      return end
    }
    // What continues a run can be decoded only behind what came before it.
    let run = end.frames.last { $0.encoding == .begins }
    end.resumption = JournalPosition(
      segment: number, byteOffset: run?.offset ?? end.position.byteOffset)
    try replay(from: index, stopsAtDamage: false, crossesGaps: false, sink, &end)
    return end
  }

  /// Replays from a segment's beginning up to the first damage, whatever comes before it: for a sink that
  /// needs no state. It is told where that is as if a checkpoint were restored.
  /// - Parameters:
  ///   - number: the segment's.
  ///   - last: the replay ends with the frame that has this event.
  package func run(
    fromSegment number: UInt32, through last: SequenceNumber, into sink: any ReplaySink
  ) throws(DamageError) -> ReplayEnd {
    var end = ReplayEnd()
    end.through = last
    sink.begin()
    guard let index = directory.segments.firstIndex(where: { $0.header.number == number }) else {
      return end
    }
    end.position = .start(of: number)
    end.last = directory.segments[index].header.follows
    end.follows = end.last
    sink.restore(StateHead(sequence: end.last, at: .zero, opened: nil, isClosed: false))
    try replay(from: index, stopsAtDamage: true, crossesGaps: true, sink, &end)
    return end
  }

  private func replay(
    from first: Int, stopsAtDamage: Bool, crossesGaps: Bool, _ sink: any ReplaySink,
    _ end: inout ReplayEnd
  ) throws(DamageError) {
    var index = first
    while index < directory.segments.count, !end.isThrough {
      do throws(DamageError) {
        try replay(index, sink, crossesGaps: crossesGaps, &end)
      } catch {
        guard stopsAtDamage, error.storageFailure == nil else { throw error }
        end.damage = error
        return
      }
      index += 1
    }
    // The bridge is made before the segment behind it.
    if crossesGaps, end.tail == .end, !end.isThrough {
      let (position, checksum) = (end.position, end.previousChecksum)
      do throws(DamageError) {
        if try cross(to: nil, sink, &end) {
          (end.position, end.previousChecksum) = (position, checksum)
        }
      } catch {
        guard stopsAtDamage, error.storageFailure == nil else { throw error }
        end.damage = error
      }
    }
  }

  // MARK: Checkpoints

  /// Restores the newest whole checkpoint, if there is one, and replays nothing behind it.
  func restoreNewest(into sink: any ReplaySink) throws(DamageError) -> ReplayEnd {
    var end = ReplayEnd()
    sink.begin()
    try restore(.newest, sink, &end)
    return end
  }

  private func restore(
    _ start: ReplayStart, _ sink: any ReplaySink, _ end: inout ReplayEnd
  ) throws(DamageError) {
    var numbers = directory.checkpoints
    switch start {
    case .oldest:
      if directory.segments.first?.header.follows == .zero { return }
      numbers.reverse()
    case .after: numbers.reverse()
    case .newest, .notAfter: break
    }
    for number in numbers {
      do throws(DamageError) {
        let reader = try CheckpointReader(directory.storage, number: number)
        try spend(.header, reader.name, 0, sink)
        let sequence = reader.header.head.sequence
        if case .notAfter(let most) = start, sequence > most { continue }
        if case .after(let least) = start, sequence <= least { continue }
        // Retention drops segments first: the journal may begin after an old checkpoint.
        if !directory.isEmpty, directory.segmentIndex(after: sequence) == nil { continue }
        if directory.isOutdone(reader.header) { continue }
        try restore(reader, sink, &end)
        return
      } catch {
        // What the reader takes on is at its end, whichever checkpoint it begins with.
        if case .state(_, _, .beyondLimits) = error { throw error }
        end.damagedCheckpoints.append(error)
        sink.begin()
      }
    }
  }

  private func restore(
    _ reader: CheckpointReader, _ sink: any ReplaySink, _ end: inout ReplayEnd
  ) throws(DamageError) {
    let header = reader.header
    let name = FileName.checkpoint(header.number)
    if let id = directory.journalID, header.journalID != id {
      throw .structure(file: name, "the checkpoint belongs to journal \(header.journalID)")
    }
    sink.restore(header.head)
    if sink.takesEntries { try restoreEntries(reader, sink) }
    end.checkpoint = header.number
    end.last = header.head.sequence
    end.at = header.head.at
    end.proven = header.head.sequence
    end.position = header.position
    end.previousChecksum = header.previousChecksum
    end.checkpointByteCount = reader.byteCount
    end.isClosed = header.head.isClosed
    end.bootTime = header.bootTime
    end.untoldGap = header.gapFirst
  }

  private func restoreEntries(
    _ reader: CheckpointReader, _ sink: any ReplaySink
  ) throws(DamageError) {
    let header = reader.header
    let digest = try reader.forEachEntry(
      hashSeed: sink.hashSeed, ahead: { sink.willRestore($0) },
      read: { (count) throws(StateError) in try sink.spend(ReplayWork(storedByteCount: count)) },
      body: { (image, value) throws(StateError) in try sink.restore(image, value: value) })
    let isTold = header.head.tellsOrder
    do throws(StateError) {
      try sink.finishRestore(digest: header.digest, computed: isTold ? digest : nil)
    } catch {
      throw .state(file: reader.name, offset: 0, error)
    }
  }

  private func spend(
    _ work: ReplayWork, _ file: String, _ offset: UInt64, _ sink: any ReplaySink
  ) throws(DamageError) {
    do throws(StateError) {
      try sink.spend(work)
    } catch {
      throw .state(file: file, offset: offset, error)
    }
  }

  /// Goes on from the checkpoint that bridges a gap after the last event, where there is one.
  /// - Parameter follows: where the journal goes on; `nil`: wherever that is.
  /// - Returns: whether there is one.
  private func cross(
    to follows: SequenceNumber?, _ sink: any ReplaySink, _ end: inout ReplayEnd
  ) throws(DamageError) -> Bool {
    for number in directory.checkpoints {
      guard let reader = try directory.checkpoint(number) else { continue }
      try spend(.header, reader.name, 0, sink)
      let head = reader.header.head
      guard
        reader.header.journalID == directory.journalID,
        reader.header.gapFirst == end.last.next, head.sequence == follows ?? head.sequence
      else { continue }
      // Looked through first: where it is damaged, the sink still has what comes before the gap.
      _ = try reader.forEachEntry(
        hashSeed: sink.hashSeed,
        body: { _, _ throws(StateError) in try sink.spend(ReplayWork(eventCount: 1)) })
      sink.begin()
      try restore(reader, sink, &end)
      return true
    }
    return false
  }

  // MARK: Segments

  private func replay(
    _ index: Int, _ sink: any ReplaySink, crossesGaps: Bool, _ end: inout ReplayEnd
  ) throws(DamageError) {
    let segment = directory.segments[index]
    let successor = index + 1 < directory.segments.count ? directory.segments[index + 1] : nil
    end.proven = max(end.proven, segment.header.follows)
    let reader = try self.reader(segment, end)
    end.previousChecksum = reader.previousChecksum
    end.frames = []
    // A successor is proof of all.
    end.kept = KeptFrames(byteCountMax: successor == nil ? keptByteCountMax : 0)
    let lendsSets = sink.takesLentSets
    let frames = try DamageError.wrap { () throws(StorageError) in
      try DecodedFrames(reader, lendsSets: lendsSets)
    }
    defer { frames.stop() }
    while true {
      if let successor, end.last >= successor.header.follows { return }
      let step = frames.next()
      switch step.found {
      case .frame(let frame):
        let goesOn = try take(frame, segment, successor, sink, &end)
        end.position = JournalPosition(segment: segment.header.number, byteOffset: frame.end)
        end.previousChecksum = frame.headerChecksum
        guard goesOn, !end.isThrough else { return }
      case .undecodable(let error):
        throw .format(file: segment.name, offset: step.offset, error)
      case .failed(let error): throw .storage(error)
      case .end, .bad:
        if case .end = step.found, let successor, crossesGaps,
          try cross(to: successor.header.follows, sink, &end)
        {
          return
        }
        return try settle(step, segment, successor, &end)
      }
    }
  }

  /// A reader at the checkpoint's place, where a replay goes on, or at the segment's beginning.
  /// - Throws: `DamageError` where the segment ends before the checkpoint's place.
  private func reader(
    _ segment: JournalDirectory.Segment, _ end: ReplayEnd
  ) throws(DamageError) -> FrameReader {
    if let place = end.resumption, place.segment == segment.header.number {
      return FrameReader(segment, offset: place.byteOffset)
    }
    if end.frameCount == 0, end.checkpoint != nil, segment.goesOn(at: end.position, after: end.last)
    {
      let size = try DamageError.wrap { () throws(StorageError) in try segment.file.size() }
      guard size >= end.position.byteOffset else {
        throw .structure(
          file: segment.name,
          "it ends at offset \(size), before \(end.position.byteOffset), "
            + "where a checkpoint goes on")
      }
      return FrameReader(
        segment, offset: end.position.byteOffset, previousChecksum: end.previousChecksum)
    }
    return FrameReader(segment)
  }

  /// Applies a frame's events.
  /// - Returns: whether the segment goes on behind it.
  private func take(
    _ frame: DecodedFrames.Frame, _ segment: JournalDirectory.Segment,
    _ successor: JournalDirectory.Segment?, _ sink: any ReplaySink, _ end: inout ReplayEnd
  ) throws(DamageError) -> Bool {
    let last = frame.header.last
    let isNew = last > end.last
    let work = ReplayWork(
      eventCount: Int(frame.header.count), rawByteCount: Int(frame.header.rawByteCount),
      storedByteCount: isNew ? Int(frame.end - frame.offset) : 0)
    try spend(work, segment.name, frame.offset, sink)
    end.proven = max(end.proven, frame.header.durable)
    end.frames.append(
      ReplayEnd.FramePlace(
        offset: frame.offset, first: frame.header.first, follows: end.last,
        encoding: frame.header.encoding))
    end.kept.append(frame.read, proven: end.proven)
    guard isNew else { return true }
    // Up to where its successor continues it has been read; a frame across that place is no part of this history.
    if let successor, last > successor.header.follows {
      throw .structure(
        file: successor.name,
        "it continues after \(successor.header.follows), but \(segment.name) goes on from \(end.last) to \(last) "
          + "at offset \(frame.offset)")
    }
    var offset = frame.offset
    let before = (end.last, end.at, end.isClosed, end.recordCount, end.untoldGap)
    do throws(StateError) {
      try frame.events.forEach(
        record: { (record) throws(StateError) in
          guard record.sequence > end.last else { return }
          try sink.apply(record)
          var isClosed = false
          if case .closed = record.event { isClosed = true }
          end.applied(record.sequence, at: record.at, isClosed: isClosed)
        },
        set: { (set) throws(StateError) in
          guard set.fact.sequence > end.last else { return }
          try sink.apply(set)
          end.applied(set.fact.sequence, at: set.fact.at, isClosed: false)
        },
        end: { () throws(StateError) in
          offset = frame.end
          let position = JournalPosition(
            segment: segment.header.number, byteOffset: frame.end)
          try sink.endFrame(at: position, headerChecksum: frame.headerChecksum)
        })
    } catch {
      // A frame is in with all of its events, or not at all: the journal ends before it.
      if offset == frame.offset {
        (end.last, end.at, end.isClosed, end.recordCount, end.untoldGap) = before
      }
      throw .state(file: segment.name, offset: offset, error)
    }
    end.frameCount += 1
    end.storedByteCount += frame.end - frame.offset
    end.rawByteCount += UInt64(frame.header.rawByteCount)
    end.bootTime = frame.header.bootTime
    end.isStopped = !sink.takesMore
    return true
  }

  /// The frames of a segment have ended: where a successor continues from later, that is damage.
  private func settle(
    _ step: DecodedFrames.Step, _ segment: JournalDirectory.Segment,
    _ successor: JournalDirectory.Segment?, _ end: inout ReplayEnd
  ) throws(DamageError) {
    end.position = JournalPosition(segment: segment.header.number, byteOffset: step.offset)
    end.previousChecksum = step.previousChecksum
    if case .bad(let error) = step.found {
      if successor != nil { throw .format(file: segment.name, offset: step.offset, error) }
      end.tail = .bad(error)
    } else if let successor {
      throw .structure(
        file: successor.name,
        "it continues after \(successor.header.follows), but \(segment.name) ends at \(end.last)")
    }
  }
}
