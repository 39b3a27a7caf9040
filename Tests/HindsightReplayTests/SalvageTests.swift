import Hindsight
import HindsightCore
import HindsightJournal
import HindsightReplay
import Synchronization
import SystemPackage
import Testing

@testable import HindsightTesting

/// What a salvage leaves behind opens again, tells what was cut out, and throws nothing away.
@Suite("S040 salvage")
struct SalvageTests {
  /// At least four segments, all of it durable, not closed.
  private func madeLab() async throws -> Lab {
    let lab = Lab(memory: 100) { $0.retention = .unlimited }
    try await lab.open()
    for number in 0..<20 { try await lab.set("k:\(number)", noise(number)) }
    try await lab.sync()
    return lab
  }

  /// Sets twelve values, in memory and in the store.
  private func fill(_ lab: Lab) async throws {
    for number in 0..<12 {
      let (key, value) = (try CacheKey("k:\(number)"), noise(number))
      _ = try await lab.run { try await $0.set(value, for: key) }
    }
  }

  private func noise(_ number: Int) -> [UInt8] {
    var random = SplitMix64(seed: UInt64(number))
    return (0..<16_000).map { _ in UInt8.random(in: 0...255, using: &random) }
  }

  private func flip(_ storage: SimulatedStorage, _ name: String, at offset: Int) throws {
    var bytes = try #require(storage.bytes(of: name))
    bytes[offset] ^= 1
    storage.setBytes(bytes, of: name)
  }

  private func segments(_ storage: SimulatedStorage) -> [String] {
    storage.names.filter { $0.hasSuffix(".journal") }
  }

  private func gaps(_ storage: SimulatedStorage) throws -> [Gap] {
    let found = Mutex<[Gap]>([])
    _ = try EventStream(storage).replay { event in
      if case .gap(let gap) = event.record.event { found.withLock { $0.append(gap) } }
    }
    return found.withLock { $0 }
  }

  @Test("a frame with an impossible event in its middle is cut out whole, and the journal goes on")
  func impossibleEvent() async throws {
    let lab = Lab()
    try await lab.open()
    try await lab.set("k:a", [1])
    try await lab.sync()
    lab.kill()
    // Behind it, a frame whose second event can't be.
    let options = JournalOptions { Timestamp(microseconds: 1) }
    let opened = try JournalRecovery(lab.storage, options, store: nil)
      .open(from: .newest, salvages: false, into: DeafSink())
    let last = opened.report.last
    var frame = OpenFrame()
    let at = Timestamp(microseconds: lab.clock.reading().wall.rawValue)
    let nothing = Invalidated(subject: .key(Array("k:none".utf8)[...]), reason: nil)
    frame.append(Record(sequence: last.next, at: at, event: .invalidated(nothing)))
    frame.append(
      Record(sequence: last.next.next, at: at, event: .expired(origin: last.next, tier: .memory)))
    try opened.writer.append(
      frame.takeAll(bootTime: Microseconds(rawValue: 0)), durable: last, endsRun: false)
    try opened.writer.close()

    let error = await #expect(throws: CacheError.self) { try await lab.open(lab.storage) }
    #expect(error?.code == .journalCorrupt)
    lab.configuration.corruption = .salvage
    try await lab.open(lab.storage)
    let recovery = try #require(lab.cache).recovery
    #expect(recovery.lastSequence == last.rawValue)
    // Where it was cut is named once, and with its cause.
    #expect(recovery.damage.count == 1, "\(recovery.damage)")
    #expect(recovery.damage.first?.contains("\(last.next)") == true, "\(recovery.damage)")
    #expect(try await lab.run { try await $0.get(try CacheKey("k:a")) } == [1])
    _ = try await lab.run { try await $0.set([2], for: try CacheKey("k:b")) }
    try await lab.run { _ = try await $0.flush(to: .durable) }
    lab.crash()
    lab.configuration.corruption = .refuse
    try await lab.open(lab.storage)
    #expect(try await lab.run { try await $0.get(try CacheKey("k:b")) } == [2])
    try await lab.end()
    #expect(lab.verify(lab.storage).isSound)
    let gap = try #require(try gaps(lab.storage).first)
    #expect(gap.first == last.next && gap.last == last.next.next && gap.cause == .salvaged)
  }

