import HindsightCore

/// Why keys were removed: the last 10,000 of them, by the hash of the key.
struct MissMemory {
  static let keyCountMax = 10_000

  private var reasons: [UInt64: (reason: MissReason, place: Int)] = [:]
  private var ring: [UInt64] = []
  private var next = 0

  /// Remembers why the key with this hash is gone; forgets the oldest one over the limit.
  mutating func remember(_ keyHash: UInt64, _ ending: Ending) {
    guard let reason = MissReason(rawValue: ending.rawValue) else { return }
    if ring.count < Self.keyCountMax {
      ring.append(keyHash)
      reasons[keyHash] = (reason, ring.count - 1)
      return
    }
    if let old = reasons[ring[next]], old.place == next { reasons[ring[next]] = nil }
    ring[next] = keyHash
    reasons[keyHash] = (reason, next)
    next = (next + 1) % Self.keyCountMax
  }

  func reason(_ keyHash: UInt64) -> MissReason { reasons[keyHash]?.reason ?? .unknown }
}
