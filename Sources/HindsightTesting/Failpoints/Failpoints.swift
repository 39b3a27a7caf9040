import Synchronization
public import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Places in a running cache where something can be made to happen, as etcd's gofail does it: the
/// process kills itself, an operation fails, or it takes long.
///
/// `FailpointStorage` and `FailpointStore` pass these places; `Failpoints.names` lists them.
///
///     let failpoints = Failpoints()
///     failpoints.arm("segment.sync.before", at: 3...3, .fail(.ioError))
///
/// In text, `NAME:COUNT[:ACTION]`, several of them separated by commas: `segment.write.middle:7`,
/// `segment.write.before:1-20:error:ENOSPC`, `store.apply.before:2+:delay:50`.
public final class Failpoints: Sendable {
  /// What happens at a passage; but for `call`, the first time is told on standard error.
  public enum Action: Sendable {
    /// SIGKILL, sent by the process to itself.
    case kill
    /// The operation fails with this; at a place behind it, although it has been done.
    case fail(Errno)
    case delay(milliseconds: UInt32)
    /// A test's own: it may block.
    case call(@Sendable () -> Void)
  }

  private struct Arm {
    var passages: ClosedRange<Int>
    var action: Action
  }

  private struct State {
    var arms: [String: Arm] = [:]
    var passages: [String: Int] = [:]
    var firings: [String: Int] = [:]
  }

  private let state = Mutex(State())

  public init() {}

  /// Has `action` happen at these passages, the first one being 1, counted from now on. It replaces
  /// what the place was armed with.
  public func arm(_ name: String, at passages: ClosedRange<Int> = 1...Int.max, _ action: Action) {
    precondition(Self.names.contains(name), "there is no failpoint \(name)")
    state.withLock { state in
      state.arms[name] = Arm(passages: passages, action: action)
      state.passages[name] = 0
    }
  }

  public func disarmAll() { state.withLock { $0.arms.removeAll() } }

  /// How often the place was passed, and how often something happened there.
  public func passages(of name: String) -> Int { state.withLock { $0.passages[name] ?? 0 } }
  public func firings(of name: String) -> Int { state.withLock { $0.firings[name] ?? 0 } }

  /// Passes a place.
  /// - Returns: the error that the operation has to fail with, where it has to.
  func pass(_ name: String) -> Errno? {
    let (action, passage, isFirst) = state.withLock { state -> (Action?, Int, Bool) in
      let passage = (state.passages[name] ?? 0) + 1
      state.passages[name] = passage
      guard let arm = state.arms[name], arm.passages.contains(passage) else {
        return (nil, passage, false)
      }
      state.firings[name, default: 0] += 1
      return (arm.action, passage, state.firings[name] == 1)
    }
    guard let action else { return nil }
    if case .call(let body) = action {
      body()
      return nil
    }
    if isFirst { Self.say("failpoint \(name) fired at passage \(passage)\n") }
    switch action {
    case .fail(let code): return code
    case .delay(let milliseconds): usleep(milliseconds * 1_000)
    case .call, .kill: Self.killProcess()
    }
    return nil
  }

  /// Not buffered: a driver must read it even of a process that is killed the moment after.
  private static func say(_ message: String) {
    var message = message
    message.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
  }

  /// Not `exit`: nothing may be flushed, closed or unwound.
  private static func killProcess() -> Never {
    kill(getpid(), SIGKILL)
    while true { pause() }
  }
}

/// Why text names no failpoints.
public struct FailpointError: Error, Sendable, CustomStringConvertible {
  public var description: String
}

extension Failpoints {
  /// Arms what `text` says.
  /// - Throws: `FailpointError` naming the part that is wrong.
  public convenience init(_ text: String) throws(FailpointError) {
    self.init()
    for part in text.split(separator: ",") {
      let fields = part.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count >= 2, let passages = Self.passages(fields[1]),
        let action = Self.action(fields.count > 2 ? fields[2] : "kill")
      else {
        throw FailpointError(
          description: "\(part): write NAME:COUNT[:ACTION], COUNT as 3, 3-5 or 3+, ACTION as kill, "
            + "error:ENOSPC or delay:50 (milliseconds)")
      }
      guard Self.names.contains(String(fields[0])) else {
        throw FailpointError(description: "there is no failpoint \(fields[0])")
      }
      arm(String(fields[0]), at: passages, action)
    }
  }

  private static func passages(_ text: Substring) -> ClosedRange<Int>? {
    if text.hasSuffix("+") {
      return Int(text.dropLast()).flatMap { $0 > 0 ? $0...Int.max : nil }
    }
    let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard let first = ends[0], first > 0, ends.count <= 2, let last = ends[ends.count - 1],
      first <= last
    else { return nil }
    return first...last
  }

  private static func action(_ text: Substring) -> Action? {
    let fields = text.split(separator: ":", omittingEmptySubsequences: false)
    switch (fields[0], fields.count) {
    case ("kill", 1): return .kill
    case ("error", 2): return errors[String(fields[1])].map { .fail($0) }
    case ("delay", 2): return UInt32(fields[1]).map { .delay(milliseconds: min($0, 60_000)) }
    default: return nil
    }
  }

  private static let errors: [String: Errno] = [
    "EIO": .ioError, "ENOSPC": .noSpace, "EDQUOT": .diskQuotaExceeded, "EROFS": .readOnlyFileSystem,
    "EACCES": .permissionDenied, "EMFILE": .tooManyOpenFiles, "EFBIG": .fileTooLarge,
    "EINTR": .interrupted, "ENOMEM": .noMemory,
  ]
}
