import Hindsight
import HindsightCore
import HindsightReplay
import HindsightTesting
import Logging
import Synchronization
import Testing

/// A cache with both tiers on simulated storage and store, under faults of an injector, with a model
/// beside it: what every key must have as of every event.
final class Trial {
  typealias Values = [String: [UInt8]]

  static let keyCount = 8
  let injector: FaultInjector
  let clock = ManualClock()
  let storage: SimulatedStorage
  let store: SimulatedStore
  var configuration = CacheConfiguration()
  private(set) var scheduler = ManualScheduler()
  private(set) var cache: Cache<[UInt8]>?
  /// What was there after each operation, in the order of its last event.
  private(set) var history: [(sequence: UInt64, values: Values)] = [(0, [:])]
  private(set) var values: Values = [:]
  /// The last event that was acknowledged as durable.
  private(set) var durable: UInt64 = 0
  /// Operations that ended with an error that a caller must expect.
  private(set) var refusals = 0
  private var openings: Set<UInt64> = []
  private var random: SplitMix64
  /// Everything that was ever set.
  private var sets: [(key: String, value: [UInt8])] = []

  init(seed: UInt64, _ change: (inout CacheConfiguration) -> Void = { _ in }) {
    random = SplitMix64(seed: seed)
    injector = FaultInjector(seed: seed ^ 0xFA17)
    storage = SimulatedStorage(injector)
    store = SimulatedStore(injector)
    injector.onDelay { [clock] in clock.advance(by: $0) }
    configuration.clock = clock
    configuration.memoryLimit = TierLimit(entryCountMax: 3)
    configuration.sweepInterval = nil
    configuration.syncInterval = nil
    configuration.acknowledgement = .enqueued
    configuration.segmentByteCount = 64 << 10
    configuration.retention.byteCountMax = 160 << 10
    change(&configuration)
  }

  /// Another trial that goes on from here, with a copy of what is on the disks.
  func copy() throws -> Trial {
    let copy = Trial(seed: 1)
    copy.configuration = configuration
    copy.configuration.clock = copy.clock
    copy.clock.setWall(clock.reading().wall)
    for name in storage.names { copy.storage.setBytes(storage.bytes(of: name) ?? [], of: name) }
    copy.store.restore(store.image())
    copy.history = history
    copy.values = values
    copy.durable = durable
    copy.openings = openings
    copy.sets = sets
    return copy
  }

  deinit { scheduler.abandon() }

  // MARK: Opening and ending

  /// Opens what the directory holds.
  /// - Returns: `nil` where that is open; the error where it was refused.
  func open() async -> CacheError? {
    var configuration = configuration
    scheduler.abandon()
    scheduler = ManualScheduler()
    configuration.scheduler = scheduler
    let place = Place.custom(storage, store)
    injector.setRecovering(true)
    do {
      cache = try await scheduler.run { [configuration] in
        try await Cache.open(
          at: place, coder: .bytes, configuration: configuration,
          logger: Logger(label: "trial", factory: { _ in SwiftLogNoOpLogHandler() }))
      }
    } catch {
      scheduler.abandon()
      return error as? CacheError
    }
    injector.setRecovering(false)
    adopt()
    return nil
  }

  /// The model goes on from what must have been recovered: what was there after the last operation
  /// that was wholly before the last event.
  private func adopt() {
    guard let cache else { return }
    // An opening that failed late has left events of its own, in the place of lost ones.
    let begun = beginnings()
    if let new = begun.first(where: { !openings.contains($0) }) {
      history.removeAll { $0.sequence >= new }
    }
    openings.formUnion(begun)
    let last = cache.recovery.lastSequence
    values = history.last { $0.sequence <= last }?.values ?? [:]
    let sequence = cache.stateDigest.sequence
    history = history.filter { $0.sequence <= last } + [(sequence, values)]
  }

