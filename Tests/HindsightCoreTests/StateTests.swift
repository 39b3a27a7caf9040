import HindsightCore
import HindsightTesting
import Testing

/// The state machine beside a model, step by step; a failure names its seed and step.
@Suite("S040 state machine")
struct StateTests {
  private static func configuration(_ random: inout SplitMix64) -> Opened {
    let memory = UInt64.random(in: 1...6, using: &random)
    let hasStore = Int.random(in: 0..<4, using: &random) > 0
    let hasBytes = Int.random(in: 0..<3, using: &random) == 0
    let store = memory + UInt64.random(in: 0...6, using: &random)
    return Opened(
      memoryLimit: TierLimit(entryCountMax: memory, byteCountMax: hasBytes ? 30 : nil),
      storeLimit: hasStore
        ? TierLimit(entryCountMax: store, byteCountMax: hasBytes ? 60 : nil) : nil,
      memoryTTL: .seconds(Int64.random(in: 1...20, using: &random)),
      storeTTL: .seconds(Int64.random(in: 1...40, using: &random)),
      accessLog: AccessLog.allCases.randomElement(using: &random)!, formatVersion: 1,
      softwareVersion: "test", bootID: 1)
  }

  /// One history: a live state, the model, and a replica that only applies.
  private struct Run: ~Copyable {
    var live = CacheState(hashSeed: 1)
    var replica = CacheState(hashSeed: 2)
    var model: Model
    var random: SplitMix64
    var now = Timestamp(microseconds: 1_000_000)
    var decision = Decision()

    init(seed: UInt64) {
      random = SplitMix64(seed: seed)
      let opened = StateTests.configuration(&random)
      model = Model(opened: opened)
      live.decideOpen(opened, at: now, into: &decision)
    }

    private mutating func key() -> Bytes {
      let registries = ["pypi:", "npm:", ""]
      return Bytes(
        (registries.randomElement(using: &random)! + "k\(Int.random(in: 0..<6, using: &random))")
          .utf8)
    }

    private mutating func ttl() -> Microseconds? {
      let seconds: [Int64?] = [nil, 0, 5, 30]
      return seconds.randomElement(using: &random)!.map { Microseconds.seconds($0) }
    }

    mutating func step(_ what: String) throws {
      now = now.adding(Microseconds(rawValue: Int64.random(in: 0...3_000_000, using: &random)))
      switch Int.random(in: 0..<12, using: &random) {
      case 10: reopen()
      case 11: lose()
      case 0..<4: try set(what)
      case 4..<7: get(what)
      case 7: invalidate(what)
      case 8:
        let prefix = Bytes(["pypi:", "npm:", "", "pypi:k1"].randomElement(using: &random)!.utf8)
        let expected = model.clear(prefix, at: now)
        let cleared = live.decideClear(prefix: prefix, reason: nil, at: now, into: &decision)
        #expect(cleared == expected, "\(what): clear")
      default:
        model.expire(now)
        while live.decideSweep(at: now, entryCountMax: 2, into: &decision) > 0 {}
      }
      try check(what)
    }

    private mutating func set(_ what: String) throws {
      let length = Int.random(in: 0...24, using: &random)
      let command = SetCommand(
        key: key(), value: Bytes(repeating: 7, count: length), coder: 2, memoryTTL: ttl(),
        storeTTL: ttl(), reason: nil)
      let eventCount = decision.records.count
      do throws(SetRefusal) {
        try live.decideSet(command, at: now, into: &decision)
      } catch {
        #expect(command.value.count + command.key.count > 30, "\(what): \(error)")
        #expect(decision.records.count == eventCount, "\(what): a refused set left events")
        return
      }
      model.set(command, at: now, origin: live.head.sequence)
    }

