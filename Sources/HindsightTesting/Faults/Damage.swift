/// What was done to a directory at rest.
public struct Damage: Sendable, CustomStringConvertible {
  public var kind: FaultKind
  /// The file that it was done to; of two, the earlier one.
  public var file: String
  /// The first byte that was changed, where single bytes were.
  public var offset: Int?

  public var description: String {
    "\(kind) of \(file)" + (offset.map { " at byte \($0)" } ?? "")
  }
}

extension SimulatedStorage {
  /// Changes files at rest as a kind of the category `.damage` says; where, a number decides.
  /// - Returns: what was done; `nil` where there is nothing that it could be done to.
  public func damage(_ kind: FaultKind, seed: UInt64) -> Damage? {
    var random = SplitMix64(seed: seed)
    switch kind {
    case .bitFlip, .cut, .zeroedRange, .garbageRange: return damageBytes(kind, &random)
    case .missingSegment, .duplicatedSegment, .swappedSegments, .renamedSegment, .extraSegment:
      return damageSegments(kind, &random)
    case .corruptSegmentHeader, .corruptFrameTrailer, .staleFrames, .hostileLength, .deflateBomb:
      return damageFrames(kind, &random)
    case .corruptCheckpointHeader, .corruptCheckpointBody, .corruptCheckpointTrailer,
      .missingCheckpoint, .hostileCheckpointLength:
      return damageCheckpoint(kind, &random)
    default: preconditionFailure("\(kind) is no damage at rest")
    }
  }

  /// As `damage(_:seed:)`; the injector decides where, and counts it.
  public func damage(_ kind: FaultKind, _ injector: FaultInjector) -> Damage? {
    let damage = damage(kind, seed: injector.random())
    if let damage { injector.note(kind, at: damage.file) }
    return damage
  }

  private func files(_ suffix: String) -> [String] { names.filter { $0.hasSuffix(suffix) } }

  // MARK: Bytes of any file

  private func damageBytes(_ kind: FaultKind, _ random: inout SplitMix64) -> Damage? {
    let names = files(".journal") + files(".checkpoint")
    guard let name = names.randomElement(using: &random), var bytes = bytes(of: name) else {
      return nil
    }
    let used = JournalBytes(bytes).usedByteCount
    guard used > 0 else { return nil }
    let at = Int.random(in: 0..<used, using: &random)
    let end = min(used, at + Int.random(in: 1...2_000, using: &random))
    switch kind {
    case .bitFlip: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case .cut: bytes.removeLast(bytes.count - at)
    case .zeroedRange:
      guard bytes[at..<end].contains(where: { $0 != 0 }) else { return nil }
      for index in at..<end { bytes[index] = 0 }
    default:
      for index in at..<end { bytes[index] ^= UInt8.random(in: 1...255, using: &random) }
    }
    setBytes(bytes, of: name)
    return Damage(kind: kind, file: name, offset: at)
  }

  // MARK: Whole segments

  private func damageSegments(_ kind: FaultKind, _ random: inout SplitMix64) -> Damage? {
    let names = files(".journal")
    guard let name = names.randomElement(using: &random), let last = names.last,
      let bytes = bytes(of: name), let next = Self.segmentName(after: last, by: 1)
    else { return nil }
    switch kind {
    case .missingSegment: delete(name)
    case .duplicatedSegment:
      let other = names.filter { $0 != name }.randomElement(using: &random) ?? next
      setBytes(bytes, of: other)
      return Damage(kind: kind, file: min(name, other), offset: nil)
    case .swappedSegments:
      guard let other = names.filter({ $0 != name }).randomElement(using: &random) else {
        return nil
      }
      setBytes(self.bytes(of: other) ?? [], of: name)
      setBytes(bytes, of: other)
      return Damage(kind: kind, file: min(name, other), offset: nil)
    case .renamedSegment:
      guard let other = Self.segmentName(after: last, by: Int.random(in: 1...9, using: &random))
      else { return nil }
      delete(name)
      setBytes(bytes, of: other)
    default:
      var foreign = JournalBytes(bytes)
      foreign.set(random.next(), at: 16, byteCount: 8)
      foreign.set(UInt64(next.prefix(8)) ?? 0, at: 12, byteCount: 4)
      foreign.sealHeader(at: 0)
      setBytes(foreign.bytes, of: next)
      return Damage(kind: kind, file: next, offset: nil)
    }
    return Damage(kind: kind, file: name, offset: nil)
  }

