import Hindsight
import HindsightCore
import Synchronization

/// One operation that a simulated caller has begun: a task on a lane of its own.
final class Caller {
  let number: Int
  let action: SimulationPlan.Action
  let lane: StepScheduler.Lane
  let reply = ReplyBox()
  var task: Task<Void, Never>?
  var isCancelled = false
  /// Where it took effect, and what it is expected to answer.
  var decision: Decision?
  /// The last event that counted as written at some time since it began.
  var mostWritten: UInt64 = 0
  /// Failed calls before it began, and whether journal or store have been in trouble since.
  var failedCallCount = 0
  var hasSeenTrouble = false

  struct Decision {
    var sequence: UInt64
    var expected: Reply?
  }

  init(_ number: Int, _ action: SimulationPlan.Action, _ lane: StepScheduler.Lane) {
    self.number = number
    self.action = action
    self.lane = lane
  }

  /// What a set sets: bytes that no other operation does.
  static func value(_ number: Int, byteCount: Int) -> [UInt8] {
    var random = SplitMix64(seed: UInt64(number))
    return (0..<byteCount).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }
}

/// What an operation answered.
enum Reply: Sendable, Equatable {
  case sequence(UInt64)
  case value([UInt8]?)
  case hit(Tier, origin: UInt64, value: [UInt8], expiresIn: Int64)
  case miss(MissReason)
  case flag(Bool)
  case counts(TierCounts)
  case number(Int)
  case done
  case failed(CacheError.Code, String)
}

final class ReplyBox: Sendable {
  private let box = Mutex<Reply?>(nil)
  var reply: Reply? { box.withLock { $0 } }
  func set(_ reply: Reply) { box.withLock { $0 = reply } }
}

extension Caller {
  /// Begins the task; it runs when its lane is chosen.
  func start(_ cache: Cache<[UInt8]>) {
    let (action, number, reply) = (action, number, reply)
    task = Task(executorPreference: lane) {
      do throws(CacheError) {
        reply.set(try await action.perform(number, cache))
      } catch {
        reply.set(.failed(error.code, error.message))
      }
    }
  }
}

extension SimulationPlan.Action {
  /// Does it, as a caller would.
  fileprivate nonisolated(nonsending) func perform(
    _ number: Int, _ cache: Cache<[UInt8]>
  ) async throws(CacheError) -> Reply {
    switch self {
    case .set(let key, let byteCount, let memoryTTL, let storeTTL, let level):
      let sequence = try await cache.set(
        Caller.value(number, byteCount: byteCount), for: try Self.key(key),
        memoryTTL: memoryTTL.map { .microseconds($0) },
        storeTTL: storeTTL.map { .microseconds($0) },
        reason: number % 4 == 0 ? "operation \(number)" : nil, acknowledgement: level)
      return .sequence(sequence.rawValue)
    case .get(let key): return .value(try await cache.get(try Self.key(key)))
    case .lookup(let key): return Reply(try await cache.lookup(try Self.key(key)))
    case .memoryValue(let key): return .value(cache.memoryValue(for: try Self.key(key)))
    case .contains(let key): return .flag(cache.contains(try Self.key(key)))
    case .invalidate(let key, let level):
      return .flag(try await cache.invalidate(try Self.key(key), acknowledgement: level))
    case .clear(let prefix, let level):
      return .counts(
        try await cache.clear(prefix: SimulationPlan.prefixes[prefix], acknowledgement: level))
    case .cleanup: return .number(try await cache.cleanupExpired())
    case .flush(let level): return .sequence(try await cache.flush(to: level).rawValue)
    case .settle: return .sequence(try await cache.settle().rawValue)
    case .close:
      try await cache.close()
      return .done
    default: preconditionFailure("\(self) is not what callers do")
    }
  }

  private static func key(_ number: Int) throws(CacheError) -> CacheKey {
    try CacheKey(SimulationPlan.key(number))
  }

  /// Whether this changes what the cache holds, by a decision of its own.
  var isWrite: Bool {
    switch self {
    case .set, .invalidate, .clear: true
    default: false
    }
  }

  var level: Acknowledgement? {
    switch self {
    case .set(_, _, _, _, let level), .invalidate(_, let level), .clear(_, let level),
      .flush(let level):
      level
    case .settle: .durable
    default: nil
    }
  }
}

extension Reply {
  fileprivate init(_ lookup: Lookup<[UInt8]>) {
    switch lookup {
    case .miss(let reason): self = .miss(reason)
    case .hit(let hit):
      let (seconds, attoseconds) = hit.expiresIn.components
      self = .hit(
        hit.tier, origin: hit.origin.rawValue, value: hit.value,
        expiresIn: seconds * 1_000_000 + attoseconds / 1_000_000_000_000)
    }
  }
}
