import HindsightCore

/// Opens a damaged journal on request: keeps what can be replayed from the newest whole checkpoint
/// up to the first damage, keeps everything else aside, and numbers on above all that was ever used.
///
/// Whatever proves the damage stays in its place until a segment that tells what was cut out is
/// durable: a salvage that was interrupted is done again, and forgets no number that was used.
struct JournalSalvage {
  private let storage: any JournalStorage
  private let options: JournalOptions
  private let storeApplied: SequenceNumber

  /// What the directory holds.
  private struct Files {
    /// The numbers of all segments, in their order.
    var segments: [UInt32]
    /// Of all checkpoints, newest first.
    var checkpoints: [UInt32]
    /// The highest sequence number that any of them speaks of.
    var highest = SequenceNumber.zero
  }

  init(_ storage: any JournalStorage, _ options: JournalOptions, storeApplied: SequenceNumber) {
    self.storage = storage
    self.options = options
    self.storeApplied = storeApplied
  }

  /// - Parameter damage: what made it necessary.
  /// - Throws: `DamageError` where newer software wrote a file: that is no damage. Nothing was changed then.
  func open(
    _ damage: DamageError, into sink: any ReplaySink
  ) throws(DamageError) -> RecoveredJournal {
    let names = try DamageError.wrap { () throws(StorageError) in try storage.list() }
    var files = Files(
      segments: names.compactMap { FileName.number($0, suffix: ".journal") }.sorted(),
      checkpoints: JournalDirectory.checkpoints(names))
    try refuseNewer(files)
    return try DamageError.wrap { () throws(StorageError) in
      let highest = try highestUse(files)
      // What leaves no room for more was never used.
      if highest.rawValue < Format.sequenceMaxForWriting { files.highest = highest }
      return try salvage(files, damage, sink)
    }
  }

  private func refuseNewer(_ files: Files) throws(DamageError) {
    for number in files.segments {
      do throws(DamageError) {
        _ = try JournalDirectory.segment(storage, number, forWriting: false, staysOpen: false)
      } catch {
        if error.isNewerVersion { throw error }
      }
    }
    for number in files.checkpoints {
      do throws(DamageError) {
        _ = try CheckpointReader(storage, number: number)
      } catch {
        if error.isNewerVersion { throw error }
      }
    }
  }

  private func salvage(
    _ files: Files, _ damage: DamageError, _ sink: any ReplaySink
  ) throws(StorageError) -> RecoveredJournal {
    var report = RecoveryReport(outcome: .salvaged, last: .zero, damage: [damage.description])
    var empty: JournalDirectory?  // A journal without an event, kept only where no other has one.
    for run in bestFirst(try runs(files.segments)) {
      let directory = JournalDirectory(storage, segments: run, checkpoints: files.checkpoints)
      guard let end = try replay(directory, sink, &report), end.hasRoom else { continue }
      if end.last > .zero { return try keep(directory, end, files, sink, &report) }
      empty = empty ?? directory
    }
    if let empty, let end = try replay(empty, sink, &report) {
      return try keep(empty, end, files, sink, &report)
    }
    if let (end, id) = try restoreCheckpoint(files, sink, &report), end.hasRoom {
      return try goOn(after: end, in: end.position.segment, of: id, files, sink, &report)
    }
    // Nothing can be replayed: everything goes aside, and an empty journal begins.
    sink.begin()
    let id = JournalID(high: options.random(), low: options.random())
    return try goOn(after: ReplayEnd(), in: 1, of: id, files, sink, &report)
  }

  /// Segments whose headers are whole, in runs without holes.
  private func runs(
    _ numbers: [UInt32]
  ) throws(StorageError) -> [[JournalDirectory.Segment]] {
    var runs: [[JournalDirectory.Segment]] = []
    for (place, number) in numbers.enumerated() {
      do throws(DamageError) {
        let segment = try JournalDirectory.segment(
          storage, number, forWriting: true,
          staysOpen: numbers.count - place <= JournalDirectory.openSegmentCountMax)
        if let last = runs.last?.last, last.header.number + 1 == number,
          last.header.journalID == segment.header.journalID,
          last.header.follows <= segment.header.follows
        {
          runs[runs.count - 1].append(segment)
        } else {
          runs.append([segment])
        }
      } catch {
        if let failure = error.storageFailure { throw failure }
        continue  // It goes into quarantine.
      }
    }
    return runs
  }

