import Hindsight

/// When sets were made: none before it, none after it. It tells from outside, to within a margin,
/// which of their values have expired.
struct BenchSetPeriod: Sendable {
  var began: ContinuousClock.Instant
  var ended: ContinuousClock.Instant

  /// Nearer to its expiry than this, a value may be there or not: the cache's clock is coarse.
  private static let margin = Duration.milliseconds(50)

  /// Notes when `body` makes its sets.
  static func of(
    _ body: nonisolated(nonsending) () async throws -> Void
  ) async rethrows -> BenchSetPeriod {
    let began = BenchTools.clock.now
    try await body()
    return BenchSetPeriod(began: began, ended: BenchTools.clock.now)
  }

  /// What can be left of a value's time at a look between two instants.
  /// - Parameter promotionTTL: how long a promotion, if the value may have had one, has let it live.
  func remainder(
    of ttl: Duration, promotionTTL: Duration?, from before: ContinuousClock.Instant,
    to after: ContinuousClock.Instant
  ) -> ClosedRange<Duration> {
    let least = min(ttl, promotionTTL ?? ttl) - (after - began) - Self.margin
    let most = min(ttl, ttl - (before - ended) + Self.margin)
    return least...most
  }

  /// Whether a value with this TTL has certainly not expired at an instant.
  func isAlive(_ ttl: Duration, at instant: ContinuousClock.Instant) -> Bool {
    instant + Self.margin < began + ttl
  }

  /// Whether it may not have expired. One with a TTL of 0 has at once.
  func mayBeAlive(_ ttl: Duration, at instant: ContinuousClock.Instant) -> Bool {
    ttl > .zero && instant < ended + ttl + Self.margin
  }
}
