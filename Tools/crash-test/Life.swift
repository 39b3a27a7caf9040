import Foundation
import HindsightTesting

/// How one process is to live and die.
struct Plan {
  var failpoints: String?
  var environment: [String: String] = [:]
  /// It is killed so long after its start, whatever it is doing.
  var killAfterMilliseconds: Int?
  /// It is killed so long after it has begun to work.
  var killWorkingAfterMilliseconds: Int?
  /// It is killed so long after its input has ended.
  var killClosingAfterMilliseconds: Int?
  /// It is asked for so many operations, then its input ends.
  var operations = 300
  /// Operations that may be under way at a time.
  var window = 64
}

/// One process of `hindsight exec`, from its start to its end: what it finds is read back, then it
/// is kept busy until it dies or is done.
final class Life {
  enum Phase {
    case recovering
    case working
    case closing
  }

  private(set) var phase = Phase.recovering
  private(set) var model: Model
  private(set) var problems: [String] = []
  private(set) var ending = Child.Ending.exited(-1)
  /// Whether everything has been read back after opening.
  private(set) var isReadBack = false
  private(set) var refusedOperations = 0
  private(set) var lastRefusal = ""
  private(set) var askedOperations = 0
  private(set) var isKilledByUs = false
  /// Called once everything is read back, with the process idle; gives the model to go on with.
  var onFound: (([Model.Observation]) -> Model)?

  /// Called all the time while it works.
  var onTick: ((Life) -> Void)?
  /// When a write was last accepted.
  private(set) var lastWriteAt: Int64 = 0

  private enum Question {
    case observe(key: Int, askedAt: Int64)
    case count
    case operation
  }

  private let setup: Setup
  private let plan: Plan
  private let firmness: Firmness
  /// Whether operations may fail; else each that is refused is a problem.
  private let hasFaults: Bool
  private let child: Child
  private var random: SplitMix64
  private var nextValue: UInt64
  private var questions: [Question] = []
  private var observed: [Int: Model.Observation] = [:]
  private var failedReads = 0
  /// The fate of a write is open, and with several writers a later reply doesn't settle it: that
  /// write may have happened before. The next sync does.
  private var isOrderOpen = false
  private let startedAt = Life.now()
  private var workingAt: Int64 = 0
  private var closedAt: Int64 = 0
  private var movedAt = Life.now()

  /// What a reply promises against the crash that is to come.
  enum Firmness {
    /// SIGKILL: what is written survives.
    case written
    /// Power loss: only what is durable does.
    case durable
  }

  static let hangSeconds: Int64 = 60

  init(
    _ executable: String, _ directory: String, _ setup: Setup, _ plan: Plan, _ model: Model,
    _ firmness: Firmness, hasFaults: Bool, seed: UInt64, nextValue: UInt64
  ) throws {
    (self.setup, self.plan, self.model) = (setup, plan, model)
    (self.firmness, self.hasFaults) = (firmness, hasFaults)
    self.nextValue = nextValue
    random = SplitMix64(seed: seed)
    var environment = plan.environment
    if let failpoints = plan.failpoints { environment["HINDSIGHT_FAILPOINTS"] = failpoints }
    child = try Child(
      executable, ["exec", "--cache", directory] + setup.arguments, environment: environment)
  }

  var processID: pid_t { child.pid }
  var errors: String { child.errors }
  var valuesUsed: UInt64 { nextValue }

  static func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// Runs it to its end.
  func run() throws {
    for key in 0..<model.keyCount { observe(key) }
    while let lines = child.pump(milliseconds: pause) {
      for line in lines { try take(try Reply(line)) }
      if !lines.isEmpty { movedAt = Self.now() }
      guard Self.now() - movedAt < Self.hangSeconds * 1_000_000_000 else {
        problems.append("no reply for \(Self.hangSeconds) s while \(phase)")
        child.kill()
        break
      }
      if phase == .working {
        work()
        onTick?(self)
      }
      killIfDue()
    }
    ending = child.wait()
  }

  /// Until the next kill, but not long.
  private var pause: Int32 {
    guard !isKilledByUs else { return 100 }
    let left = killAt.map { ($0 - Self.now()) / 1_000_000 }
    return Int32(clamping: max(0, min(100, left ?? 100)))
  }

  private var killAt: Int64? {
    let delays = [
      (plan.killAfterMilliseconds, startedAt),
      (phase == .working ? plan.killWorkingAfterMilliseconds : nil, workingAt),
      (phase == .closing ? plan.killClosingAfterMilliseconds : nil, closedAt),
    ]
    return delays.compactMap { delay, begin in delay.map { begin + Int64($0) * 1_000_000 } }.min()
  }

  private func killIfDue() {
    if !isKilledByUs, killAt.map({ Self.now() >= $0 }) ?? false { killNow() }
  }

  func killNow() {
    child.kill()
    isKilledByUs = true
  }

