public import HindsightCore

/// What the files of a journal's directory say they are.
public struct JournalDirectory: Sendable {
  struct Segment: Sendable {
    var header: SegmentHeader
    var headerChecksum: UInt32
    var file: any JournalFile
    var name: String { FileName.segment(header.number) }
  }

  /// So many of the newest segments stay open; the others are opened for each operation.
  static let openSegmentCountMax = 64

  let storage: any JournalStorage
  /// In the order of their numbers.
  let segments: [Segment]
  /// Newest first.
  public let checkpoints: [UInt32]
  /// Files that are left over from something unfinished.
  let leftovers: [String]

  public var isEmpty: Bool { segments.isEmpty }
  public var journalID: JournalID? { segments.first?.header.journalID }
  /// The numbers of all segments.
  public var segmentNumbers: [UInt32] { segments.map(\.header.number) }

  /// Whether segments or checkpoints have come or gone since: a writer is at work, and what is
  /// missing here may be there now. The newest segments are open already; an older one and a
  /// checkpoint are opened when they are needed, and retention may have removed them by then.
  public func isOutdated() throws(StorageError) -> Bool {
    let names = try storage.list()
    return names.compactMap { FileName.number($0, suffix: ".journal") } != segmentNumbers
      || names.compactMap { FileName.number($0, suffix: ".checkpoint") } != checkpoints.reversed()
  }

  /// Bytes of all segments before this one.
  func byteCount(before number: UInt32) throws(StorageError) -> UInt64 {
    var sum: UInt64 = 0
    for segment in segments where segment.header.number < number {
      sum += try segment.file.size()
    }
    return sum
  }

  /// Reads all segment headers.
  /// - Throws: `DamageError` where a header is damaged, a segment is missing or is another
  ///   journal's.
  public init(_ storage: any JournalStorage, forWriting: Bool) throws(DamageError) {
    self.storage = storage
    let names = try DamageError.wrap { () throws(StorageError) in try storage.list() }
    var segments: [Segment] = []
    let numbers = names.compactMap({ FileName.number($0, suffix: ".journal") }).sorted()
    for (place, number) in numbers.enumerated() {
      let segment = try Self.segment(
        storage, number, forWriting: forWriting,
        staysOpen: numbers.count - place <= Self.openSegmentCountMax)
      if let last = segments.last { try Self.check(segment, after: last) }
      segments.append(segment)
    }
    self.segments = segments
    checkpoints = Self.checkpoints(names)
    leftovers = names.filter(Self.isLeftover)
  }

  /// The numbers of all checkpoints, newest first. Asks nothing but the files' names.
  public static func checkpoints(in storage: any JournalStorage) throws(StorageError) -> [UInt32] {
    checkpoints(try storage.list())
  }

  static func checkpoints(_ names: [String]) -> [UInt32] {
    names.compactMap { FileName.number($0, suffix: ".checkpoint") }.sorted(by: >)
  }

  /// Whether a file of this name is a segment: other files that end in `.journal` are none.
  package static func isSegment(_ name: String) -> Bool {
    FileName.number(name, suffix: ".journal") != nil
  }

  /// Whether a file of this name is a segment or a checkpoint.
  package static func isJournalFile(_ name: String) -> Bool {
    isSegment(name) || FileName.number(name, suffix: ".checkpoint") != nil
  }

  /// Whether we give unfinished files such a name: others' are left alone.
  private static func isLeftover(_ name: String) -> Bool {
    guard name.hasSuffix(".tmp") else { return false }
    let whole = String(name.dropLast(4))
    return isJournalFile(whole) || whole.hasSuffix(".quarantine")
  }

  /// A part of a journal, for a salvage.
  init(_ storage: any JournalStorage, segments: [Segment], checkpoints: [UInt32]) {
    self.storage = storage
    self.segments = segments
    self.checkpoints = checkpoints
    leftovers = []
  }

  /// The place in `segments` of the segment that holds what follows `sequence`: the last one that
  /// continues from there or from before.
  func segmentIndex(after sequence: SequenceNumber) -> Int? {
    segments.lastIndex { $0.header.follows <= sequence }
  }

  /// A checkpoint's reader; `nil` where the file is gone, or its header is damaged.
  /// - Throws: `DamageError.storage` where it can't be read for another reason.
  func checkpoint(_ number: UInt32) throws(DamageError) -> CheckpointReader? {
    try DamageError.wrap { () throws(StorageError) in
      try CheckpointReader.ifWhole(storage, number: number)
    }
  }

  static func segment(
    _ storage: any JournalStorage, _ number: UInt32, forWriting: Bool, staysOpen: Bool
  ) throws(DamageError) -> Segment {
    let name = FileName.segment(number)
    let file = try DamageError.wrap { () throws(StorageError) in
      try storage.open(name, forWriting: forWriting)
    }
    let bytes = try DamageError.wrap { () throws(StorageError) in
      try file.read(at: 0, count: Format.segmentHeaderByteCount)
    }
    let segment: Segment
    do throws(FormatError) {
      let (header, checksum) = try SegmentHeader.decode(bytes)
      guard header.number == number else { throw .badField("number") }
      if staysOpen { return Segment(header: header, headerChecksum: checksum, file: file) }
      let reopened = ReopenedFile(storage, name, forWriting: forWriting)
      segment = Segment(header: header, headerChecksum: checksum, file: reopened)
    } catch {
      throw .format(file: name, offset: 0, error)
    }
    try DamageError.wrap { () throws(StorageError) in try file.close() }
    return segment
  }

  static func check(_ segment: Segment, after last: Segment) throws(DamageError) {
    let number = last.header.number + 1
    guard segment.header.number == number else {
      throw .structure(file: FileName.segment(number), "the segment is missing")
    }
    try check(segment, belongsBehind: last)
  }

  static func check(_ segment: Segment, isOf journalID: JournalID) throws(DamageError) {
    guard segment.header.journalID == journalID else {
      throw .structure(
        file: segment.name,
        "the segment belongs to journal \(segment.header.journalID), not to \(journalID)")
    }
  }

  /// Whether it may be a later segment of the same journal.
  static func check(_ segment: Segment, belongsBehind last: Segment) throws(DamageError) {
    try check(segment, isOf: last.header.journalID)
    guard segment.header.follows >= last.header.follows else {
      throw .structure(file: segment.name, "the segment continues from before its predecessor")
    }
  }
}