  @Test("what an earlier salvage or recovery kept aside stays as it was")
  func keptAside() async throws {
    let lab = try await madeLab()
    lab.kill()
    lab.configuration.corruption = .salvage
    var kept: [String: [UInt8]] = [:]
    for round in 0..<3 {
      try flip(lab.storage, "00000002.journal", at: 20)
      let damaged = try #require(lab.storage.bytes(of: "00000002.journal"))
      for name in lab.storage.names where name.hasSuffix(".checkpoint") { lab.storage.delete(name) }
      try await lab.open(lab.storage)
      let recovery = try #require(lab.cache).recovery
      #expect(recovery.journal == .salvaged)
      for name in recovery.quarantined {
        let bytes = try #require(lab.storage.bytes(of: name) as [UInt8]?)
        #expect(kept[name] == nil || kept[name] == bytes, "round \(round): \(name) was replaced")
        kept[name] = bytes
      }
      let isKept = kept.values.contains { damaged.starts(with: $0) && $0.count > 64 }
      #expect(isKept, "round \(round)")
      _ = try await lab.run { try await $0.set([1], for: try CacheKey("k:\(round)")) }
      try await lab.run { _ = try await $0.flush(to: .durable) }
      lab.kill()
    }
    for (name, bytes) in kept { #expect(lab.storage.bytes(of: name) == bytes, "\(name)") }
    #expect(kept.values.count { $0.count > 64 } >= 5)
  }

  @Test("all segments gone: the newest whole checkpoint is kept, and the store's rows with it")
  func checkpointAlone() async throws {
    let lab = Lab(memory: 4) { $0.usesStore = true }
    lab.store = SimulatedStore()
    try await lab.open(lab.storage)
    for number in 0..<14 {
      let (key, value) = (try CacheKey("k:\(number)"), noise(number))
      _ = try await lab.run { try await $0.set(value, for: key) }
    }
    let last = try await lab.end()
    let whole = lab.storage
    #expect(whole.names.contains { $0.hasSuffix(".checkpoint") })
    for name in segments(whole) { whole.delete(name) }
    await #expect(throws: CacheError.self) { try await lab.open(whole) }
    lab.configuration.corruption = .salvage
    try await lab.open(whole)
    let recovery = try #require(lab.cache).recovery
    #expect(recovery.lastSequence == last && recovery.journal == .salvaged)
    #expect(recovery.deletedRows == 0 && recovery.lostValues == 0)
    func checkValues() async throws {
      for number in 0..<14 {
        let key = try CacheKey("k:\(number)")
        #expect(try await lab.run { try await $0.get(key) } == noise(number))
      }
    }
    try await checkValues()
    _ = try await lab.run { try await $0.set([1], for: try CacheKey("k:new")) }
    try await lab.run { _ = try await $0.flush(to: .durable) }
    lab.crash()
    lab.configuration.corruption = .refuse
    try await lab.open(whole)
    #expect(try await lab.run { try await $0.get(try CacheKey("k:new")) } == [1])
    try await checkValues()
    try await lab.end()
    #expect(lab.verify(whole).isSound)
  }

  @Test("a salvage that is interrupted anywhere uses no number again", arguments: [false, true])
  func interrupted(losesPower: Bool) async throws {
    let lab = try await madeLab()
    let last = lab.lastSequence
    lab.kill()
    let damaged = lab.storage
    #expect(segments(damaged).count >= 4)
    for name in damaged.names where name.hasSuffix(".checkpoint") { damaged.delete(name) }
    try flip(damaged, "00000002.journal", at: 200)
    var stop = 1
    while true {
      let storage = damaged.copy()
      let operations = Mutex(0)
      storage.inject { [stop] operation, _ in
        guard ![.read, .size, .list, .open, .lock, .close].contains(operation) else { return nil }
        return operations.withLock { count in
          count += 1
          return count >= stop ? .ioError : nil
        }
      }
      lab.configuration.corruption = .salvage
      let isDone: Bool
      do {
        try await lab.open(storage)
        isDone = true
      } catch is CacheError {
        isDone = false
      }
      if losesPower { lab.crash() } else { lab.kill() }
      storage.inject(nil)
      lab.configuration.corruption = .refuse
      do {
        try await lab.open(storage)
      } catch is CacheError {
        lab.configuration.corruption = .salvage
        try await lab.open(storage)
      }
      #expect(lab.lastSequence > last, "at operation \(stop)")
      try await lab.end()
      let verified = lab.verify(storage)
      #expect(verified.isSound, "at operation \(stop): \(verified.problems)")
      let isTold = try gaps(storage).contains {
        $0.cause == .salvaged && ($0.first.rawValue...$0.last.rawValue).contains(last)
      }
      #expect(isTold, "at operation \(stop): no gap tells what was cut out")
      if isDone { break }
      stop += 1
    }
    #expect(stop > 12)
  }

  @Test(
    "a segment of another journal that strays in the directory costs nothing of ours",
    arguments: 1...12)
  func straySegment(seed: UInt64) async throws {
    let lab = try await madeLab()
    let last = lab.lastSequence
    lab.kill()
    for name in lab.storage.names where name.hasSuffix(".checkpoint") { lab.storage.delete(name) }
    try #require(lab.storage.damage(.extraSegment, seed: seed) != nil)
    lab.configuration.corruption = .salvage
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    #expect(cache.recovery.lastSequence == last)
    #expect(cache.count.memory == 20)
    try await lab.end()
    #expect(lab.verify(lab.storage).isSound)
  }

  /// What was committed when the store was compared, a loss of power may take back: then it is as before the
  /// salvage, and its mark stands for an event that is no more.
  @Test("a store that has applied what a salvage cut out is compared row by row, however often")
  func markInGap() async throws {
    let store = SimulatedStore()
    let lab = Lab(memory: 1) {
      $0.usesStore = true
      $0.retention = .unlimited
      $0.corruption = .salvage
    }
    lab.store = store
    try await lab.open(lab.storage)
    let first = try CacheKey("k:0")
    try await fill(lab)
    _ = try await lab.run { try await $0.invalidate(first) }
    try await lab.run { _ = try await $0.flush(to: .durable) }
    try await lab.run { _ = try await $0.settle() }
    lab.kill()
    store.killProcess()
    let image = store.image()
    for name in lab.storage.names where name.hasSuffix(".checkpoint") { lab.storage.delete(name) }
    try flip(lab.storage, segments(lab.storage)[1], at: 9)
    for opening in 1...2 {
      try await lab.open(lab.storage)
      let cache = try #require(lab.cache)
      #expect(cache.recovery.lostValues == 0)
      #expect(try await lab.run { try await $0.get(first) } == noise(0), "opening \(opening)")
      try await lab.run { _ = try await $0.settle() }
      #expect(store.rows.count == cache.count.store)
      lab.kill()
      store.killProcess()
      store.restore(image)
    }
  }

  /// Nothing but the store knows that there was more. Its numbers would come again, until it passed for up to date.
  @Test("a store that an opening doesn't use tells which events were durable all the same")
  func unusedStore() async throws {
    let store = SimulatedStore()
    let lab = Lab(memory: 1) {
      $0.usesStore = true
      $0.retention = .unlimited
    }
    lab.store = store
    try await lab.open(lab.storage)
    try await fill(lab)
    try await lab.run { _ = try await $0.flush(to: .durable) }
    try await lab.run { _ = try await $0.settle() }
    lab.kill()
    store.killProcess()
    let applied = try #require(store.mark?.applied.rawValue)
    for name in lab.storage.names where name.hasSuffix(".checkpoint") { lab.storage.delete(name) }
    lab.storage.delete(try #require(segments(lab.storage).last))

    lab.configuration.usesStore = false
    let error = await #expect(throws: CacheError.self) { try await lab.open(lab.storage) }
    #expect(error?.code == .journalCorrupt)
    #expect(error?.message.contains("the store has applied what follows") == true)
    lab.configuration.corruption = .salvage
    try await lab.open(lab.storage)
    let key = try CacheKey("k:new")
    let origin = try await lab.run { try await $0.set([1], for: key) }
    #expect(origin.rawValue > applied)
    try await lab.end()

    lab.configuration.usesStore = true
    try await lab.open(lab.storage)
    let cache = try #require(lab.cache)
    #expect(try await lab.run { try await $0.get(key) } == [1])
    try await lab.run { _ = try await $0.settle() }
    #expect(store.rows.count == cache.count.store)
    try await lab.end()
  }

  /// It was whole, and behind the new segment of the first attempt.
  @Test("a salvage that is done again keeps no segment that had just been begun and goes on later")
  func begunSegment() async throws {
    let lab = try await Lab.ofThreeSegments()
    let storage = lab.storage
    for name in storage.names where name.hasSuffix(".checkpoint") { storage.delete(name) }
    let bytes = try #require(storage.bytes(of: Lab.lastOfThree))
    storage.delete("00000002.journal")
    storage.setBytes(Array(bytes[..<64]), of: Lab.lastOfThree)
    storage.setBytes(bytes, of: "00000099.journal")
    storage.inject { operation, file in
      operation == .rename && file == Lab.lastOfThree ? .ioError : nil
    }
    lab.configuration.corruption = .salvage
    await #expect(throws: CacheError.self) { try await lab.open(storage) }
    lab.kill()
    storage.inject(nil)
    try await lab.open(storage)
    try await lab.set("k:new", [1])
    try await lab.end()
    let verified = lab.verify(storage)
    #expect(verified.isSound, "\(verified.problems)")
    lab.configuration.corruption = .refuse
    try await lab.open(storage)
    #expect(try await lab.get("k:new") == [1])
    try await lab.end()
  }

  @Test("what newer software wrote is refused, not set aside", arguments: [false, true])
  func newerVersion(isCheckpoint: Bool) async throws {
    let lab = try await madeLab()
    lab.kill()
    let suffix = isCheckpoint ? ".checkpoint" : ".journal"
    let name = try #require(lab.storage.names.last { $0.hasSuffix(suffix) })
    var bytes = try #require(lab.storage.bytes(of: name))
    bytes[8] = 3
    let end = isCheckpoint ? 124 : 60
    let checksum = JournalBytes.checksum(bytes[..<end])
    for at in 0..<4 { bytes[end + at] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt32(at))) }
    lab.storage.setBytes(bytes, of: name)
    // A checkpoint that can't be read is passed over, unless there is damage besides.
    if isCheckpoint { try flip(lab.storage, "00000002.journal", at: 20) }
    let before = lab.storage.copy()
    lab.configuration.corruption = .salvage
    let error = await #expect(throws: CacheError.self) { try await lab.open(lab.storage) }
    #expect(error?.code == .journalCorrupt)
    #expect(error?.message.contains("version 3") == true, "\(error?.message ?? "")")
    #expect(error?.message.contains("repair") == false, "\(error?.message ?? "")")
    #expect(lab.storage.names == before.names)
    for name in before.names { #expect(lab.storage.bytes(of: name) == before.bytes(of: name)) }
  }
}
