package import HindsightCore

// What readers and an opening find out in the same way, without changing anything.

extension JournalDirectory {
  /// There are checkpoints, and nothing else.
  package static var lacksSegments: DamageError {
    .structure(file: FileName.segment(1), "there are checkpoints, but no segment")
  }

  /// Replays as an opening does, and judges the journal's end.
  /// - Parameters:
  ///   - start: where the replay begins.
  ///   - store: whose projection the store is, and how far; `nil` without one.
  ///   - keptByteCountMax: of frames that nothing proves to be durable, where the caller may write them again.
  /// - Throws: `DamageError` where an opening is refused.
  package func judge(
    from start: ReplayStart, store: (id: JournalID, applied: SequenceNumber)?,
    keptByteCountMax: Int = 0, into sink: any ReplaySink
  ) throws(DamageError) -> (end: ReplayEnd, verdict: RecoveryVerdict) {
    guard let last = segments.last else { throw Self.lacksSegments }
    // A store that goes on from where it is needs every event since.
    var crossesGaps = true
    if case .notAfter = start { crossesGaps = false }
    let end = try JournalReplay(self, keptByteCountMax: keptByteCountMax)
      .run(from: start, crossesGaps: crossesGaps, into: sink)
    guard end.hasRoom else {
      throw .structure(
        file: last.name, "event \(end.last): the numbers leave no room for what would follow")
    }
    if let missing = try missingSegment(behind: end) {
      throw .structure(file: missing, Self.isMissing)
    }
    let verdict = try RecoveryVerdict(of: self, end, store: store)
    if case .corrupt(let evidence) = verdict {
      throw .structure(
        file: FileName.segment(end.position.segment),
        "offset \(end.position.byteOffset): the journal ends after event \(end.last), but "
          + evidence.rawValue)
    }
    return (end, verdict)
  }

  /// Opens for reading what is whole.
  /// - Parameter damage: segments that are damaged, are missing, or don't belong to the others.
  /// - Throws: `DamageError.storage` where something can't be read.
  package init(
    wholeSegmentsOf storage: any JournalStorage, damage: inout [DamageError]
  ) throws(DamageError) {
    let names = try DamageError.wrap { () throws(StorageError) in try storage.list() }
    let numbers = names.compactMap({ FileName.number($0, suffix: ".journal") }).sorted()
    let found = numbers.enumerated().map { place, number in
      Result { () throws(DamageError) in
        try Self.segment(
          storage, number, forWriting: false,
          staysOpen: numbers.count - place <= Self.openSegmentCountMax)
      }
    }
    let whole = found.compactMap { if case .success(let segment) = $0 { segment } else { nil } }
    let journalID = Self.mainJournal(whole)
    var segments: [Segment] = []
    for (place, number) in numbers.enumerated() {
      if place > 0, numbers[place - 1] + 1 != number {
        damage.append(
          .structure(file: FileName.segment(numbers[place - 1] + 1), "the segment is missing"))
      }
      do throws(DamageError) {
        let segment = try found[place].get()
        if let journalID { try Self.check(segment, isOf: journalID) }
        if let last = segments.last { try Self.check(segment, belongsBehind: last) }
        segments.append(segment)
      } catch {
        if case .storage = error { throw error }
        damage.append(error)
      }
    }
    let checkpoints = names.compactMap { FileName.number($0, suffix: ".checkpoint") }
    self.init(storage, segments: segments, checkpoints: checkpoints.sorted(by: >))
  }

  /// The journal that most segments belong to, whatever strays in its directory; of several, the one that has the
  /// newest segment.
  private static func mainJournal(_ segments: [Segment]) -> JournalID? {
    let counts = segmentCounts(segments)
    return segments.last { counts[$0.header.journalID] == counts.values.max() }?.header.journalID
  }

  /// How many segments there are of each journal.
  static func segmentCounts(_ segments: some Sequence<Segment>) -> [JournalID: Int] {
    Dictionary(segments.map { ($0.header.journalID, 1) }, uniquingKeysWith: +)
  }

  /// What is missing behind the end of a replay, where something proves that there was more.
  /// - Returns: the file, the place in it, and what is wrong; `nil` where nothing is.
  package func loss(
    behind end: ReplayEnd
  ) throws(DamageError) -> (file: String, offset: UInt64?, message: String)? {
    if let missing = try missingSegment(behind: end) { return (missing, nil, Self.isMissing) }
    guard case .corrupt(let evidence) = try RecoveryVerdict(of: self, end, store: nil) else {
      return nil
    }
    var found = "the journal ends"
    if case .bad(let error) = end.tail { found = "\(error)" }
    return (
      end.position.segmentName, end.position.byteOffset,
      "after event \(end.last): \(found), but \(evidence.rawValue)"
    )
  }

  private static let isMissing = "the segment is missing: a checkpoint goes on in it"

  /// The segment in which the newest checkpoint goes on, where that isn't there, whichever checkpoint the
  /// replay began with. Only a checkpoint that bridges a gap comes before its segment.
  private func missingSegment(behind end: ReplayEnd) throws(DamageError) -> String? {
    guard end.tail == .end else { return nil }
    for number in checkpoints {
      guard let header = try checkpoint(number)?.header, header.journalID == journalID else {
        continue
      }
      guard header.head.sequence >= end.last, header.gapFirst == nil else { return nil }
      let name = header.position.segmentName
      let names = try DamageError.wrap { () throws(StorageError) in try storage.list() }
      return names.contains(name) ? nil : name
    }
    return nil
  }
}
