import HindsightCore
import HindsightJournal
import HindsightReplay
import HindsightStore

/// What must hold of any directory, whoever wrote it: reading it twice gives the same, and changes
/// nothing; every event that is let in leaves the state sound; what is opened ends where a verification
/// says, and, salvaged or not, can be opened again.
struct FuzzedJournal {
  private let storage: SimulatedStorage

  init(_ storage: SimulatedStorage) { self.storage = storage }

  func check() -> String? {
    let before = storage.names.map { storage.bytes(of: $0) }
    let first = verify(storage)
    let second = verify(storage)
    guard first.digest == second.digest, first.problems == second.problems,
      first.lastSequence == second.lastSequence
    else { return "two verifications differ" }
    guard storage.names.map({ storage.bytes(of: $0) }) == before else {
      return "a verification changed something"
    }
    for salvages in [false, true] {
      if let broken = open(storage.copy(), salvages: salvages, first) { return broken }
    }
    return nil
  }

  private func verify(_ storage: SimulatedStorage) -> Verification {
    Verifier(storage) { () throws(StoreError) in nil }.run()
  }

  private func open(
    _ storage: SimulatedStorage, salvages: Bool, _ verification: Verification
  ) -> String? {
    let before = storage.names.map { storage.bytes(of: $0) }
    let sink = SoundSink()
    let again = SoundSink()
    var random = SplitMix64(seed: 1)
    let seed = random.next()
    let options = JournalOptions(
      segmentByteCount: 64 << 10, random: { seed }, now: { Timestamp(microseconds: 1) })
    do throws(JournalError) {
      let recovery = JournalRecovery(storage, options, store: nil)
      let opened = try recovery.open(from: .newest, salvages: salvages, into: sink)
      if verification.isSound, opened.report.last.rawValue != verification.lastSequence {
        return "a verification finds nothing wrong, but what is opened ends elsewhere"
      }
      do throws(StorageError) { try opened.writer.close() } catch { return "close: \(error)" }
      do throws(JournalError) {
        _ = try recovery.open(from: .newest, salvages: false, into: again)
      } catch {
        return "what was opened can't be opened again: \(error)"
      }
    } catch {
      var isNewerVersion = false
      if case .corrupt(let damage) = error { isNewerVersion = damage.isNewerVersion }
      if salvages, !isNewerVersion { return "a salvage fails: \(error)" }
      return storage.names.map { storage.bytes(of: $0) } == before ? nil : "refused, but changed"
    }
    sink.check()
    return nil
  }
}

/// A state whose structures are checked as it grows.
private final class SoundSink: ReplaySink {
  private var state = CacheState(hashSeed: 1)
  private var effects: [Effect] = []
  private var count = 0

  func begin() { state = CacheState(hashSeed: 1) }
  func restore(_ head: StateHead) {
    state.restore(head)
  }
  var hashSeed: UInt64 { state.hashSeed }
  func restore(_ image: LentImage, value: UnsafeRawBufferPointer?) throws(StateError) {
    try state.restore(image)
  }
  func finishRestore(digest: UInt64) throws(StateError) {
    try state.finishRestore(digest: digest)
    state.checkInvariants()
  }
  func apply(_ record: Record) throws(StateError) {
    effects.removeAll(keepingCapacity: true)
    try state.apply(record, into: &effects)
    count += 1
    // After every event while there are few; both limits are among the invariants.
    if count < 64 || count.isMultiple(of: 64) { state.checkInvariants() }
  }
  func endFrame(at position: JournalPosition) {}
  func check() { state.checkInvariants() }
}
