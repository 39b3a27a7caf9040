import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightStore
import HindsightTesting

/// One cache directory, and one process after another at work in it.
final class Session {
  let directory: String
  let setup: Setup
  private(set) var problems: [String] = []
  private let executable: String
  private let firmness: Life.Firmness
  private var model = Model(keyCount: Setup.keyCount, groupCount: 6)
  private var random: SplitMix64
  private var nextValue: UInt64 = 0
  private var crashedAt = Life.now()

  init(
    _ executable: String, _ directory: String, _ setup: Setup, firmness: Life.Firmness,
    seed: UInt64
  ) {
    (self.executable, self.directory, self.setup) = (executable, directory, setup)
    self.firmness = firmness
    random = SplitMix64(seed: seed)
  }

  /// Starts a process, checks what it finds, lets it live and die.
  /// - Parameters:
  ///   - mayRefuse: whether the cache may not open.
  ///   - hasFaults: whether its operations may fail.
  ///   - during: is told of the process once it has started.
  @discardableResult
  func live(
    _ plan: Plan, _ tally: inout Tally.Part, mayRefuse: Bool = false, hasFaults: Bool = false,
    during: (Life) throws -> Void = { _ in }
  ) throws -> Life {
    let life = try Life(
      executable, directory, setup, plan, model, firmness, hasFaults: hasFaults,
      seed: random.next(), nextValue: nextValue)
    var checked: Tally.Part = tally
    life.onFound = { [self] found in
      checked.acknowledgedChecked += model.firm
      examine(found, &checked)
      return model
    }
    try during(life)
    try life.run()
    tally = checked
    note(life, &tally, mayRefuse: mayRefuse, hasFaults: hasFaults)
    return life
  }

  func report(_ problem: String) { problems.append(problem) }

  // MARK: What a process found

  private func examine(_ found: [Model.Observation], _ tally: inout Tally.Part) {
    var found = found
    if setup.isTight { explainMisses(&found) }
    problems += model.problems(found, isOneStream: setup.isOneStream, crashedAt: crashedAt)
    model.adopt(found)
    verify(&tally)
  }

  /// Where room had to be made, the journal must say so.
  private func explainMisses(_ found: inout [Model.Observation]) {
    var last: [String: UInt64] = [:]
    var evicted: [String: UInt64] = [:]
    do {
      _ = try EventStream(try PosixStorage(path: directory)).replay { event in
        guard let key = event.key.map({ String(decoding: $0, as: UTF8.self) }) else { return }
        switch event.record.event {
        case .set(let set):
          last[key] = Lines.number(json: set.value)
          evicted[key] = nil
        case .evicted(_, let tier, .limit) where (tier == .store) == self.setup.usesStore:
          evicted[key] = last[key]
        default: break
        }
      }
    } catch {
      problems.append("the history can't be read: \(error)")
    }
    for key in found.indices where found[key].value == nil {
      found[key].evicted = evicted[Lines.key(key, group: model.group(of: key))]
    }
  }

  /// In this process, beside the one that has the cache open.
  func verify(_ tally: inout Tally.Part) {
    tally.verifications += 1
    do {
      let directory = directory
      let isStoreThere = setup.usesStore
      let verified = Verifier(try PosixStorage(path: directory)) { () throws(StoreError) in
        isStoreThere ? try StoreInspector(directory: directory) : nil
      }.run()
      for problem in verified.problems {
        problems.append("verify: \(problem.file) \(problem.offset ?? 0): \(problem.message)")
      }
    } catch {
      problems.append("verify: \(error)")
    }
  }

  // MARK: How it ended

  private func note(
    _ life: Life, _ tally: inout Tally.Part, mayRefuse: Bool, hasFaults: Bool
  ) {
    problems += life.problems
    nextValue = life.valuesUsed
    tally.operations += life.askedOperations
    tally.refusedOperations += life.refusedOperations
    tally.openings += 1
    // Where it died before all was read back, everything is as open as it was.
    if life.isReadBack {
      model = life.model
      crashedAt = Life.now()
    }
    switch life.ending {
    case .killed(SIGKILL):
      if life.isKilledByUs { tally.kills += 1 } else { tally.killsAtFailpoints += 1 }
      if life.phase == .recovering { tally.killedInRecovery += 1 }
      if life.phase == .closing { tally.killedInClosing += 1 }
    case .killed(let signal):
      problems.append("it died of signal \(signal): \(life.errors.suffix(2_000))")
    case .exited(0):
      tally.cleanEnds += 1
      model.holdFirm()
      if life.phase != .closing { problems.append("it ended too early: \(life.errors)") }
    case .exited(let code):
      // 3: the journal can't be opened.
      let isExpected = code == 3 && life.phase == .recovering && mayRefuse
      if isExpected { tally.refusedOpenings += 1 }
      if !isExpected, !(hasFaults && life.phase == .closing) {
        problems.append("it ended with code \(code): \(life.errors.suffix(2_000))")
      }
    }
  }
}
