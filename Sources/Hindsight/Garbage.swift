/// Callers' values that were dropped with the lock held: released only after unlocking, for their
/// deinit may call the cache. Nearly always there is one at most, and then nothing is allocated.
struct Garbage: Sendable {
  private var first: (any BoxedValue)?
  private var rest: [any BoxedValue] = []

  mutating func append(_ box: any BoxedValue) {
    if first == nil { first = box } else { rest.append(box) }
  }

  /// Hands everything over.
  mutating func take() -> Garbage {
    var taken = Garbage()
    if first != nil { swap(&taken, &self) }
    return taken
  }

  /// Releases everything. Not with the lock held.
  mutating func release() {
    if first != nil { self = Garbage() }
  }
}
