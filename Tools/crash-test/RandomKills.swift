import HindsightTesting

extension Laboratory {
  /// SIGKILL at any moment.
  func runRandomKills(_ part: inout Tally.Part) throws {
    while part.kills < kills {
      let session = session(Setup(using: &random))
      for _ in 0..<Int.random(in: 5...25, using: &random) where part.kills < kills {
        try session.live(randomPlan(), &part)
        guard isSound(session, &part, "kill \(part.kills)") else { return }
      }
      remove(session.directory)
    }
  }

  /// At work, while it recovers, while it closes; now and then not at all.
  func randomPlan() -> Plan {
    var plan = Plan()
    plan.window = [1, 8, 64, 256].randomElement(using: &random)!
    switch Int.random(in: 0..<20, using: &random) {
    case 0..<4: plan.killAfterMilliseconds = .random(in: 0...60, using: &random)
    case 4..<15:
      plan.operations = .max
      plan.killWorkingAfterMilliseconds = .random(in: 0...300, using: &random)
    case 15..<19:
      plan.operations = .random(in: 0...400, using: &random)
      plan.killClosingAfterMilliseconds = .random(in: 0...15, using: &random)
    default: plan.operations = .random(in: 0...400, using: &random)
    }
    return plan
  }
}
