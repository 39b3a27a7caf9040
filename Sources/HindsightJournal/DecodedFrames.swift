import HindsightCore

/// The frames of one segment with their events, in their order; decoded ahead on another core.
struct DecodedFrames {
  struct Frame: Sendable {
    var header: FrameHeader
    var headerChecksum: UInt32
    var offset: UInt64
    var end: UInt64
    var events: FrameEvents
  }

  enum Found: Sendable {
    case frame(Frame)
    /// The frame at the step's place has the right checksums, but not the right events.
    case undecodable(FormatError)
    /// The file's end, or nothing but zeros up to it.
    case end
    /// Something that is no frame of this segment.
    case bad(FormatError)
    case failed(StorageError)
  }

  struct Step: Sendable {
    var found: Found
    /// Where the frame begins, or whatever stands there.
    var offset: UInt64
    var previousChecksum: UInt32?
  }

  /// Below it, a thread costs more than it gains.
  private static let byteCountMin: UInt64 = 128 << 10
  /// Decoded events that wait, in bytes.
  private static let costMax = 4 << 20

  private let produce: () -> ReadAhead<Step>.Produced
  private let readAhead: ReadAhead<Step>?

  /// Call `stop` in any case when done.
  /// - Parameter lendsSets: see `FrameEvents`.
  init(_ reader: FrameReader, lendsSets: Bool) throws(StorageError) {
    var reader = reader
    let decoder = BodyDecoder()
    produce = { Self.produce(&reader, decoder, lendsSets) }
    let size = try reader.file.size()
    let isLong = size > reader.offset && size - reader.offset >= Self.byteCountMin
    readAhead = isLong ? ReadAhead(costMax: Self.costMax, produce: produce) : nil
  }

  /// What comes next; after what is no frame, nothing does.
  func next() -> Step { readAhead?.next() ?? produce().element }

  func stop() { readAhead?.stop() }

  private static func produce(
    _ reader: inout FrameReader, _ decoder: BodyDecoder, _ lendsSets: Bool
  ) -> ReadAhead<Step>.Produced {
    let offset = reader.offset
    let found = found(&reader, decoder, lendsSets)
    let step = Step(found: found, offset: offset, previousChecksum: reader.previousChecksum)
    guard case .frame(let frame) = found else { return (step, 0, true) }
    return (step, frame.events.byteCount, false)
  }

  private static func found(
    _ reader: inout FrameReader, _ decoder: BodyDecoder, _ lendsSets: Bool
  ) -> Found {
    do throws(StorageError) {
      switch try reader.next() {
      case .end: return .end
      case .bad(let error): return .bad(error)
      case .frame(let frame): return decode(frame, decoder, lendsSets)
      }
    } catch {
      return .failed(error)
    }
  }

  private static func decode(
    _ frame: FrameReader.Frame, _ decoder: BodyDecoder, _ lendsSets: Bool
  ) -> Found {
    do throws(FormatError) {
      let body = try frame.header.body(frame.stored, decoder)
      return .frame(
        Frame(
          header: frame.header, headerChecksum: frame.headerChecksum, offset: frame.offset,
          end: frame.end, events: try FrameEvents(body, frame.header, lendsSets: lendsSets)))
    } catch {
      return .undecodable(error)
    }
  }
}