  /// The journal that most segments belong to comes first, whatever strays in its directory; of its runs the
  /// newest.
  private func bestFirst(
    _ runs: [[JournalDirectory.Segment]]
  ) -> [[JournalDirectory.Segment]] {
    let counts = JournalDirectory.segmentCounts(runs.joined())
    func count(_ run: [JournalDirectory.Segment]) -> Int { counts[run[0].header.journalID] ?? 0 }
    return runs.reversed().sorted { count($0) > count($1) }
  }

  private func replay(
    _ directory: JournalDirectory, _ sink: any ReplaySink, _ report: inout RecoveryReport
  ) throws(StorageError) -> ReplayEnd? {
    do throws(DamageError) {
      let end = try JournalReplay(directory).run(from: .newest, stopsAtDamage: true, into: sink)
      guard case .state? = end.damage else { return end }
      // An event that can't be, or a checkpoint over a gap, has spoilt the sink: once more, up to the frame
      // before it.
      var again = try JournalReplay(directory).run(
        from: .newest, through: end.last, stopsAtDamage: true, into: sink)
      again.damage = again.damage ?? end.damage
      return again
    } catch {
      if let failure = error.storageFailure { throw failure }
      report.damage.append(error.description)
      return nil
    }
  }

  /// The newest whole checkpoint, where no segment goes with one.
  private func restoreCheckpoint(
    _ files: Files, _ sink: any ReplaySink, _ report: inout RecoveryReport
  ) throws(StorageError) -> (ReplayEnd, JournalID)? {
    let directory = JournalDirectory(storage, segments: [], checkpoints: files.checkpoints)
    do throws(DamageError) {
      let end = try JournalReplay(directory).restoreNewest(into: sink)
      if let failure = end.damagedCheckpoints.compactMap(\.storageFailure).first {
        throw .storage(failure)
      }
      report.damage += end.damagedCheckpoints.map(\.description)
      guard let number = end.checkpoint else { return nil }
      return (end, try CheckpointReader(storage, number: number).header.journalID)
    } catch {
      if let failure = error.storageFailure { throw failure }
      report.damage.append(error.description)
      return nil
    }
  }

  private func keep(
    _ directory: JournalDirectory, _ end: ReplayEnd, _ files: Files, _ sink: any ReplaySink,
    _ report: inout RecoveryReport
  ) throws(StorageError) -> RecoveredJournal {
    // It may be what made the salvage necessary.
    if let damage = end.damage?.description, !report.damage.contains(damage) {
      report.damage.append(damage)
    }
    let position = try place(of: end, in: directory)
    report.segment = position.segment
    report.byteOffset = position.byteOffset
    let kept = directory.segments.filter { $0.header.number <= position.segment }
    let last = kept[kept.count - 1]
    let tail = try Quarantine.copy(last.file, of: last.name, from: position.byteOffset, storage)
    report.byteCountDropped = tail.byteCount
    report.quarantined.append(tail.name)
    // The segment behind it will be the proof that it is durable.
    try end.syncUnproven(in: last)
    return try goOn(
      after: end, in: last.header.number + 1, of: last.header.journalID, keeping: kept,
      endingAt: position.byteOffset, files, sink, &report)
  }

  /// Goes on in a new segment, which begins with the gap; then sets all other files aside, but for
  /// what is kept, and cuts the last segment of that.
  private func goOn(
    after end: ReplayEnd, in number: UInt32, of id: JournalID,
    keeping kept: [JournalDirectory.Segment] = [], endingAt byteOffset: UInt64 = 0,
    _ files: Files, _ sink: any ReplaySink, _ report: inout RecoveryReport
  ) throws(StorageError) -> RecoveredJournal {
    report.note(end)
    if files.segments.contains(number) {
      // Copied, not renamed: the new segment then takes its place at once.
      let name = FileName.segment(number)
      let file = try storage.open(name, forWriting: false)
      report.quarantined.append(try Quarantine.copy(file, of: name, from: 0, storage).name)
    }
    let gaps = gaps(after: end, files, sink)
    if gaps.isEmpty { report.untoldGap = end.untoldGap }
    let segment = try OpenSegment.create(
      storage, options, id, number: number, follows: end.last, frames: gaps)
    let keptNumbers = Set(kept.map(\.header.number) + [number])
    let dropped = files.segments.filter { !keptNumbers.contains($0) }.map(FileName.segment)
    try setAside(dropped + lateCheckpoints(files, end.last, id), &report)
    if let last = kept.last {
      try last.file.truncate(to: byteOffset)
      try last.file.sync()
    }
    let olderByteCount = try JournalDirectory(storage, segments: kept, checkpoints: [])
      .byteCount(before: number)
    return RecoveredJournal(
      writer: JournalWriter(
        storage: storage, options: options, journalID: id, current: segment,
        last: gaps.last?.sealed.last ?? end.last, olderByteCount: olderByteCount), report: report)
  }