    private mutating func get(_ what: String) {
      let key = key()
      let expected = model.get(key, at: now)
      guard let slot = live.find(key) else {
        #expect(expected == nil, "\(what): get")
        return
      }
      if live.isLive(slot, in: .memory, at: now) {
        #expect(expected?.0 == .memory, "\(what): get")
        if live.head.opened?.accessLog == .lookups {
          live.decideLookedUp(
            .origin(live.origin(of: slot)), .memoryHit, at: now, into: &decision)
        } else {
          live.touch(slot)
        }
      } else if live.isLive(slot, in: .store, at: now) {
        #expect(expected?.0 == .store, "\(what): get")
        live.decideExpire(slot, at: now, into: &decision)
        _ = live.decidePromote(slot, at: now, into: &decision)
      } else {
        #expect(expected == nil, "\(what): get")
        live.decideExpire(slot, at: now, into: &decision)
      }
    }

    private mutating func invalidate(_ what: String) {
      let key = key()
      let expected = model.invalidate(key, at: now)
      #expect(
        live.decideInvalidate(key, reason: "r", at: now, into: &decision) == expected,
        "\(what): invalidate")
    }

    /// Closes it, and opens it with another configuration.
    private mutating func reopen() {
      live.decideClose(at: now, into: &decision)
      let opened = StateTests.configuration(&random)
      while live.decideShrink(to: opened, at: now, into: &decision) {}
      live.decideOpen(opened, at: now, entryCountMax: 3, into: &decision)
      while live.decideOrder(at: now, entryCountMax: 3, into: &decision) {}
      model.reopen(opened, at: now)
    }

    /// A tier turns out not to have a value.
    private mutating func lose() {
      let key = key()
      let tier = Tier.allCases.randomElement(using: &random)!
      guard let slot = live.find(key), live.isLive(slot, in: tier, at: now) else { return }
      live.decideLost(slot, tier, at: now, into: &decision)
      model.lose(key, tier, at: now)
    }

    private mutating func check(_ what: String) throws {
      live.checkInvariants()
      if Int.random(in: 0..<4, using: &random) == 0 {
        live.decideTouches(at: now, into: &decision)
        try replay(what)
      }
      model.expire(now)
      for tier in Tier.allCases {
        #expect(live.liveCount(in: tier, at: now) == model.count(tier), "\(what): \(tier) count")
      }
      var entries: [Model.Entry] = []
      live.forEachSlot { slot in
        let image = live.image(of: slot)
        let isInMemory = live.isLive(slot, in: .memory, at: now)
        let isInStore = live.isLive(slot, in: .store, at: now)
        guard isInMemory || isInStore else { return }
        entries.append(
          Model.Entry(
            key: image.key, value: Bytes(repeating: 7, count: Int(image.valueByteCount)),
            origin: image.origin, memoryExpiry: isInMemory ? image.memoryExpiry : nil,
            storeExpiry: isInStore ? image.storeExpiry : nil))
      }
      #expect(entries == model.entries, "\(what)")
    }

