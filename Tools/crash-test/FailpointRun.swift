import Foundation
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting

extension Laboratory {
  /// SIGKILL, errors and delays at every failpoint.
  func runFailpoints(_ part: inout Tally.Part) throws {
    for name in Failpoints.names where name.hasPrefix(failpoint) {
      var firings = 0
      var setup = Setup(using: &random)
      // Rotations and checkpoints within a few hundred operations.
      setup.segmentBytes = 64 << 10
      if name.hasPrefix("store.") {
        setup.usesStore = true
        setup.memoryEntries = 3
      }
      if name.contains("remove") {
        // With room for all: what explains an eviction may be among what is removed.
        (setup.memoryEntries, setup.storeEntries) = (setup.usesStore ? 10 : 100, 100)
        setup.retentionBytes = 128 << 10
      }
      // While the journal fails, a write that goes on in memory is no more than enqueued.
      let session = session(setup, firmness: setup.continuesInMemory ? .durable : .written)
      try session.live(Plan(operations: 100), &part)
      for passage in passages {
        firings += try fire("\(name):\(passage)", session, &part, hasFaults: false)
        guard isSound(session, &part, "failpoint \(name):\(passage)") else { return }
      }
      for action in ["1:error:EIO", "3-40:error:ENOSPC", "1-3:delay:10"] {
        firings += try fire("\(name):\(action)", session, &part, hasFaults: true)
        guard isSound(session, &part, "failpoint \(name):\(action)") else { return }
      }
      if firings == 0 { part.neverFired.append(name) }
      remove(session.directory)
    }
  }

  /// - Returns: how often it did something.
  private func fire(
    _ failpoint: String, _ session: Session, _ part: inout Tally.Part, hasFaults: Bool
  ) throws -> Int {
    try prepare(for: failpoint, session.directory)
    var plan = Plan(operations: 250)
    plan.failpoints = failpoint
    let life = try session.live(plan, &part, mayRefuse: hasFaults, hasFaults: hasFaults)
    // What it left is read back, and goes on.
    try session.live(Plan(operations: 30), &part)
    return countFirings(life.errors)
  }

  /// Brings about what leads a process to the place.
  private func prepare(for failpoint: String, _ directory: String) throws {
    if failpoint.hasPrefix("quarantine.") { try tearTail(directory) }
    if failpoint.hasPrefix("quarantine.remove") {
      try Data("left".utf8).write(
        to: URL(fileURLWithPath: directory + "/00000001.journal.77.quarantine.tmp"))
    }
    if failpoint.hasPrefix("checkpoint.remove") {
      try Data("left".utf8).write(
        to: URL(fileURLWithPath: directory + "/00009999.checkpoint.tmp"))
    }
    if failpoint.hasPrefix("segment.remove") {
      try Data("left".utf8).write(to: URL(fileURLWithPath: directory + "/00009999.journal.tmp"))
    }
    let isDamage = failpoint.hasPrefix("store.quarantine")
    guard isDamage || failpoint.hasPrefix("store.rows") else { return }
    for suffix in ["", "-wal", "-shm"] {
      let path = directory + "/" + StoreBounds.fileName + suffix
      if FileManager.default.fileExists(atPath: path) { remove(path) }
    }
    if isDamage {
      try Data(repeating: 0x5A, count: 8_192).write(
        to: URL(fileURLWithPath: directory + "/" + StoreBounds.fileName))
    }
  }

  /// Puts garbage behind the journal's end.
  private func tearTail(_ directory: String) throws {
    let end = try EventStream(try PosixStorage(path: directory)).replay { _ in }
    let path = directory + "/" + end.position.segmentName
    let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    try handle.seek(toOffset: end.position.byteOffset)
    try handle.write(
      contentsOf: Data((0..<300).map { _ in UInt8(truncatingIfNeeded: random.next()) }))
    try handle.close()
  }
}
