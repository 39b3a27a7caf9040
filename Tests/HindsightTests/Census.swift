import Hindsight
import Synchronization
import Testing

/// Counts the values of a cache that are alive.
final class Census: Sendable {
  private let living = Atomic<Int>(0)

  /// A value that is counted.
  final class Member: Sendable {
    private let census: Census

    init(_ census: Census) {
      self.census = census
      census.living.add(1, ordering: .relaxed)
    }

    deinit { census.living.subtract(1, ordering: .relaxed) }
  }

  var count: Int { living.load(ordering: .relaxed) }

  var coder: ValueCoder<Member> {
    ValueCoder(id: 200, encode: { _ in [1] }, decode: { _ in Member(self) })
  }

  /// Waits until so many are left.
  func wait(for count: Int) async throws {
    try await eventually("\(count) values are left") { self.count == count }
  }
}