  /// The events with which openings have begun, as far as the journal still holds them.
  private func beginnings() -> [UInt64] {
    let found = Mutex<[UInt64]>([])
    let wasOn = injector.isOn
    injector.setOn(false)
    defer { injector.setOn(wasOn) }
    do {
      _ = try EventStream(storage).replay { event in
        switch event.record.event {
        case .opened, .recovered, .gap:
          found.withLock { $0.append(event.record.sequence.rawValue) }
        default: break
        }
      }
    } catch {
      // Damage that a checkpoint leads around: what comes before it counts.
    }
    return found.withLock { $0 }
  }

  /// Closes; what can't be written is an error, never a hang.
  @discardableResult
  func close() async throws -> CacheError? {
    guard let cache else { return nil }
    defer {
      self.cache = nil
      scheduler.abandon()
    }
    do {
      try await patiently { try await cache.close() }
      return nil
    } catch let error as CacheError {
      return error
    }
  }

  /// The process is gone; what it wrote is there.
  func kill() {
    cache = nil
    scheduler.abandon()
    storage.killProcess()
    store.killProcess()
  }

  /// The power is gone, and back.
  /// - Returns: what became of what was not synced.
  @discardableResult
  func crash() -> [FaultKind] {
    cache = nil
    scheduler.abandon()
    let kinds = storage.crash(injector)
    store.crash(injector)
    return kinds
  }

  // MARK: Working

