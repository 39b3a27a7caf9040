import HindsightCore
import HindsightJournal

/// What the events of a journal that `record` left cost by themselves. An operation is a set with the
/// eviction that it entails.
extension PathRunner {
  func encode() throws {
    let events = try recordedEvents()
    let writer = try JournalRecovery(
      PosixStorage(path: directory + "/encoded"), JournalOptions(random: { 1 }, now: { .zero }),
      store: nil
    ).open(from: .newest, salvages: false, into: EventSink(keeps: false)).writer
    var frame = OpenFrame()
    var done = 0
    for event in events where done < count {
      switch event {
      case .other(let record): frame.append(record)
      case .set(let set):
        frame.append(set.fact, key: set.key, value: set.value, reason: nil)
        frame.endDecision(bootTime: Microseconds(rawValue: 0))
        done += 1
        guard done % Self.frameCount == 0 else { continue }
        try writer.append(
          frame.takeAll(bootTime: Microseconds(rawValue: 0)), durable: .zero, endsRun: false)
      }
    }
    try check(done)
  }

  func decode() throws {
    let end = try replay(into: EventSink(keeps: false))
    // Besides the sets: opened, and the evictions of all but one.
    guard end.recordCount == 2 * count else {
      throw PathError(message: "\(end.recordCount) events of \(count) sets were decoded")
    }
  }

  func apply() throws {
    let events = try recordedEvents()
    var state = CacheState()
    var effects: [Effect] = []
    var done = 0
    for event in events where done < count {
      effects.removeAll(keepingCapacity: true)
      switch event {
      case .other(let record): try state.apply(record, into: &effects)
      case .set(let set):
        try state.apply(set, into: &effects)
        done += 1
      }
    }
    try check(done)
  }

  private func recordedEvents() throws -> [EventSink.Event] {
    let sink = EventSink(keeps: true)
    _ = try replay(into: sink)
    return sink.events
  }

  private func replay(into sink: EventSink) throws -> ReplayEnd {
    let journal = try JournalDirectory(PosixStorage(reading: directory), forWriting: false)
    return try JournalReplay(journal).run(from: .newest, into: sink)
  }
}

/// Takes in a replay as a recovery does, sets lent, and applies nothing.
private final class EventSink: ReplaySink {
  enum Event {
    /// Of a copy that is left to the end of the process.
    case set(LentSet)
    case other(Record)
  }

  private let keeps: Bool
  private(set) var events: [Event] = []

  init(keeps: Bool) { self.keeps = keeps }

  func begin() { events = [] }
  func restore(_ head: StateHead) {}
  var takesEntries: Bool { false }
  var hashSeed: UInt64 { 0 }
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) {}
  func finishRestore(digest: UInt64) {}
  func apply(_ record: Record) {
    if keeps { events.append(.other(record)) }
  }
  var takesLentSets: Bool { true }
  func apply(_ set: LentSet) {
    guard keeps else { return }
    events.append(
      .set(
        LentSet(
          fact: set.fact, key: copy(set.key), value: copy(set.value), valueHash: set.valueHash)))
  }
  func endFrame(at position: JournalPosition) {}

  private func copy(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    copy.copyMemory(from: bytes)
    return UnsafeRawBufferPointer(copy)
  }
}
