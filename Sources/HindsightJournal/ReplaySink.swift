public import HindsightCore

/// Who takes in a replay: a checkpoint's entries first, where there is one, then the records.
public protocol ReplaySink: AnyObject {
  /// A replay begins; whatever came before is void.
  func begin()
  func restore(_ head: StateHead)
  /// What the keys of a checkpoint's entries are to be hashed with.
  var hashSeed: UInt64 { get }
  /// The checkpoint's next entry, most recent first, its value where the checkpoint has it: lent like
  /// the key.
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) throws(StateError)
  func finishRestore(digest: UInt64) throws(StateError)

  /// Whether it wants the entries of a checkpoint, and with them to know that they are whole.
  var takesEntries: Bool { get }

  /// Something was decoded for it, also what is passed over then.
  /// - Throws: `StateError.beyondLimits` where it takes on no more.
  func spend(_ work: ReplayWork) throws(StateError)

  // For a sink that lets the thread that reads ahead do a part. Others need none of it.

  /// Where the next entries belong.
  func willRestore(_ filings: borrowing Span<Filing>)
  /// - Parameter computed: the digest of the entries as they were read; `nil` where their order
  ///   isn't told.
  func finishRestore(digest: UInt64, computed: UInt64?) throws(StateError)

  func apply(_ record: Record) throws(StateError)
  /// Whether sets come lent, but for those with a reason; else every event is a record.
  var takesLentSets: Bool { get }
  func apply(_ set: LentSet) throws(StateError)
  /// The frame that the last records came from ends here.
  /// - Throws: `StateError` where the state is not what something else says it is.
  func endFrame(at position: JournalPosition) throws(StateError)
  /// The same, for a sink that wants to know the checksum of the frame's header.
  func endFrame(at position: JournalPosition, headerChecksum: UInt32) throws(StateError)
  /// Whether the replay goes on behind the frame that has ended.
  var takesMore: Bool { get }
}

extension ReplaySink {
  public var takesEntries: Bool { true }
  public func spend(_ work: ReplayWork) throws(StateError) {}
  public func willRestore(_ filings: borrowing Span<Filing>) {}
  public var takesLentSets: Bool { false }
  public var takesMore: Bool { true }
  public func apply(_ set: LentSet) throws(StateError) {
    preconditionFailure("this sink takes no lent sets")
  }
  /// A sink that checks for itself has no use for the digest of what was read.
  public func finishRestore(digest: UInt64, computed: UInt64?) throws(StateError) {
    try finishRestore(digest: digest)
  }
  public func endFrame(at position: JournalPosition, headerChecksum: UInt32) throws(StateError) {
    try endFrame(at: position)
  }
}

/// What a replay has done for its sink.
public struct ReplayWork: Sendable {
  /// Decoded events, or what takes as long.
  public var eventCount = 0
  /// Their bytes before compression.
  public var rawByteCount = 0
  /// Their bytes as they are stored; 0 for what is passed over, and so may be decoded any number of times.
  public var storedByteCount = 0

  /// Reading a checkpoint's header.
  static let header = ReplayWork(eventCount: 16)

  package init(eventCount: Int = 0, rawByteCount: Int = 0, storedByteCount: Int = 0) {
    self.eventCount = eventCount
    self.rawByteCount = rawByteCount
    self.storedByteCount = storedByteCount
  }
}
