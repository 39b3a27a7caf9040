public import Hindsight

/// A scenario file: commands on a virtual clock, with the results that are expected of them.
///
///     config memory.entries=3 store=off
///     set pypi:flask ttl=60 {"name":"flask"}
///     advance 61s
///     get pypi:flask -> miss
public struct Scenario: Sendable {
  /// Lines and files are bounded, since the parser may be handed anything.
  static let fileByteCountMax = 64 << 20
  static let lineByteCountMax = 20 << 20

  /// One command, and the line that it stands on.
  public struct Step: Sendable {
    public var line: Int
    public var command: Command
    /// What stands behind `->`, if anything does.
    public var expected: Expectation?
  }

  public enum Command: Sendable {
    case config([(name: String, value: String)])
    case clock(Timestamp)
    case advance(Duration)
    case set(String, value: [UInt8], memoryTTL: Double?, storeTTL: Double?, reason: String?)
    case get(String)
    case contains(String)
    case invalidate(String, reason: String?)
    case clear(prefix: String)
    case cleanup
    case count
    case settle
    case restart
    case crash
    case verify
  }

  public enum Expectation: Sendable {
    case hit(Tier, value: [UInt8]?)
    case miss
    case bool(Bool)
    case counts(memory: Int, store: Int)
    case number(Int)
    case ok
    /// The command is refused with this code.
    case error(String)
  }

  public var steps: [Step]
}

/// Why a scenario file can't be read, with the file and line.
public struct ScenarioError: Error, Sendable, CustomStringConvertible {
  public var file: String
  public var line: Int
  public var message: String
  public var description: String { "\(file):\(line): \(message)" }
}