    /// The same events give the same state and digest, whatever the seed of the hash.
    private mutating func replay(_ what: String) throws {
      var effects: [Effect] = []
      for record in decision.records {
        try replica.apply(record, into: &effects)
        replica.checkInvariants()
      }
      decision.removeAll()
      #expect(replica.digest == live.digest, "\(what): digest")
    }
  }

  @Test("agrees with a model, and a replica that only applies its events agrees with it")
  func property() throws {
    for seed in 1...300 as ClosedRange<UInt64> {
      var run = Run(seed: seed)
      for step in 0..<60 { try run.step("seed \(seed), step \(step)") }
    }
  }

  // MARK: What a set tells

  /// What a set decides beside its own event: entries of 2 bytes, memory for 2 of them or 10 bytes.
  private func besideSet(
    of key: String, byteCount: Int, after keys: [String]
  ) throws -> [Event] {
    var opened = Opened.small
    opened.memoryLimit.byteCountMax = 10
    var state = CacheState()
    var decision = Decision()
    let now = Timestamp(microseconds: 1)
    func set(_ key: String, _ byteCount: Int) throws {
      let command = SetCommand(
        key: Bytes(key.utf8), value: Bytes(repeating: 7, count: byteCount), coder: 2,
        memoryTTL: nil, storeTTL: nil, reason: nil)
      try state.decideSet(command, at: now, into: &decision)
    }
    state.decideOpen(opened, at: now, into: &decision)
    for key in keys { try set(key, 1) }
    decision.removeAll()
    try set(key, byteCount)
    return decision.records.dropLast().map(\.event)
  }

  @Test("INV017 a set tells the order of use only where what it replaces would be the victim")
  func toldBySet() throws {
    // a (2), b (3), c (4): a is in the store only, and memory has room for one of the others.
    let b = Event.evicted(origin: SequenceNumber(3), tier: .memory, cause: .limit)
    #expect(try besideSet(of: "a", byteCount: 1, after: ["a", "b", "c"]) == [b])
    // Both in memory, a being the least recent there: b must go, since a becomes the most recent.
    let toldA = Event.touched([SequenceNumber(2)])
    #expect(try besideSet(of: "a", byteCount: 8, after: ["a", "b"]) == [toldA, b])
  }

  @Test("touches are counted as many, however often the order was told before")
  func manyTouches() throws {
    var opened = Opened.small
    opened.memoryLimit.entryCountMax = 1 << 20
    opened.storeLimit = nil
    var state = CacheState()
    var decision = Decision()
    let now = Timestamp(microseconds: 1)
    state.decideOpen(opened, at: now, into: &decision)
    func touchAll(_ keys: Range<Int>) -> Bool {
      for key in keys { state.touch(state.find(Bytes("\(key)".utf8))!) }
      defer {
        state.decideTouches(at: now, into: &decision)
        decision.removeAll()
        let isStillMuch = state.hasManyUntoldTouches
        #expect(!isStillMuch, "all of them are told")
      }
      return state.hasManyUntoldTouches
    }
    func set(_ keys: Range<Int>) throws {
      for key in keys {
        let command = SetCommand(
          key: Bytes("\(key)".utf8), value: [1], coder: 2, memoryTTL: nil, storeTTL: nil,
          reason: nil)
        try state.decideSet(command, at: now, into: &decision)
      }
      decision.removeAll()
    }
    // New entries each time.
    let count = Bounds.untoldCountMax + 8
    for round in 0..<260 {
      try set(0..<count)
      #expect(touchAll(1..<count), "round \(round)")
    }
    // The same ones at a regular distance: only by chance are they left out.
    let groups = 128
    try set(0..<groups * count)
    var leftOut = 0
    for round in 0..<3 * groups {
      let start = round % groups * count
      if !touchAll(start..<start + count) { leftOut += 1 }
    }
    #expect(leftOut < 16, "\(leftOut) groups")
  }

  // MARK: Time

  @Test("INV016 time never goes back, and never stands still while real time passes")
  func timeline() {
    func reading(_ wall: Int64, _ boot: Int64) -> ClockReading {
      ClockReading(wall: Timestamp(microseconds: wall), boot: Microseconds(rawValue: boot))
    }
    var time = Timeline(reading(1_000, 10))
    #expect(time.now(reading(1_005, 15), last: .zero).rawValue == 1_005)
    // The wall clock steps back: the boot clock goes on.
    #expect(time.now(reading(200, 25), last: .zero).rawValue == 1_015)
    // A leap forward is believed, and then advances normally.
    #expect(time.now(reading(9_000, 30), last: .zero).rawValue == 9_000)
    #expect(time.now(reading(300, 40), last: .zero).rawValue == 9_010)
    // Never before the last event.
    #expect(time.now(reading(300, 41), last: Timestamp(microseconds: 10_000)).rawValue == 10_000)
    // A reopening in the same boot measures what elapsed; in another one it can't.
    var same = Timeline(
      reading(500, 140), lastAt: Timestamp(microseconds: 9_000),
      lastBoot: Microseconds(rawValue: 40))
    #expect(same.now(reading(500, 140), last: .zero).rawValue == 9_100)
    var other = Timeline(reading(500, 5), lastAt: Timestamp(microseconds: 9_000), lastBoot: nil)
    #expect(other.now(reading(500, 5), last: .zero).rawValue == 9_000)
  }
}
