import HindsightCore
import HindsightTesting
import Testing

/// A capture gives the state as it was when it began, whatever happens while it is walked.
@Suite("S040 captures")
struct CaptureTests {
  private struct Expected: Equatable {
    var image: EntryImage
    var value: Bytes?
  }

  /// A live state with the values that a shell keeps beside it.
  private struct Run: ~Copyable {
    var live = CacheState(hashSeed: 1)
    var values: [Slot: Bytes] = [:]
    var random: SplitMix64
    var now = Timestamp(microseconds: 1_000_000)
    var decision = Decision()

    init(seed: UInt64) {
      random = SplitMix64(seed: seed)
      let memory = UInt64.random(in: 5...30, using: &random)
      let opened = Opened(
        memoryLimit: TierLimit(entryCountMax: memory),
        storeLimit: TierLimit(
          entryCountMax: memory + UInt64.random(in: 0...30, using: &random)),
        memoryTTL: .seconds(20), storeTTL: .seconds(60),
        accessLog: AccessLog.allCases.randomElement(using: &random)!, formatVersion: 1,
        softwareVersion: "test", bootID: 1)
      live.decideOpen(opened, at: now, into: &decision)
      for _ in 0..<100 { step() }
    }

    mutating func step() {
      now = now.adding(Microseconds(rawValue: Int64.random(in: 0...500_000, using: &random)))
      let key = Bytes("k\(Int.random(in: 0..<80, using: &random))".utf8)
      switch Int.random(in: 0..<40, using: &random) {
      case 0..<18: set(key)
      case 18..<33: get(key)
      case 33..<38: _ = live.decideInvalidate(key, reason: nil, at: now, into: &decision)
      case 38:
        _ = live.decideClear(prefix: Bytes("k3".utf8), reason: nil, at: now, into: &decision)
      default: _ = live.decideSweep(at: now, into: &decision)
      }
      absorb(nil)
    }

    private mutating func set(_ key: Bytes) {
      let value = Bytes((0..<4).map { _ in UInt8.random(in: 0...255, using: &random) })
      let ttl: [Microseconds?] = [nil, .seconds(3), .seconds(30)]
      let command = SetCommand(
        key: key, value: value, coder: 2, memoryTTL: ttl.randomElement(using: &random)!,
        storeTTL: ttl.randomElement(using: &random)!, reason: nil)
      do throws(SetRefusal) {
        try live.decideSet(command, at: now, into: &decision)
      } catch {
        Issue.record("\(error)")
      }
      absorb(value)
    }

    private mutating func get(_ key: Bytes) {
      guard let slot = live.find(key) else { return }
      if live.isLive(slot, in: .memory, at: now) { return live.touch(slot) }
      guard live.decideExpire(slot, at: now, into: &decision) else { return }
      _ = live.decidePromote(slot, at: now, into: &decision)
    }

    /// What a shell does: values of pictures first, then the effects.
    private mutating func absorb(_ value: Bytes?) {
      giveValues()
      for effect in decision.effects {
        if case .inserted(let slot) = effect { values[slot] = value }
        if case .removed(let slot, _, _) = effect { values[slot] = nil }
      }
      decision.removeAll()
    }

    mutating func giveValues() {
      while let slot = live.unvaluedSlot { live.giveCaptured(values[slot]) }
    }

    func picture() -> [Expected] {
      var all: [Expected] = []
      live.forEachSlot { all.append(Expected(image: live.image(of: $0), value: values[$0])) }
      return all
    }

    /// Everything is cleared, slot by slot beside a capture.
    mutating func clear() {
      _ = live.decideClear(prefix: [], reason: nil, at: now, into: &decision)
      absorb(nil)
    }

    /// Walks a capture, with up to `stepCountMax` other decisions before each slice.
    mutating func capture(stepCountMax: Int) -> (entries: [Expected], digest: UInt64) {
      _ = live.beginCapture()
      var digest = StateDigest(live.head, orderIsTold: live.orderIsTold)
      let orderIsTold = live.orderIsTold
      var entries: [Expected] = []
      var slice = CapturedSlice()
      while true {
        for _ in 0..<Int.random(in: 0...stepCountMax, using: &random) { step() }
        giveValues()
        let hasMore = live.takeCaptured(Int.random(in: 1...5, using: &random), into: &slice)
        slice.forEachEntry { key, entry in
          let value = entry.slot.map { values[$0] } ?? entry.value
          let image = EntryImage(key: Bytes(key), numbers: entry.numbers)
          entries.append(Expected(image: image, value: value))
        }
        slice.removeAll()
        if !hasMore { break }
      }
      _ = live.endCapture()
      let inOrder = orderIsTold ? entries : entries.sorted { $0.image.origin < $1.image.origin }
      for entry in inOrder { digest.add(entry.image) }
      return (entries, digest.value)
    }
  }

  @Test("gives every entry once, in order, with its value, and the digest of its moment")
  func property() {
    for seed in 1...200 as ClosedRange<UInt64> {
      var run = Run(seed: seed)
      for stepCountMax in [0, 3, 30, 200] {
        let (expected, digest) = (run.picture(), run.live.digest)
        let captured = run.capture(stepCountMax: stepCountMax)
        #expect(captured.entries == expected, "seed \(seed), \(stepCountMax) steps a slice")
        #expect(captured.digest == digest, "seed \(seed), \(stepCountMax) steps a slice")
        run.live.checkInvariants()
      }
    }
  }

  @Test("what is cleared while it is walked is in it all the same")
  func cleared() {
    for seed in 1...50 as ClosedRange<UInt64> {
      var run = Run(seed: seed)
      let expected = run.picture()
      _ = run.live.beginCapture()
      var slice = CapturedSlice()
      var hasMore = run.live.takeCaptured(3, into: &slice)
      var values: [Bytes?] = slice.entries.map { $0.slot.flatMap { run.values[$0] } }
      run.clear()
      for _ in 0..<20 { run.step() }
      run.giveValues()
      while hasMore {
        let taken = slice.entries.count
        hasMore = run.live.takeCaptured(5, into: &slice)
        values += slice.entries[taken...].map { $0.slot.map { run.values[$0] } ?? $0.value }
      }
      var images: [EntryImage] = []
      slice.forEachEntry { images.append(EntryImage(key: Bytes($0), numbers: $1.numbers)) }
      #expect(images == expected.map(\.image), "seed \(seed)")
      #expect(values == expected.map(\.value), "seed \(seed)")
      _ = run.live.endCapture()
      run.live.checkInvariants()
    }
  }

  @Test("one that is given up leaves the next one whole")
  func givenUp() {
    for seed in 1...50 as ClosedRange<UInt64> {
      var run = Run(seed: seed)
      _ = run.live.beginCapture()
      var slice = CapturedSlice()
      _ = run.live.takeCaptured(3, into: &slice)
      for _ in 0..<20 { run.step() }
      let expected = run.picture()
      #expect(run.capture(stepCountMax: 5).entries == expected, "seed \(seed)")
    }
  }

  @Test("one that is replaced is handed out, not let go of where others wait")
  func replaced() {
    var run = Run(seed: 1)
    #expect(run.live.beginCapture() == nil)
    let first = run.live.beginCapture()
    #expect(first != nil)
    let second = run.live.endCapture()
    #expect(second != nil && second !== first)
    #expect(run.live.endCapture() == nil)
  }
}
