import HindsightJournal
import HindsightTesting
import Synchronization
import Testing

/// What others do while a sync is under way, the simulated disk doesn't count as synced.
@Suite("Syncs of the simulated storage")
struct SimulatedSyncTests {
  private let injector = FaultInjector(seed: 1)
  private let storage: SimulatedStorage

  init() { storage = SimulatedStorage(injector) }

  @Test("a sync covers what was written before it began, not what came before it ended")
  func writtenMeanwhile() throws {
    let file = try storage.create("a")
    try storage.syncDirectory()
    try file.write([1], at: 0)
    let others: @Sendable () throws -> Void = { try file.write([2], at: 1) }
    try meanwhile(.storage(.sync), others) { try file.sync() }
    #expect(storage.bytes(of: "a") == [1, 2])
    #expect(left.bytes(of: "a") == [1, 0])
    try file.sync()
    #expect(left.bytes(of: "a") == [1, 2])
  }

  @Test("two syncs at a time cover what each of them found")
  func twoAtATime() throws {
    let file = try storage.create("a")
    try storage.syncDirectory()
    try file.write([1], at: 0)
    let others: @Sendable () throws -> Void = {
      try file.write([2], at: 1)
      try file.sync()
      try file.write([3], at: 2)
    }
    try meanwhile(.storage(.sync), others) { try file.sync() }
    #expect(left.bytes(of: "a") == [1, 2, 0])
  }

  @Test("a directory sync covers the names that there were when it began")
  func namedMeanwhile() throws {
    let storage = storage
    _ = try storage.create("a")
    let other: @Sendable () throws -> Void = { _ = try storage.create("b") }
    try meanwhile(.storage(.syncDirectory), other) { try storage.syncDirectory() }
    #expect(storage.names == ["a", "b"])
    #expect(left.names == ["a"])
    // One that begins later and ends earlier has covered more.
    let others: @Sendable () throws -> Void = {
      _ = try storage.create("c")
      try storage.syncDirectory()
    }
    try meanwhile(.storage(.syncDirectory), others) { try storage.syncDirectory() }
    #expect(left.names == ["a", "b", "c"])
  }

  /// What a loss of power would leave: of what isn't synced, the files' lengths.
  private var left: SimulatedStorage { storage.crashImage { _, _ in false } }

  /// Has others do something once such a call of `work` has begun, before it ends.
  private func meanwhile(
    _ call: FaultInjector.Call, _ others: @escaping @Sendable () throws -> Void,
    _ work: () throws -> Void
  ) throws {
    let hasBegun = Mutex(false)
    injector.onCall { begun in
      let isFirst = hasBegun.withLock { hasBegun in
        defer { hasBegun = hasBegun || begun == call }
        return !hasBegun && begun == call
      }
      guard isFirst else { return }
      #expect(throws: Never.self) { try others() }
    }
    defer { injector.onCall { _ in } }
    try work()
    #expect(hasBegun.withLock { $0 })
  }
}
