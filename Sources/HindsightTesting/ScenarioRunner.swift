import Hindsight
import HindsightReplay

/// What running a scenario came to.
public struct ScenarioOutcome: Sendable {
  /// A result that was not as expected.
  public struct Mismatch: Sendable, CustomStringConvertible {
    public var file: String
    public var line: Int
    public var expected: String
    public var actual: String
    public var description: String {
      "\(file):\(line): expected \(expected), got \(actual)"
    }
  }

  public var commandCount = 0
  public var checkCount = 0
  /// The first mismatch, at which the run ended.
  public var mismatch: Mismatch?
  /// Sequence and digest of the state at the end, 16 hexadecimal digits.
  public var sequence: UInt64 = 0
  public var digest = ""
}

/// Runs scenarios on a real cache, on simulated storage and a virtual clock: the same scenario gives
/// the same sequences and digests on every machine.
public struct ScenarioRunner: Sendable {
  public init() {}

  /// Runs one scenario.
  /// - Parameter file: its name, for mismatches.
  /// - Throws: `ScenarioError`: what keeps it from being run at all.
  public func run(
    _ scenario: Scenario, file: String
  ) async throws(ScenarioError) -> ScenarioOutcome {
    do {
      let target = try ScenarioTarget()
      do {
        let outcome = try await run(scenario, file: file, on: target)
        try await target.end()
        return outcome
      } catch {
        try await target.end()
        throw error
      }
    } catch let error as ScenarioError {
      throw error
    } catch {
      throw ScenarioError(file: file, line: scenario.lastLine, message: "\(error)")
    }
  }

  private func run(
    _ scenario: Scenario, file: String, on target: ScenarioTarget
  ) async throws -> ScenarioOutcome {
    var outcome = ScenarioOutcome()
    for step in scenario.steps {
      outcome.commandCount += 1
      let actual: ScenarioResult
      do {
        actual = try await target.perform(step.command)
      } catch let error as CacheError {
        actual = .error(error)
      } catch let error as LineError {
        throw ScenarioError(file: file, line: step.line, message: error.message)
      }
      if step.expected != nil { outcome.checkCount += 1 }
      if let mismatch = actual.mismatch(with: step.expected) {
        outcome.mismatch = .init(
          file: file, line: step.line, expected: mismatch.expected, actual: mismatch.actual)
        break
      }
    }
    guard outcome.mismatch == nil else { return outcome }
    do {
      (outcome.sequence, outcome.digest) = try await target.digest()
    } catch let error as CacheError {
      outcome.mismatch = .init(
        file: file, line: scenario.lastLine, expected: "no error", actual: "error \(error)")
    } catch let error as LineError {
      outcome.mismatch = .init(
        file: file, line: scenario.lastLine, expected: "a journal that replays to the live state",
        actual: error.message)
    }
    return outcome
  }
}

extension Scenario {
  /// What is wrong with the whole is told of the last command.
  fileprivate var lastLine: Int { steps.last?.line ?? 1 }
}

/// What a command gave.
enum ScenarioResult: Sendable {
  case nothing
  case hit(Tier, value: [UInt8])
  case miss
  case bool(Bool)
  case counts(memory: Int, store: Int)
  case number(Int)
  case problems([String])
  case error(CacheError)

  /// What was expected and what came, where that differs.
  func mismatch(with expected: Scenario.Expectation?) -> (expected: String, actual: String)? {
    if fits(expected) { return nil }
    return (expected?.description ?? "no error", description)
  }

  private func fits(_ expected: Scenario.Expectation?) -> Bool {
    switch (self, expected) {
    case (.error, nil): false
    case (.problems(let problems), nil), (.problems(let problems), .ok): problems.isEmpty
    case (_, nil), (.nothing, .ok), (.miss, .miss): true
    case (.hit(let tier, let value), .hit(let wanted, let wantedValue)):
      tier == wanted && wantedValue.map { same($0, value) } ?? true
    case (.bool(let a), .bool(let b)): a == b
    case (.counts(let memory, let store), .counts(let wantedMemory, let wantedStore)):
      memory == wantedMemory && store == wantedStore
    case (.number(let a), .number(let b)): a == b
    case (.error(let error), .error(let code)): error.code.rawValue == code
    default: false
    }
  }

  /// Values compare as JSON.
  private func same(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    do throws(JSONError) {
      return try JSONParser.parse(a[...]) == JSONParser.parse(b[...])
    } catch {
      return a == b
    }
  }
}

extension ScenarioResult: CustomStringConvertible {
  var description: String {
    switch self {
    case .nothing: "nothing"
    case .hit(let tier, let value): "hit \(tier) \(String(decoding: value, as: UTF8.self))"
    case .miss: "miss"
    case .bool(let value): "\(value)"
    case .counts(let memory, let store): "memory=\(memory) store=\(store)"
    case .number(let number): "\(number)"
    case .problems(let problems): problems.isEmpty ? "ok" : problems.joined(separator: "; ")
    case .error(let error): "error \(error)"
    }
  }
}

extension Scenario.Expectation: CustomStringConvertible {
  public var description: String {
    switch self {
    case .hit(let tier, let value):
      "hit \(tier)" + (value.map { " " + String(decoding: $0, as: UTF8.self) } ?? "")
    case .miss: "miss"
    case .bool(let value): "\(value)"
    case .counts(let memory, let store): "memory=\(memory) store=\(store)"
    case .number(let number): "\(number)"
    case .ok: "ok"
    case .error(let code): "error \(code)"
    }
  }
}
