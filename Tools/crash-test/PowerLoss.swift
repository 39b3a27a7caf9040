import Foundation
import HindsightTesting

extension Laboratory {
  /// SIGKILL, after which what was not synced is taken back.
  func runPowerLosses(_ part: inout Tally.Part) throws {
    if case .failure(let error) = shim.library {
      part.skipped = error.description
      return
    }
    let count = max(10, kills / 2)
    while part.kills + part.killsAtFailpoints < count {
      let session = session(Setup(using: &random), firmness: .durable)
      for _ in 0..<Int.random(in: 5...15, using: &random) {
        try losePower(session, &part)
        guard isSound(session, &part, "power loss \(part.kills)") else { return }
      }
      remove(session.directory)
    }
  }

  private func losePower(_ session: Session, _ part: inout Tally.Part) throws {
    var plan = randomPlan()
    plan.environment = try shim.environment(
      watching: session.directory, interrupt: 0, seed: random.next())
    if Int.random(in: 0..<3, using: &random) == 0 {
      (plan.killAfterMilliseconds, plan.killWorkingAfterMilliseconds) = (nil, nil)
      let name = Failpoints.names.filter { !$0.contains("quarantine") }
        .randomElement(using: &random)!
      plan.failpoints = "\(name):\(Int.random(in: 1...20, using: &random))"
      plan.operations = 300
    }
    let life = try session.live(plan, &part)
    _ = countFirings(life.errors)
    var rollBack = try shim.rollBack()
    // Every other time nothing unsynced has reached the disk; else any part of it.
    let keeping = Bool.random(using: &random) ? 0 : Double.random(in: 0.05...0.95, using: &random)
    guard FileManager.default.fileExists(atPath: session.directory) else { return }
    try rollBack.run(session.directory, keeping: keeping, using: &random)
    part.writesUndone += rollBack.writesUndone
    part.sectorsKept += rollBack.sectorsKept
  }

  /// EINTR and short reads and writes.
  func runInterrupts(_ part: inout Tally.Part) throws {
    if case .failure(let error) = shim.library {
      part.skipped = error.description
      return
    }
    let count = max(5, kills / 10)
    while part.kills < count {
      let session = session(Setup(using: &random))
      for _ in 0..<5 {
        var plan = randomPlan()
        plan.environment = try shim.environment(
          watching: session.directory, interrupt: [5, 50, 300].randomElement(using: &random)!,
          seed: random.next())
        try session.live(plan, &part)
        part.interruptions += try shim.interruptions()
        guard isSound(session, &part, "interruptions, kill \(part.kills)") else { return }
      }
      remove(session.directory)
    }
  }
}