  private static func segmentName(after name: String, by distance: Int) -> String? {
    Int(name.prefix(8)).map { number in
      let digits = String(number + distance)
      return String(repeating: "0", count: max(0, 8 - digits.count)) + digits + ".journal"
    }
  }

  // MARK: Frames

  private static let bomb = JournalBytes.bomb(byteCount: 16 << 20)

  private func damageFrames(_ kind: FaultKind, _ random: inout SplitMix64) -> Damage? {
    let names = files(".journal")
    let name = kind == .corruptSegmentHeader ? names.randomElement(using: &random) : names.last
    guard let name, let bytes = bytes(of: name), bytes.count >= JournalBytes.headerByteCount else {
      return nil
    }
    var segment = JournalBytes(bytes)
    var at = segment.end
    switch kind {
    case .corruptSegmentHeader:
      at = Int.random(in: 0..<JournalBytes.headerByteCount, using: &random)
      segment.bytes[at] ^= UInt8.random(in: 1...255, using: &random)
    case .corruptFrameTrailer:
      guard at > JournalBytes.headerByteCount, at <= bytes.count else { return nil }
      at -= 1
      segment.bytes[at] ^= UInt8.random(in: 1...255, using: &random)
    case .staleFrames:
      guard let older = names.dropLast().last, let stale = self.bytes(of: older) else {
        return nil
      }
      let frames = JournalBytes(stale)
      guard let first = frames.frameOffsets.randomElement(using: &random) else { return nil }
      segment.put(stale[first..<min(frames.end, stale.count)], at: at)
    case .hostileLength:
      let lengths: [UInt64] = [0, 1 << 20, 64 << 20, (64 << 20) + 1, 0x7FFF_FFFF, 0xFFFF_FFFF]
      let stored = lengths.randomElement(using: &random) ?? 0
      segment.appendFrame(
        body: [1, 2, 3], storedByteCount: stored,
        rawByteCount: lengths.randomElement(using: &random) ?? 0,
        isCompressed: random.next() % 2 == 0)
    default:
      let bomb = Self.bomb
      segment.appendFrame(
        body: bomb, storedByteCount: UInt64(bomb.count),
        rawByteCount: random.next() % 2 == 0 ? 1_000 : 16 << 20, isCompressed: true)
    }
    setBytes(segment.bytes, of: name)
    return Damage(kind: kind, file: name, offset: at)
  }

  // MARK: Checkpoints

  private func damageCheckpoint(_ kind: FaultKind, _ random: inout SplitMix64) -> Damage? {
    let header = 128
    guard let name = files(".checkpoint").randomElement(using: &random),
      var bytes = bytes(of: name), bytes.count >= header + 12
    else { return nil }
    var range = 0..<header
    switch kind {
    case .missingCheckpoint:
      delete(name)
      return Damage(kind: kind, file: name, offset: nil)
    case .hostileCheckpointLength:
      let field = header + Int.random(in: 0...1, using: &random) * 4
      for index in field..<field + 4 { bytes[index] = index == field + 3 ? 0x7F : 0xFF }
      setBytes(bytes, of: name)
      return Damage(kind: kind, file: name, offset: field)
    case .corruptCheckpointBody: range = header..<bytes.count - 12
    case .corruptCheckpointTrailer: range = bytes.count - 12..<bytes.count
    default: break
    }
    guard !range.isEmpty else { return nil }
    let at = Int.random(in: range, using: &random)
    bytes[at] ^= UInt8.random(in: 1...255, using: &random)
    setBytes(bytes, of: name)
    return Damage(kind: kind, file: name, offset: at)
  }
}
