package import HindsightCore

/// What fuzzing needs of the format: encoded events by themselves, and right checksums in front of
/// wrong contents, which bare mutation would hardly ever get past.
package enum JournalProbe {
  /// Decodes bytes as a frame's events.
  /// - Returns: how many there are, and whether they survive another encoding; `nil` where the bytes
  ///   are none.
  package static func roundTrip(
    events bytes: [UInt8], first: SequenceNumber
  ) -> (count: Int, isSame: Bool)? {
    guard let records = records(bytes, first) else { return nil }
    var frame = OpenFrame()
    for record in records { frame.append(record) }
    let again = self.records(frame.take(Microseconds(rawValue: 0)).body, first)
    return (records.count, again == records)
  }

  /// What a flush ends with, and bodies leave out.
  package static var flushMarker: [UInt8] { Format.flushMarker }

  /// Inflates a stream, or a part of one that ends with a flush but for its marker.
  /// - Returns: exactly so many bytes; `nil` where it doesn't give them.
  package static func inflate(_ stored: [UInt8], isFlushed: Bool, count: Int) -> [UInt8]? {
    let inflater = Inflater()
    do throws(FormatError) {
      return isFlushed
        ? try inflater.inflateInRun(stored, count: count)
        : try inflater.inflate(stored, count: count)
    } catch {
      return nil
    }
  }

  private static func records(_ bytes: [UInt8], _ first: SequenceNumber) -> [Record]? {
    var decoder = EventDecoder(bytes, first: first)
    var records: [Record] = []
    do throws(FormatError) {
      while !decoder.isAtEnd { records.append(try decoder.record()) }
      return records
    } catch {
      return nil
    }
  }

  /// Makes all checksums, salts and links of a segment right, as far as its frames reach.
  package static func repairChecksums(segment bytes: inout [UInt8]) {
    guard bytes.count >= Format.segmentHeaderByteCount else { return }
    var previous = bytes.checksum(0..<60)
    bytes.set(previous, at: 60)
    let salt: UInt64 = bytes.fixed(32)
    var at = Format.segmentHeaderByteCount
    while at + Format.frameHeaderByteCount <= bytes.count,
      bytes.fixed(at, as: UInt32.self) == Format.frameMagic
    {
      let stored = Int(bytes.fixed(at + 8, as: UInt32.self))
      let body = at + Format.frameHeaderByteCount
      guard stored <= bytes.count - body else { return }
      bytes.set(bytes.checksum(body..<body + stored), at: at + 20)
      bytes.set(salt, at: at + 48)
      bytes.set(previous, at: at + 56)
      previous = bytes.checksum(at..<at + 60)
      bytes.set(previous, at: at + 60)
      at = body + stored
    }
  }

  /// Makes all checksums of a checkpoint right, as far as its blocks reach.
  package static func repairChecksums(checkpoint bytes: inout [UInt8]) {
    guard bytes.count >= Format.checkpointHeaderByteCount else { return }
    bytes.set(bytes.checksum(0..<124), at: 124)
    var at = Format.checkpointHeaderByteCount
    while at + Format.blockHeaderByteCount <= bytes.count {
      let stored = Int(bytes.fixed(at, as: UInt32.self))
      let body = at + Format.blockHeaderByteCount
      guard stored <= bytes.count - body else { return }
      let isEnd = stored == 0
      bytes.set(
        isEnd ? bytes.checksum(at..<at + 8) : bytes.checksum(body..<body + stored), at: at + 8)
      at = body + stored
    }
  }
}

extension [UInt8] {
  fileprivate mutating func set<T: FixedWidthInteger>(_ value: T, at offset: Int) {
    Swift.withUnsafeBytes(of: value.littleEndian) {
      replaceSubrange(offset..<offset + $0.count, with: $0)
    }
  }
}
