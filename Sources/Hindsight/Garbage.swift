/// Callers' values that were dropped with the lock held: released only after unlocking, for their
/// deinit may call the cache. Nearly always there is one at most, and then nothing is allocated.
struct Garbage: Sendable {
  private var first: HeldObject?
  private var rest: [HeldObject] = []

  mutating func append(_ object: HeldObject) {
    if first == nil { first = object } else { rest.append(object) }
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
