import HindsightTesting
import Testing

@testable import HindsightCore

/// Events and checkpoints that nobody honest wrote, with every checksum right: they are refused or
/// taken, but nothing traps, and nothing takes longer than their number allows.
@Suite("S040 hostile events and checkpoints")
struct HostileStateTests {
  private func opened(store: UInt64) -> Opened {
    Opened(
      memoryLimit: TierLimit(entryCountMax: .max), storeLimit: TierLimit(entryCountMax: store),
      memoryTTL: Microseconds(rawValue: .max), storeTTL: Microseconds(rawValue: .max),
      accessLog: .recency, formatVersion: 1, softwareVersion: "", bootID: 0)
  }

  private func image(_ origin: UInt64, key: UInt64, setAt: Int64 = 0) -> EntryImage {
    EntryImage(
      key: withUnsafeBytes(of: key) { Bytes($0) },
      numbers: EntryNumbers(
        origin: SequenceNumber(origin), setAt: Timestamp(rawValue: setAt), coder: 1,
        valueByteCount: 0, valueHash: 0, memoryExpiry: nil, storeExpiry: Timestamp(rawValue: .max)))
  }

  @Test("limits whose sum overflows are limits like any other")
  func limits() throws {
    var state = CacheState()
    var effects: [Effect] = []
    try state.apply(
      Record(sequence: SequenceNumber(1), at: .zero, event: .opened(opened(store: .max))),
      into: &effects)
    state.checkInvariants()
  }

  @Test("an entry set before time began, or after the state's own time, is refused")
  func times() {
    for (head, setAt) in [(Int64(5), Int64(6)), (5, -1), (.max, .min)] {
      var state = CacheState()
      state.restore(
        StateHead(
          sequence: SequenceNumber(9), at: Timestamp(rawValue: head), opened: opened(store: 9),
          isClosed: false), orderIsTold: true)
      do throws(StateError) {
        try state.restore(image(1, key: 1, setAt: setAt))
        Issue.record("set at \(setAt) was taken")
      } catch {
        #expect(error == .impossibleResidency(SequenceNumber(1)))
      }
    }
  }

  @Test(
    "entries of a state that has no configuration are refused: nothing says how many it may have")
  func unconfigured() {
    var state = CacheState()
    state.restore(
      StateHead(sequence: SequenceNumber(9), at: .zero, opened: nil, isClosed: true),
      orderIsTold: true)
    var memory = image(1, key: 1)
    (memory.numbers.memoryExpiry, memory.numbers.storeExpiry) = (Timestamp(rawValue: .max), nil)
    do throws(StateError) {
      try state.restore(memory)
      Issue.record("it was taken")
    } catch {
      #expect(error == .impossibleResidency(SequenceNumber(1)))
    }
  }

  @Test("a checkpoint's entry is in a tier that the cache has, within its limits and possible")
  func entries() {
    func refusal(_ opened: Opened, _ change: (inout EntryImage) -> Void) -> StateError? {
      var state = CacheState()
      state.restore(
        StateHead(sequence: SequenceNumber(9), at: .zero, opened: opened, isClosed: true),
        orderIsTold: true)
      var entry = image(1, key: 1)
      change(&entry)
      do throws(StateError) {
        try state.restore(entry)
        return nil
      } catch {
        return error
      }
    }
    var memoryOnly = opened(store: 1)
    memoryOnly.storeLimit = nil
    let impossible = StateError.impossibleResidency(SequenceNumber(1))
    #expect(refusal(opened(store: 1)) { _ in } == nil)
    #expect(refusal(memoryOnly) { _ in } == impossible)
    #expect(refusal(opened(store: 1)) { $0.numbers.storeExpiry = nil } == impossible)
    let longest = UInt32(Bounds.valueByteCountMax)
    #expect(refusal(opened(store: 1)) { $0.numbers.valueByteCount = longest } == nil)
    #expect(refusal(opened(store: 1)) { $0.numbers.valueByteCount = longest + 1 } == impossible)
    #expect(
      refusal(opened(store: 1)) { $0.numbers.origin = SequenceNumber(10) }
        == .duplicateKey(SequenceNumber(10)))
    #expect(refusal(opened(store: 1)) { $0.key = [] } == .keyLength(0))
    var small = opened(store: 1)
    small.storeLimit?.byteCountMax = 7
    #expect(refusal(small) { _ in } == .limitExceeded(.store))
  }

  @Test(
    "a checkpoint with the same key or origin twice: the second is refused, and nothing else changes"
  )
  func duplicates() throws {
    var state = CacheState(hashSeed: 3)
    let at = Timestamp(rawValue: 5)
    let head = StateHead(
      sequence: SequenceNumber(90), at: at, opened: opened(store: 90), isClosed: false)
    state.restore(head, orderIsTold: true)
    for number: UInt64 in 1...20 { try state.restore(image(90 - number, key: number)) }
    for (twice, origin) in [(image(3, key: 7), UInt64(3)), (image(80, key: 30), 80)] {
      do throws(StateError) {
        try state.restore(twice)
        Issue.record("\(twice) was taken")
      } catch {
        #expect(error == .duplicateKey(SequenceNumber(origin)))
      }
    }
    state.checkInvariants()
    #expect(state.entryCount == 20)
    let replaced = state.find(origin: SequenceNumber(3))
    #expect(replaced == nil)
    try state.restore(image(2, key: 31))
    state.checkInvariants()
    state.finishRestore()
    state.checkInvariants()
  }

  /// Origins that differ only in bits which a plain multiplication never moves into a table's mask
  /// made each restore a walk through all those before it: 100,000 took minutes.
  @Test("chosen origins don't collide")
  func origins() throws {
    var state = CacheState(hashSeed: 7)
    let count: UInt64 = 100_000
    state.restore(
      StateHead(
        sequence: SequenceNumber(1 << 62), at: .zero, opened: opened(store: count),
        isClosed: false), orderIsTold: true)
    for number in 1...count { try state.restore(image(number << 44, key: number)) }
    var tags = Set<UInt32>()
    for number in 1...count { tags.insert(state.tag(of: SequenceNumber(number << 44)) & 0x3_FFFF) }
    // Thrown by chance into 2^18 boxes, they would be in some 83,000 of them.
    #expect(tags.count > 60_000)
  }
}
