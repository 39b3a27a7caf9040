import Hindsight
import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightStore
import Synchronization
import SystemPackage
import Testing

@testable import HindsightTesting

/// `.continueInMemory`: what is decided while the journal can't be written is not in it, a
/// checkpoint stands in for that, and a `gap` says so.
@Suite("S040 gaps")
struct GapTests {
  private let keys = 12

  private func lab(
    _ change: (inout CacheConfiguration) -> Void = { _ in }
  ) -> Lab {
    Lab(memory: 4) {
      $0.journalFailure = .continueInMemory
      $0.queues.unwrittenByteCountMax = 4 << 10
      change(&$0)
    }
  }

  private func value(_ number: Int, _ round: Int) -> [UInt8] {
    var random = SplitMix64(seed: UInt64(number * 100 + round))
    return (0..<1_000).map { _ in UInt8.random(in: 0...255, using: &random) }
  }

  private func setAll(_ lab: Lab, round: Int) async throws {
    let cache = try #require(lab.cache)
    for number in 0..<keys {
      let (key, value) = (try CacheKey("k:\(number)"), value(number, round))
      try await lab.scheduler.run {
        _ = try await cache.set(value, for: key, acknowledgement: .written)
      }
    }
  }

  /// Which round's value each key has; `nil` for none.
  private func rounds(_ lab: Lab) async throws -> [Int?] {
    let cache = try #require(lab.cache)
    var rounds: [Int?] = []
    for number in 0..<keys {
      let key = try CacheKey("k:\(number)")
      let found = try await lab.scheduler.run { try await cache.get(key) }
      let round = found.flatMap { found in (1...3).first { value(number, $0) == found } }
      #expect(found == nil || round != nil, "an invented value")
      rounds.append(round)
    }
    return rounds
  }

  /// What each key has after the first round and so many sets of the second one: without a store the
  /// last four that were set are left.
  private func rounds(through count: Int, hasStore: Bool) -> [Int?] {
    let set = (count..<keys).map { ($0, 1) } + (0..<count).map { ($0, 2) }
    var rounds = [Int?](repeating: nil, count: keys)
    for (key, round) in hasStore ? set[...] : set.suffix(4) { rounds[key] = round }
    return rounds
  }

  private func failWrites(_ lab: Lab) {
    lab.storage.inject { operation, _ in
      operation == .write || operation == .allocate ? .noSpace : nil
    }
  }

  private func gaps(_ storage: SimulatedStorage) throws -> [Gap] {
    let found = Mutex<[Gap]>([])
    _ = try EventStream(storage).replay { event in
      if case .gap(let gap) = event.record.event { found.withLock { $0.append(gap) } }
    }
    return found.withLock { $0 }
  }

  @Test("writes go on in memory, and when there is space again a gap tells what is missing")
  func outOfSpace() async throws {
    let lab = lab()
    try await lab.open()
    try await setAll(lab, round: 1)
    try await lab.attemptSync()
    failWrites(lab)
    try await setAll(lab, round: 2)
    let cache = try #require(lab.cache)
    #expect(cache.statistics.journalTrouble?.contains("space") == true)
    #expect(cache.statistics.unjournaledEvents > 0)
    #expect(try await rounds(lab).suffix(4) == [2, 2, 2, 2])
    do {
      try await lab.attemptSync()
      Issue.record("durable, without a disk")
    } catch let error as CacheError {
      #expect(error.code == .outcomeUnknown)
    }
    lab.storage.inject(nil)
    try await lab.recoverFromTrouble()
    #expect(cache.statistics.journalTrouble == nil)
    try await lab.attempt("k:0", value(0, 3))
    try await lab.attemptSync()
    let live = try await rounds(lab)
    try await lab.attemptSync()
    let digest = cache.stateDigest.digest
    let last = lab.lastSequence
    #expect(try gaps(lab.storage).map(\.cause) == [.writeFailed])
    #expect(lab.verify(lab.storage).digest == digest)
    lab.crash()
    let verified = lab.verify(lab.storage)
    #expect(verified.isSound && verified.digest == digest, "\(verified.problems)")
    try await lab.open(lab.storage)
    #expect(lab.cache?.recovery.lastSequence == last)
    #expect(try await rounds(lab) == live)
    try await lab.end()
    #expect(lab.verify(lab.storage).isSound)
  }

  @Test("a short failure loses no history")
  func short() async throws {
    let lab = lab()
    try await lab.open()
    failWrites(lab)
    for number in 0..<3 { try await lab.attempt("k:\(number)", value(number, 1)) }
    lab.storage.inject(nil)
    try await lab.recoverFromTrouble()
    #expect(lab.cache?.statistics.unjournaledEvents == 0)
    try await lab.end()
    #expect(try gaps(lab.storage).isEmpty)
    #expect(lab.verify(lab.storage).isSound)
  }

