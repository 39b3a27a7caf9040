import Hindsight

/// What a walk over a stream of lookups came to.
struct StoreWalk {
  var began: ContinuousClock.Instant
  var ended: ContinuousClock.Instant
  var found: Int
  /// Of SQLite.
  var queries: Int
}

/// How many lookups of a stream must be hits, and how many of them SQLite must have answered.
struct ExpectedHits {
  private let gets: GetStream
  private let made: BenchSetPeriod
  /// For each key of `gets`, the TTL of the set that is in force.
  private let ttls: [Duration?]

  /// - Parameter sets: what one caller set, one after the other.
  init(_ gets: GetStream, _ sets: [BenchOperation], _ made: BenchSetPeriod) {
    var ttls: [CacheKey: Duration] = [:]
    for operation in sets { ttls[operation.key] = operation.ttl }
    self.gets = gets
    self.made = made
    self.ttls = gets.keys.map { ttls[$0] }
  }

  /// - Parameters:
  ///   - tasks: two of them walked the whole stream each.
  ///   - fromStore: whether memory had room for one entry.
  /// - Throws: `CheckFailure` where there were other hits.
  func check(_ walk: StoreWalk, tasks: Int, fromStore: Bool) throws {
    let sure = ttls.map { ttl in ttl.map { made.isAlive($0, at: walk.ended) } ?? false }
    let possible = ttls.map { ttl in ttl.map { made.mayBeAlive($0, at: walk.began) } ?? false }
    let rounds = tasks == 2 ? 2 : 1
    let least = rounds * gets.order.count { sure[Int($0)] }
    let most = rounds * gets.order.count { possible[Int($0)] }
    guard (least...most).contains(walk.found) else {
      throw CheckFailure(
        message: "bench: \(walk.found) lookups were hits; expected \(least) to \(most)")
    }
    let queriesMin = tasks == 1 ? changes(sure) : Set(gets.order.filter { sure[Int($0)] }).count
    // The one entry in memory may have been there before.
    guard !fromStore || walk.queries >= queriesMin - 1 else {
      throw CheckFailure(
        message: "bench: \(walk.queries) queries of the store; at least \(queriesMin) expected")
    }
  }

  /// Hits of another key than the hit before.
  private func changes(_ sure: [Bool]) -> Int {
    var count = 0
    var last: UInt32?
    for at in gets.order where sure[Int(at)] && at != last {
      count += 1
      last = at
    }
    return count
  }
}