  /// So many operations at random, whatever fails; stops where the power goes.
  func work(_ count: Int) async throws {
    for _ in 0..<count where !injector.isPowerOut {
      do {
        try await operation()
      } catch let error as CacheError {
        refusals += 1
        #expect(
          [.outcomeUnknown, .outOfSpace, .system, .journalUnavailable, .storeUnavailable]
            .contains(error.code), "\(error)")
      }
    }
  }

  private func operation() async throws {
    let key = "k:\(Int.random(in: 0..<Self.keyCount, using: &random))"
    switch Int.random(in: 0..<20, using: &random) {
    case 0..<9: try await set(key)
    case 9..<13: try await get(key)
    case 13: try await invalidate(key)
    case 14..<16: try await sync()
    case 16: try await settle()
    case 17: try await cut()
    case 18: advance(.milliseconds(Int.random(in: 1...2_000, using: &random)))
    default: scheduler.runUntilIdle()
    }
  }

  func set(_ key: String) async throws {
    let value = noise()
    sets.append((key, value))
    let cacheKey = try CacheKey(key)
    let cache = try #require(cache)
    try await patiently { try await cache.set(value, for: cacheKey, reason: "trial") }
    values[key] = value
    note()
  }

  /// Bytes that don't repeat and don't compress.
  private func noise() -> [UInt8] {
    let count = Int.random(in: 1...1_500, using: &random)
    var words: [UInt64] = []
    words.reserveCapacity(count)
    for _ in 0..<count { words.append(random.next()) }
    return words.withUnsafeBytes { Array($0) }
  }

  func invalidate(_ key: String) async throws {
    let cacheKey = try CacheKey(key)
    let cache = try #require(cache)
    try await patiently { _ = try await cache.invalidate(cacheKey) }
    values[key] = nil
    note()
  }

  /// Reads, and compares with the model.
  func get(_ key: String) async throws {
    let cacheKey = try CacheKey(key)
    let cache = try #require(cache)
    let found = try await patiently { try await cache.lookup(cacheKey) }
    switch found {
    case .hit(let hit):
      let isRight = hit.value == values[key]
      #expect(isRight, "\(key) is \(name(hit.value)), not \(name(values[key]))")
    case .miss(.lost):
      #expect(mayLoseValues, "\(key) is lost")
      values[key] = nil
    case .miss(let reason):
      let isRight = values[key] == nil
      #expect(isRight, "\(key) is absent (\(reason)), not \(name(values[key]))")
    }
    note()
  }

  /// Whether a fault may have taken values from the store.
  var mayLoseValues = false

  func sync() async throws {
    let cache = try #require(cache)
    durable = try await patiently { try await cache.flush(to: .durable).rawValue }
  }

  func cut() async throws {
    let cache = try #require(cache)
    try await patiently { _ = try await cache.flush(to: .written) }
  }

  func settle() async throws {
    let cache = try #require(cache)
    durable = try await patiently { try await cache.settle().rawValue }
  }

  func advance(_ duration: Duration) {
    clock.advance(by: duration)
    scheduler.runTimers()
  }

  /// Lets time pass until journal and store are well again, or the power is out.
  func heal() async throws {
    for _ in 0..<40 {
      let statistics = try #require(cache).statistics
      if statistics.journalTrouble == nil, statistics.storeTrouble == nil { return }
      advance(.seconds(2))
    }
    Issue.record("it doesn't recover: \(try #require(cache).statistics)")
  }

  private func note() {
    guard let sequence = cache?.stateDigest.sequence else { return }
    history.append((sequence, values))
  }

  /// Runs an operation; where it waits for time to pass, that passes.
  @discardableResult
  private func patiently<R: Sendable>(
    _ body: @escaping @Sendable () async throws -> R
  ) async throws -> R {
    var waits = 0
    return try await scheduler.run(
      whenIdle: {
        waits += 1
        // Nothing can end an operation that nobody will answer.
        precondition(waits < 200, "an operation hangs")
        advance(.seconds(1))
      }, body)
  }

  // MARK: Checking

  /// What a recovered cache serves must be what was there as of its last event.
  func checkRecovered(_ what: String) async throws {
    let last = try #require(cache).recovery.lastSequence
    for (key, found) in try await everything() where !(mayLoseValues && found == nil) {
      let isRight = found == values[key]
      #expect(isRight, "\(what): \(key) is \(name(found)), not \(name(values[key])) as of \(last)")
    }
    if mayLoseValues { values = try await everything().compactMapValues(\.self) }
  }

  /// After a salvage, or where the disk has lied: what is served must have been there once.
  func checkNothingInvented(_ what: String) async throws {
    let all = try await everything()
    for (key, found) in all {
      let wasSet = found.map { found in sets.contains { $0.key == key && $0.value == found } }
      #expect(wasSet != false, "\(what): \(key) was never \(name(found))")
    }
    values = all.compactMapValues(\.self)
  }

  /// Which `set` a value comes from.
  private func name(_ value: [UInt8]?) -> String {
    value.map { value in "set \(sets.firstIndex { $0.value == value } ?? -1)" } ?? "absent"
  }

  private func everything() async throws -> [String: [UInt8]?] {
    let cache = try #require(cache)
    var all: [String: [UInt8]?] = [:]
    for number in 0..<Self.keyCount {
      let key = try CacheKey("k:\(number)")
      all["k:\(number)"] = .some(try await patiently { try await cache.get(key) })
    }
    return all
  }

  /// Works a little without faults, closes, and checks that nothing is left behind: the journal
  /// verifies, the store's rows are the model's, no file and no connection is open.
  /// - Parameter isDamaged: whether files are left that verify must go on naming.
  func finish(_ what: String, isDamaged: Bool = false) async throws {
    injector.setOn(false)
    if let refused = await openIfNeeded() {
      Issue.record("\(what): refused without a fault: \(refused)")
      return
    }
    try await heal()
    try await set("k:0")
    try await get("k:1")
    try await settle()
    let digest = try #require(cache).stateDigest
    #expect(try await close() == nil, "\(what)")
    let verified = Verifier(storage) { nil }.run()
    #expect(isDamaged || verified.isSound, "\(what): \(verified.problems)")
    #expect(verified.lastSequence == digest.sequence + 1, "\(what)")
    let rows = Dictionary(
      store.rows.map { (String(decoding: $0.key, as: UTF8.self), Array($0.value)) },
      uniquingKeysWith: { $1 })
    let isRight = rows == values && rows.count == store.rows.count
    #expect(
      isRight,
      "\(what): \(store.rows.count) rows, \(rows.keys.sorted()) for \(values.keys.sorted())")
    #expect(store.connectionCount == 0 && storage.openFileCount == 0, "\(what): a leak")
  }

  private func openIfNeeded() async -> CacheError? { cache == nil ? await open() : nil }
}
