import HindsightCore

/// Opens a damaged journal on request: keeps what can be replayed from the newest whole checkpoint
/// up to the first damage, keeps everything else aside, and numbers on above all that was ever used.
struct JournalSalvage {
  private let storage: any JournalStorage
  private let options: JournalOptions
  private let storeApplied: SequenceNumber

  init(_ storage: any JournalStorage, _ options: JournalOptions, storeApplied: SequenceNumber) {
    self.storage = storage
    self.options = options
    self.storeApplied = storeApplied
  }

  /// - Parameter damage: what made it necessary.
  func open(
    _ damage: DamageError, into sink: any ReplaySink
  ) throws(StorageError) -> RecoveredJournal {
    let names = try storage.list()
    let numbers = names.compactMap { FileName.number($0, suffix: ".journal") }.sorted()
    let checkpoints = names.compactMap { FileName.number($0, suffix: ".checkpoint") }
    var report = RecoveryReport(
      outcome: .salvaged, last: .zero, resumeAfter: .zero, damage: [damage.description])
    let highest = try highestUse(numbers, checkpoints)
    // What leaves no room for more was never used.
    if highest.rawValue < Format.sequenceMaxForWriting { report.resumeAfter = highest }
    for run in try runs(numbers).reversed() {
      let directory = JournalDirectory(
        storage, segments: run, checkpoints: checkpoints.sorted(by: >))
      guard let end = try replay(directory, sink, &report), end.hasRoom else { continue }
      return try keep(directory, end, numbers, checkpoints, &report)
    }
    return try startAnew(numbers, checkpoints, sink, &report)
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

  private func replay(
    _ directory: JournalDirectory, _ sink: any ReplaySink, _ report: inout RecoveryReport
  ) throws(StorageError) -> ReplayEnd? {
    do throws(DamageError) {
      let end = try JournalReplay(directory).run(from: .newest, stopsAtDamage: true, into: sink)
      guard case .state(let file, _, _)? = end.damage else { return end }
      // An event that can't be has spoilt the sink: once more, up to the frame before it. A checkpoint over
      // a gap that can't be is not gone to at all.
      let isBridge = directory.checkpoints.contains { FileName.checkpoint($0) == file }
      var again = try JournalReplay(directory).run(
        from: .newest, through: isBridge && end.last > .zero ? end.last : nil, stopsAtDamage: true,
        crossesGaps: !isBridge || end.last > .zero, into: LimitedSink(sink, through: end.last))
      again.damage = again.damage ?? end.damage
      return again
    } catch {
      if let failure = error.storageFailure { throw failure }
      report.damage.append(error.description)
      return nil
    }
  }

  private func keep(
    _ directory: JournalDirectory, _ end: ReplayEnd, _ numbers: [UInt32],
    _ checkpoints: [UInt32], _ report: inout RecoveryReport
  ) throws(StorageError) -> RecoveredJournal {
    report.last = end.last
    report.resumeAfter = max(report.resumeAfter, end.last)
    report.checkpoint = end.checkpoint
    report.recordCount = end.recordCount
    report.frameCount = end.frameCount
    report.bootTime = end.bootTime
    if let damage = end.damage { report.damage.append(damage.description) }
    let position = try place(of: end, in: directory)
    report.segment = position.segment
    report.byteOffset = position.byteOffset
    let kept = directory.segments.filter { $0.header.number <= position.segment }
    let last = kept[kept.count - 1]
    let tail = try Quarantine.copy(last.file, of: last.name, from: position.byteOffset, storage)
    report.byteCountDropped = tail.byteCount
    report.quarantined.append(tail.name)
    let keptNumbers = Set(kept.map(\.header.number))
    try setAside(numbers.filter { !keptNumbers.contains($0) }.map(FileName.segment), &report)
    try setAside(try lateCheckpoints(checkpoints, end.last), &report)
    let segment = try JournalWriter.createSegment(
      storage, options, last.header.journalID, number: last.header.number + 1, follows: end.last,
      frames: [])
    try last.file.truncate(to: position.byteOffset)
    try last.file.sync()
    return RecoveredJournal(
      writer: JournalWriter(
        storage: storage, options: options, journalID: last.header.journalID, current: segment,
        last: end.last, olderByteCount: try directory.byteCount(before: segment.number)),
      report: report)
  }

  /// Where the replay ended, inside what is there: before the first whole frame that is the first
  /// segment's beginning, and a hostile checkpoint may name any place.
  private func place(
    of end: ReplayEnd, in directory: JournalDirectory
  ) throws(StorageError) -> JournalPosition {
    let segments = directory.segments
    guard let segment = segments.last(where: { $0.header.number <= end.position.segment }) else {
      return .start(of: segments[0].header.number)
    }
    let size = try segment.file.size()
    let isThere = segment.header.number == end.position.segment && end.position.byteOffset <= size
    return JournalPosition(
      segment: segment.header.number, byteOffset: isThere ? end.position.byteOffset : size)
  }

  /// Nothing can be replayed: everything goes aside, and an empty journal begins.
  private func startAnew(
    _ numbers: [UInt32], _ checkpoints: [UInt32], _ sink: any ReplaySink,
    _ report: inout RecoveryReport
  ) throws(StorageError) -> RecoveredJournal {
    sink.begin()
    try setAside(
      numbers.map(FileName.segment) + checkpoints.map(FileName.checkpoint), &report)
    let id = JournalID(high: options.random(), low: options.random())
    let segment = try JournalWriter.createSegment(
      storage, options, id, number: 1, follows: .zero, frames: [])
    return RecoveredJournal(
      writer: JournalWriter(
        storage: storage, options: options, journalID: id, current: segment, last: .zero,
        olderByteCount: 0), report: report)
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

  /// Checkpoints that contain more than what is kept, or that can't be read.
  private func lateCheckpoints(
    _ numbers: [UInt32], _ last: SequenceNumber
  ) throws(StorageError) -> [String] {
    var late: [String] = []
    for number in numbers {
      do throws(DamageError) {
        let head = try CheckpointReader(storage, number: number).header.head
        if head.sequence <= last { continue }
      } catch {
        if let failure = error.storageFailure { throw failure }
      }
      late.append(FileName.checkpoint(number))
    }
    return late
  }

  /// The highest sequence number that any file speaks of.
  private func highestUse(
    _ numbers: [UInt32], _ checkpoints: [UInt32]
  ) throws(StorageError) -> SequenceNumber {
    var highest = storeApplied
    for number in checkpoints {
      do throws(DamageError) {
        highest = max(
          highest, try CheckpointReader(storage, number: number).header.head.sequence)
      } catch {
        if let failure = error.storageFailure { throw failure }
        continue
      }
    }
    for number in numbers {
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

/// Passes on what comes up to an event, and ends the replay there.
private final class LimitedSink: ReplaySink {
  private let sink: any ReplaySink
  private let last: SequenceNumber

  init(_ sink: any ReplaySink, through last: SequenceNumber) {
    self.sink = sink
    self.last = last
  }

  func begin() { sink.begin() }
  func restore(_ head: StateHead) { sink.restore(head) }
  var hashSeed: UInt64 { sink.hashSeed }
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) throws(StateError) {
    try sink.restore(image, value: value)
  }
  func finishRestore(digest: UInt64) throws(StateError) { try sink.finishRestore(digest: digest) }
  func apply(_ record: Record) throws(StateError) {
    guard record.sequence <= last else {
      throw .sequenceBroken(expected: last, found: record.sequence)
    }
    try sink.apply(record)
  }
  func endFrame(at position: JournalPosition) throws(StateError) {
    try sink.endFrame(at: position)
  }
}
