import Benchmark
import Hindsight
import HindsightCore
import HindsightJournal

/// Frames encoded and decoded, and their events applied to the cache's state: each by itself, of a journal whose
/// frames hold 64 sets with the evictions that they entail. Tools/instruction-counts counts the instructions of
/// the same paths.
func addFrameBenchmarks() {
  let count = 256 * setsPerFrame
  Benchmark("frame encode: 64 sets a frame, 256 frames") { benchmark in
    try await withJournal(of: count) { directory in
      let events = RecordedEvents()
      _ = try replay(directory, into: events)
      try await withScratch { encoded in
        let writer = try JournalRecovery(
          PosixStorage(path: encoded), JournalOptions(now: { .zero }), store: nil
        ).open(from: .newest, salvages: false, into: DroppedEvents()).writer
        try await benchmark.timed(count) { try encode(events, writer) }
        let copy = DroppedEvents()
        _ = try replay(encoded, into: copy)
        try check(copy, count)
      }
    }
  }
  Benchmark("frame decode: 64 sets a frame, 256 frames") { benchmark in
    try await withJournal(of: count) { directory in
      let events = DroppedEvents()
      try await benchmark.timed(count) { _ = try replay(directory, into: events) }
      try check(events, count)
    }
  }
  Benchmark("apply: 16,384 sets and their evictions") { benchmark in
    try await withJournal(of: count) { directory in
      let events = RecordedEvents()
      _ = try replay(directory, into: events)
      var entryCount = 0
      try await benchmark.timed(count) { entryCount = try apply(events) }
      guard entryCount == 1_000 else {
        throw BenchmarkFailure(message: "\(entryCount) entries are left of \(count) sets")
      }
    }
  }
}

private let setsPerFrame = 64

private func check(_ events: DroppedEvents, _ count: Int) throws {
  guard events.setCount == count else {
    throw BenchmarkFailure(message: "\(events.setCount) of \(count) sets were decoded")
  }
}

/// Calls `body` with the directory of a closed cache without a store, whose journal holds so many sets.
private func withJournal(
  of count: Int, _ body: (String) async throws -> Void
) async throws {
  try await withScratch { scratch in
    var configuration = configuration(memory: 1_000)
    configuration.usesStore = false
    try await withCache(at: scratch, coder: .jsonText, configuration: configuration) { cache in
      for (at, key) in try Input.keys(0..<count).enumerated() {
        try await cache.set(
          Input.values[at % Input.values.count], for: key, acknowledgement: .enqueued)
        if at % setsPerFrame == setsPerFrame - 1 { try await cache.flush(to: .written) }
      }
    }
    try await body(scratch)
  }
}

/// Replays every event of a journal.
private func replay(_ directory: String, into sink: any ReplaySink) throws -> ReplayEnd {
  let journal = try JournalDirectory(PosixStorage(reading: directory), forWriting: false)
  return try JournalReplay(journal).run(from: .oldest, into: sink)
}

private func encode(_ events: RecordedEvents, _ writer: JournalWriter) throws {
  var frame = OpenFrame()
  for events in events.frames {
    for event in events {
      switch event {
      case .other(let record): frame.append(record)
      case .set(let set):
        frame.append(set.fact, key: set.key, value: set.value, reason: nil)
        frame.endDecision(bootTime: Microseconds(rawValue: 0))
      }
    }
    try writer.append(
      frame.takeAll(bootTime: Microseconds(rawValue: 0)), durable: .zero, endsRun: false)
  }
}

/// - Returns: how many entries memory holds then.
private func apply(_ events: RecordedEvents) throws -> Int {
  var state = CacheState()
  var effects: [Effect] = []
  for event in events.frames.joined() {
    effects.removeAll(keepingCapacity: true)
    switch event {
    case .other(let record): try state.apply(record, into: &effects)
    case .set(let set): try state.apply(set, into: &effects)
    }
  }
  return state.residentCount(in: .memory)
}

/// Takes in a replay as a recovery does, sets lent, and keeps nothing of it.
private final class DroppedEvents: EventSink {
  var setCount = 0

  func apply(_ record: Record) {}
  func apply(_ set: LentSet) { setCount += 1 }
  func endFrame(at position: JournalPosition) {}
}

/// Keeps the events of a replay, frame by frame.
private final class RecordedEvents: EventSink {
  enum Event {
    /// Of a copy that `bytes` holds.
    case set(LentSet)
    case other(Record)
  }

  private(set) var frames: [[Event]] = []
  private var open: [Event] = []
  private var bytes: [UnsafeMutableRawBufferPointer] = []

  deinit { for copy in bytes { copy.deallocate() } }

  func apply(_ record: Record) { open.append(.other(record)) }

  func apply(_ set: LentSet) {
    open.append(
      .set(
        LentSet(
          fact: set.fact, key: copy(set.key), value: copy(set.value), valueHash: set.valueHash)))
  }

  func endFrame(at position: JournalPosition) {
    frames.append(open)
    open = []
  }

  private func copy(_ lent: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: lent.count, alignment: 1)
    copy.copyMemory(from: lent)
    bytes.append(copy)
    return UnsafeRawBufferPointer(copy)
  }
}

/// A sink of events alone, from the journal's beginning.
private protocol EventSink: ReplaySink {}

extension EventSink {
  func begin() {}
  func restore(_ head: StateHead) {}
  var takesEntries: Bool { false }
  var hashSeed: UInt64 { 0 }
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) {}
  func finishRestore(digest: UInt64) {}
  var takesLentSets: Bool { true }
}