  @Test("an attempt to end a gap that fails leaves no checkpoint")
  func widenedGap() async throws {
    let lab = lab { $0.retention.byteCountMax = 1 }
    try await lab.open()
    try await setAll(lab, round: 1)
    try await lab.attemptSync()
    failWrites(lab)
    try await setAll(lab, round: 2)
    // The checkpoint is made, the segment behind it isn't.
    let isBridged = Mutex(false)
    lab.storage.inject { operation, file in
      if operation == .rename, file.hasSuffix(".checkpoint.tmp") {
        isBridged.withLock { $0 = true }
      }
      guard operation == .create, file.hasSuffix(".journal.tmp") else { return nil }
      return isBridged.withLock { $0 } ? .ioError : nil
    }
    try await lab.recoverFromTrouble()
    #expect(isBridged.withLock { $0 })
    #expect(lab.cache?.statistics.journalTrouble != nil)
    let checkpoints = lab.storage.names.filter { $0.hasSuffix(".checkpoint") }
    #expect(checkpoints.count <= 1, "each attempt has left one: \(checkpoints)")
    try await setAll(lab, round: 3)
    lab.storage.inject(nil)
    try await lab.recoverFromTrouble()
    #expect(lab.cache?.statistics.journalTrouble == nil)
    try await lab.attemptSync()
    // Retention is looked at then, and leaves the segments on both sides of the gap.
    try await lab.end()
    let verified = lab.verify(lab.storage)
    #expect(verified.isSound, "\(verified.problems)")
    try await lab.open(lab.storage)
    #expect(try await rounds(lab).suffix(4) == [3, 3, 3, 3])
    try await lab.end()
  }

  @Test(
    "a checkpoint over a gap that went on, and that nobody could remove, is begun with by nobody")
  func outdoneBridge() async throws {
    let journal = try CraftedJournal()
    let opened = journal.opened(memory: 5)
    try journal.append([opened])
    try journal.appendNothing(count: 2)
    try journal.writer.sync()
    try journal.writer.rotate()
    try journal.appendNothing(count: 2)
    try journal.writer.sync()
    let gapFirst = journal.last.next
    for (number, count) in [(UInt32(1), UInt64(3)), (2, 2)] {
      journal.skip(count)
      try journal.checkpoint(
        number: number, last: journal.last, opened, position: .start(of: 3), gapFirst: gapFirst)
    }
    try journal.writer.skip(through: journal.last)
    let gap = Gap(first: gapFirst, last: journal.last, cause: .writeFailed)
    try journal.append([.gap(gap), journal.set("k:a")])
    let storage = try journal.close()
    // As retention does.
    storage.delete("00000001.journal")
    let verified = Lab().verify(storage)
    #expect(verified.isSound && verified.lastSequence == journal.last.rawValue, "\(verified)")
    let lab = Lab(memory: 5)
    try await lab.open(storage)
    let key = try CacheKey("k:a")
    #expect(try await lab.run { try await $0.get(key) } == [1])
    try await lab.end()
  }

  /// Up to where the cache has resumed, or the power has gone: operation `stop` and all after it
  /// fail.
  private func resume(_ lab: Lab, stop: Int, count: Int) async throws -> Int {
    try await lab.open()
    try await setAll(lab, round: 1)
    try await lab.attemptSync()
    failWrites(lab)
    try await setAll(lab, round: 2)
    let operations = Mutex(0)
    lab.storage.inject { operation, _ in
      switch operation {
      case .read, .size, .list, .open, .lock, .close: return nil
      default:
        return operations.withLock { operations in
          operations += 1
          return (stop..<stop + count).contains(operations) ? .ioError : nil
        }
      }
    }
    try await lab.recoverFromTrouble()
    return operations.withLock { $0 }
  }