  /// Tells the sink of the numbers that are given up, where there are some.
  /// - Returns: the frames that tell it, and of a gap before that where what told of it is given up, too.
  private func gaps(
    after end: ReplayEnd, _ files: Files, _ sink: any ReplaySink
  ) -> [StampedFrame] {
    guard files.highest > end.last else { return [] }
    var gaps = [Gap(first: end.last.next, last: files.highest, cause: .salvaged)]
    // What is told afterwards reaches up to the event before it.
    if let first = end.untoldGap {
      gaps.append(Gap(first: first, last: files.highest.next, cause: .writeFailed))
    }
    return gaps.map { frame(of: $0, end, sink) }
  }

  private func frame(of gap: Gap, _ end: ReplayEnd, _ sink: any ReplaySink) -> StampedFrame {
    let record = Record(sequence: gap.last.next, at: end.at, event: .gap(gap))
    do throws(StateError) {
      try sink.apply(record)
    } catch {
      preconditionFailure("a gap may follow any event: \(error)")
    }
    var frame = OpenFrame()
    frame.append(record)
    let bootTime = Microseconds(rawValue: Int64(clamping: end.bootTime ?? 0))
    return StampedFrame(sealed: frame.take(bootTime), durable: end.last)
  }

  /// Where the replay ended, inside what is there: before the first whole frame that is the first
  /// segment's beginning, and a hostile checkpoint may name any place. Never in a segment that goes on later
  /// than that, as one may that an interrupted salvage has left.
  private func place(
    of end: ReplayEnd, in directory: JournalDirectory
  ) throws(StorageError) -> JournalPosition {
    let segments = directory.segments
    guard
      let segment = segments.last(where: {
        $0.header.number <= end.position.segment && $0.header.follows <= end.last
      })
    else {
      return .start(of: segments[0].header.number)
    }
    let size = try segment.file.size()
    let isThere = segment.header.number == end.position.segment && end.position.byteOffset <= size
    return JournalPosition(
      segment: segment.header.number, byteOffset: isThere ? end.position.byteOffset : size)
  }

  private func setAside(
    _ names: [String], _ report: inout RecoveryReport
  ) throws(StorageError) {
    let taken = try storage.list()
    for name in names {
      let aside = Quarantine.freeName(for: name, taken)
      try storage.rename(name, to: aside)
      report.quarantined.append(aside)
    }
    try storage.syncDirectory()
  }

  /// Checkpoints that contain more than what is kept, that are another journal's, or that can't be read.
  private func lateCheckpoints(
    _ files: Files, _ last: SequenceNumber, _ id: JournalID
  ) throws(StorageError) -> [String] {
    var late: [String] = []
    for number in files.checkpoints {
      let header = try CheckpointReader.ifWhole(storage, number: number)?.header
      if let header, header.head.sequence <= last, header.journalID == id { continue }
      late.append(FileName.checkpoint(number))
    }
    return late
  }

  /// The highest sequence number that any file speaks of.
  private func highestUse(_ files: Files) throws(StorageError) -> SequenceNumber {
    var highest = storeApplied
    for number in files.checkpoints {
      guard let reader = try CheckpointReader.ifWhole(storage, number: number) else { continue }
      highest = max(highest, reader.header.head.sequence)
    }
    for number in files.segments {
      do throws(DamageError) {
        let segment = try JournalDirectory.segment(
          storage, number, forWriting: false, staysOpen: true)
        highest = max(highest, segment.header.follows)
        highest = max(highest, try lastSequence(segment))
      } catch {
        if let failure = error.storageFailure { throw failure }
        // Under a wrong name, or without a header: its frames were numbered all the same.
        let file = try storage.open(FileName.segment(number), forWriting: false)
        highest = max(highest, try FrameReader(file: file).aftermath().highest)
      }
    }
    return highest
  }

  private func lastSequence(
    _ segment: JournalDirectory.Segment
  ) throws(DamageError) -> SequenceNumber {
    var reader = FrameReader(segment, offset: UInt64(Format.segmentHeaderByteCount))
    return try DamageError.wrap { () throws(StorageError) in
      var highest = SequenceNumber.zero
      while case .frame(let frame) = try reader.next() { highest = frame.header.last }
      return max(highest, try reader.aftermath().highest)
    }
  }
}

extension RecoveryReport {
  /// Up to where all is kept.
  fileprivate mutating func note(_ end: ReplayEnd) {
    last = end.last
    checkpoint = end.checkpoint
    recordCount = end.recordCount
    frameCount = end.frameCount
    bootTime = end.bootTime
  }
}