  // MARK: Asking

  private func work() {
    while model.operations.count - model.answered < plan.window {
      guard askedOperations < plan.operations else {
        if model.answered == model.operations.count {
          child.closeInput()
          phase = .closing
          closedAt = Self.now()
        }
        return
      }
      askedOperations += 1
      let change = nextChange()
      model.ask(change, at: Self.now())
      questions.append(.operation)
      child.send(Lines.line(change, model))
    }
  }

  private func nextChange() -> Model.Change {
    let key = Int.random(in: 0..<model.keyCount, using: &random)
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<55:
      nextValue += 1
      let isShort = Int.random(in: 0..<8, using: &random) == 0
      let ttl = isShort ? Int64.random(in: 1...400, using: &random) * 1_000_000 : nil
      return .set(key: key, value: nextValue, ttl: ttl)
    case 55..<70: return .invalidate(key: key)
    case 70..<72: return .clear(group: key % model.groupCount)
    case 72..<75: return .sync
    default: return .get(key: key)
    }
  }

  // MARK: Answers

  private func take(_ reply: Reply) throws {
    guard !questions.isEmpty else { throw CrashTestError("a reply to nothing: \(reply.text)") }
    switch questions.removeFirst() {
    case .observe(let key, let askedAt):
      if hasFaults, reply.code == "storeUnavailable", failedReads < 1_000 {
        // Some places fail for a while.
        failedReads += 1
        return observe(key)
      }
      observed[key] = observation(reply, key, askedAt: askedAt)
      guard observed.count == model.keyCount else { return }
      questions.append(.count)
      child.send("{\"op\":\"count\"}")
    case .count:
      checkLimits(reply)
      isReadBack = true
      if let onFound { model = onFound((0..<model.keyCount).map { observed[$0]! }) }
      phase = .working
      workingAt = Self.now()
      movedAt = workingAt
    case .operation: answer(reply)
    }
  }

  private func observe(_ key: Int) {
    questions.append(.observe(key: key, askedAt: Self.now()))
    child.send(Lines.line(.get(key: key), model))
  }

  private func observation(_ reply: Reply, _ key: Int, askedAt: Int64) -> Model.Observation {
    var seen = Model.Observation(askedAt: askedAt, answeredAt: Self.now())
    if let code = reply.code {
      problems.append("key \(key) can't be read: \(code): \(reply.text)")
    } else if let text = reply.value {
      seen.value = Lines.number(text)
      seen.origin = reply.number("origin")
      if seen.value == nil { problems.append("key \(key) has a torn value: \(reply.text)") }
    }
    return seen
  }

  private func checkLimits(_ reply: Reply) {
    guard let memory = reply.number("memory"), let store = reply.number("store") else {
      return problems.append("no counts: \(reply.text)")
    }
    if memory > setup.memoryEntries || store > setup.storeEntries {
      problems.append("over its limits: \(reply.text)")
    }
  }

  private func answer(_ reply: Reply) {
    let now = Self.now()
    let operation = model.operations[model.answered]
    guard reply.code == nil else { return answerRefused(reply, operation, now) }
    if case .get(let key) = operation.change {
      let seen = observation(reply, key, askedAt: operation.askedAt)
      let state = model.current[key]
      if !Model.allows(state, seen), !(setup.isTight && seen.value == nil) {
        problems.append("key \(key): read \(reply.text), though it is \(state)")
      }
    }
    var origin: UInt64?
    if case .set = operation.change { origin = reply.number("sequence") }
    model.answer(at: now, origin: origin)
    if case .sync = operation.change { isOrderOpen = false }
    if isFirm(operation.change), !isOrderOpen { model.holdFirm() }
    if case .get = operation.change { return }
    lastWriteAt = now
  }

  private func isFirm(_ change: Model.Change) -> Bool {
    switch change {
    case .sync: true
    case .get: false
    default: setup.level >= (firmness == .durable ? .durable : .written)
    }
  }

  private func answerRefused(_ reply: Reply, _ operation: Model.Operation, _ now: Int64) {
    refusedOperations += 1
    lastRefusal = reply.text
    if !mayBeRefused(operation.change, reply.code) {
      problems.append("\(operation.change) was refused without a reason: \(reply.text)")
    }
    if reply.code == "outcomeUnknown", !setup.isOneStream { isOrderOpen = true }
    switch operation.change {
    case .get, .sync: model.answer(at: now)
    default: model.answer(at: now, isRefused: reply.code != "outcomeUnknown")
    }
  }

  /// Only where something fails is anything refused, and then with a code that says what.
  private func mayBeRefused(_ change: Model.Change, _ code: String?) -> Bool {
    guard hasFaults, let code else { return false }
    if case .get = change { return code == "storeUnavailable" }
    return ["journalUnavailable", "outOfSpace", "outcomeUnknown", "storeUnavailable"].contains(code)
  }
}