  @Test("a power loss at any operation of the resumption", arguments: [false, true])
  func powerLoss(hasStore: Bool) async throws {
    var stop = 1
    var outcomes: Set<String> = []
    while true {
      let scratch = try TemporaryDirectory()
      let lab = lab { $0.usesStore = hasStore }
      if hasStore { lab.store = SQLiteStore(directory: scratch.path) }
      let operations = try await resume(lab, stop: stop, count: .max - stop)
      let what = "at operation \(stop)"
      lab.crash()
      lab.storage.inject(nil)
      let found = lab.verify(lab.storage)
      #expect(found.problems.isEmpty, "\(what): \(found.problems)")
      try await lab.open(lab.storage)
      let rounds = try await rounds(lab)
      // As after the gap, or as before it, where some of the sets may have come through: those up to one of
      // them. Never a mixture that never was, and what was durable before is there.
      outcomes.insert(rounds.last == 2 ? "after" : "before")
      let mayBe = (0...keys).map { self.rounds(through: $0, hasStore: hasStore) }
      #expect(mayBe.contains(rounds), "\(what): \(rounds)")
      #expect(lab.cache?.recovery.lostValues == 0, "\(what)")
      try await lab.attempt("k:0", value(0, 3))
      try await lab.scheduler.run { [cache = try #require(lab.cache)] in
        _ = try await cache.settle()
      }
      try await lab.end()
      let verified = Verifier(lab.storage) { () throws(StoreError) in
        hasStore ? try StoreInspector(directory: scratch.path) : nil
      }.run()
      #expect(verified.isSound, "\(what): \(verified.problems)")
      if operations < stop { break }
      stop += 1
    }
    #expect(stop > 12 && outcomes == ["before", "after"], "\(stop) \(outcomes)")
  }

  @Test("a damaged checkpoint over a gap takes nothing away from what comes before it")
  func damagedBridge() async throws {
    var stop = 1
    var damagedCount = 0
    while true {
      let lab = lab()
      let operations = try await resume(lab, stop: stop, count: .max - stop)
      lab.crash()
      lab.storage.inject(nil)
      if lab.storage.damage(.corruptCheckpointBody, seed: UInt64(stop)) != nil {
        damagedCount += 1
        let found = lab.verify(lab.storage)
        #expect(!found.isSound, "at operation \(stop)")
        lab.configuration.corruption = .salvage
        try await lab.open(lab.storage)
        #expect(lab.cache?.recovery.lastSequence == found.lastSequence)
        #expect(lab.cache?.count.memory == 4, "at operation \(stop)")
        try await lab.end()
        #expect(lab.verify(lab.storage).isSound, "at operation \(stop)")
      }
      if operations < stop { break }
      stop += 1
    }
    #expect(damagedCount > 1)
  }

  @Test("nor does one whose checksums are right, and whose contents aren't")
  func impossibleBridge() async throws {
    let lab = lab()
    _ = try await resume(lab, stop: 0, count: 0)
    lab.crash()
    lab.storage.inject(nil)
    let name = try #require(try lab.storage.list().first { $0.hasSuffix(".checkpoint") })
    var bytes = try #require(lab.storage.bytes(of: name))
    bytes[48] ^= 1  // the digest
    let checksum = JournalBytes.checksum(bytes[..<124])
    for at in 0..<4 { bytes[124 + at] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt32(at))) }
    lab.storage.setBytes(bytes, of: name)
    await #expect(throws: CacheError.self) { try await lab.open(lab.storage) }
    lab.configuration.corruption = .salvage
    try await lab.open(lab.storage)
    #expect(lab.cache?.recovery.damage.contains { $0.contains(name) } == true)
    #expect(lab.cache?.count.memory == 4)
    try await lab.end()
    #expect(lab.verify(lab.storage).isSound)
  }

  @Test("a store that was killed inside the gap is no damage, and is reconciled")
  func storeInsideGap() async throws {
    let scratch = try TemporaryDirectory()
    let lab = lab { $0.usesStore = true }
    let store = SQLiteStore(directory: scratch.path)
    lab.store = store
    _ = try await resume(lab, stop: 0, count: 0)
    try await lab.end()
    let gap = try #require(try gaps(lab.storage).first)
    #expect(gap.first < gap.last)
    // As if the projector had been killed between two transactions there.
    let writer = try store.openWriter()
    let mark = try #require(try writer.mark())
    try writer.apply([], mark: StoreMark(journalID: mark.journalID, applied: gap.first))
    writer.close()
    func verify() -> Verification {
      Verifier(lab.storage) { () throws(StoreError) in try StoreInspector(directory: scratch.path) }
        .run()
    }
    #expect(verify().isSound, "\(verify().problems)")
    #expect(verify().notes.contains { $0.contains("gap") }, "\(verify().notes)")
    try await lab.open(lab.storage)
    #expect(lab.cache?.recovery.store == .reconciled)
    #expect(try await rounds(lab) == [Int?](repeating: 2, count: keys))
    try await lab.end()
    #expect(verify().isSound && verify().rows == keys)
  }

  @Test("a single fault at any operation of the resumption is overcome")
  func singleFault() async throws {
    var stop = 1
    while true {
      let lab = lab()
      let operations = try await resume(lab, stop: stop, count: 1)
      let what = "at operation \(stop)"
      #expect(lab.journalTrouble == nil, "\(what)")
      try await lab.attempt("k:0", value(0, 3))
      try await lab.attemptSync()
      let digest = try #require(lab.cache).stateDigest.digest
      lab.crash()
      let verified = lab.verify(lab.storage)
      #expect(
        verified.problems.isEmpty && verified.digest == digest, "\(what): \(verified.problems)")
      try await lab.open(lab.storage)
      #expect(try await rounds(lab).suffix(3) == [2, 2, 2], "\(what)")
      try await lab.end()
      #expect(lab.verify(lab.storage).isSound, "\(what)")
      if operations < stop { break }
      stop += 1
    }
    #expect(stop > 12)
  }
}
